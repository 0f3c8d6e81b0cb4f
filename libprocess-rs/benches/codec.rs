//! How fast messages are written and read, without sockets.
#![allow(
    missing_docs,
    reason = "the macros of criterion make undocumented items"
)]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use libprocess::Upid;
use libprocess::fuzzing::{count_messages, encode_message};

/// Messages per buffer, about what one read of a busy connection brings.
const MESSAGES: u64 = 100;

fn upid(id: &str, port: u16) -> Upid {
    Upid::new(id, ([10, 0, 0, 7], port))
}

fn buffer(body: &[u8]) -> BytesMut {
    let (from, to) = (upid("slave(1)", 5051), upid("master", 5050));
    let mut out = BytesMut::new();
    for _ in 0..MESSAGES {
        let name = "mesos.internal.StatusUpdateMessage";
        encode_message(&mut out, black_box(&from), black_box(&to), name, body);
    }
    out
}

fn codec(criterion: &mut Criterion) {
    for size in [0, 64, 512, 16 * 1024] {
        let body = vec![b'x'; size];
        let bytes = buffer(&body);
        let mut group = criterion.benchmark_group(format!("codec/{size}_byte_body"));
        group.throughput(Throughput::Elements(MESSAGES));
        group.bench_function("encode", |bencher| bencher.iter(|| buffer(&body)));
        group.bench_function("read", |bencher| {
            let input = || BytesMut::from(&bytes[..]);
            bencher.iter_batched(input, count_messages, BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
