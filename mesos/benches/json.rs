//! How fast a task record becomes JSON and comes back, beside protobuf with and without the proto2 checks.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mesos::proto::{self, Task};
use mesos::{decode, json};
use prost::Message;

/// A task as the master remembers it, with two states behind it.
fn task() -> Task {
    let status = |state: proto::TaskState| proto::TaskStatus {
        task_id: proto::TaskId {
            value: "service.71a3c6b0-0f2e-4a3c-9d5b-1f2e3d4c5b6a".into(),
        },
        state: state.into(),
        timestamp: Some(1_606_232_317.483_921),
        source: Some(proto::task_status::Source::Executor.into()),
        uuid: Some(vec![7; 16].into()),
        ..Default::default()
    };
    let scalar = |name: &str, value: f64| proto::Resource {
        name: name.into(),
        r#type: proto::value::Type::Scalar.into(),
        scalar: Some(proto::value::Scalar { value }),
        role: Some("*".into()),
        ..Default::default()
    };
    Task {
        name: "service".into(),
        task_id: status(proto::TaskState::TaskRunning).task_id,
        framework_id: proto::FrameworkId {
            value: "8d74010d-33a8-4a98-8805-88d77505f4fe-0003".into(),
        },
        slave_id: proto::SlaveId {
            value: "8d74010d-33a8-4a98-8805-88d77505f4fe-S0".into(),
        },
        state: proto::TaskState::TaskRunning.into(),
        resources: vec![
            scalar("cpus", 0.1),
            scalar("mem", 32.0),
            scalar("disk", 1024.5),
        ],
        statuses: vec![
            status(proto::TaskState::TaskStarting),
            status(proto::TaskState::TaskRunning),
        ],
        ..Default::default()
    }
}

fn task_record(criterion: &mut Criterion) {
    let task = task();
    let text = json::to_string(&task);
    let bytes = task.encode_to_vec();

    let mut group = criterion.benchmark_group("task_record/json");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("encode", |b| b.iter(|| json::to_string(black_box(&task))));
    group.bench_function("decode", |b| {
        b.iter(|| json::from_str::<Task>(black_box(&text)).unwrap());
    });
    group.finish();

    let mut group = criterion.benchmark_group("task_record/protobuf");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |b| b.iter(|| black_box(&task).encode_to_vec()));
    group.bench_function("decode", |b| {
        b.iter(|| decode::decode::<Task>(black_box(&bytes)).unwrap());
    });
    group.bench_function("decode_unchecked", |b| {
        b.iter(|| Task::decode(black_box(bytes.as_slice())).unwrap());
    });
    group.finish();
}

criterion_group!(benches, task_record);
criterion_main!(benches);
