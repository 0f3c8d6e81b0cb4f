//! The expected texts are cut from answers of Mesos 1.11.0, unless a test says otherwise.

use std::collections::BTreeMap;

use super::*;
use crate::proto::{self, network_info, value};
use crate::resources::{ResourceQuantities, Resources};

/// Compares with what is expected, which may be indented.
#[track_caller]
fn check(shown: impl Serialize, expected: &str) {
    assert_eq!(serde_json::to_string(&shown).unwrap(), compact(expected));
}

/// The same JSON without white space between its parts.
fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut escaped = false;
    json.chars()
        .filter(|&character| {
            if character == '"' && !escaped {
                in_text = !in_text;
            }
            escaped = in_text && character == '\\' && !escaped;
            in_text || !character.is_whitespace()
        })
        .collect()
}

/// Resources that are allocated to `*`, as the master keeps them.
fn allocated(text: &str) -> Vec<proto::Resource> {
    let mut resources = Resources::parse(text, "*").unwrap();
    resources.allocate("*");
    resources.to_protos()
}

fn label(key: &str, value: Option<&str>) -> proto::Label {
    proto::Label {
        key: key.into(),
        value: value.map(Into::into),
    }
}

fn container_id(value: &str, parent: Option<&str>) -> proto::ContainerId {
    proto::ContainerId {
        value: value.into(),
        parent: parent.map(|parent| Box::new(container_id(parent, None))),
    }
}

fn ipv4(address: &str) -> proto::NetworkInfo {
    proto::NetworkInfo {
        ip_addresses: vec![network_info::IpAddress {
            protocol: Some(network_info::Protocol::IPv4.into()),
            ip_address: Some(address.into()),
        }],
        ..Default::default()
    }
}

fn status(
    state: proto::TaskState,
    timestamp: f64,
    container: proto::ContainerStatus,
) -> proto::TaskStatus {
    proto::TaskStatus {
        state: state.into(),
        timestamp: Some(timestamp),
        container_status: Some(container),
        ..Default::default()
    }
}

fn task(name: &str) -> proto::Task {
    proto::Task {
        name: name.into(),
        task_id: proto::TaskId {
            value: format!("p{name}"),
        },
        framework_id: proto::FrameworkId {
            value: "8d74-0003".into(),
        },
        executor_id: Some(proto::ExecutorId {
            value: "default-executor".into(),
        }),
        slave_id: proto::SlaveId {
            value: "8d74-S0".into(),
        },
        state: proto::TaskState::TaskRunning.into(),
        resources: allocated("cpus:0.1;mem:32"),
        ..Default::default()
    }
}

#[test]
fn task_with_statuses_and_labels() {
    let parent = Some("afd308b7");
    let starting = proto::ContainerStatus {
        container_id: Some(container_id("14d09af8", parent)),
        ..Default::default()
    };
    let running = proto::ContainerStatus {
        network_infos: vec![ipv4("127.0.0.1")],
        ..starting.clone()
    };
    let mut second = status(proto::TaskState::TaskRunning, 1795236681.071244, running);
    second.healthy = Some(true);
    let task = proto::Task {
        statuses: vec![
            status(proto::TaskState::TaskStarting, 1795236681.0189629, starting),
            second,
        ],
        labels: Some(proto::Labels {
            labels: vec![label("l1", Some("v1"))],
        }),
        ..task("a")
    };
    check(
        Task(&task),
        r#"{
          "id": "pa",
          "name": "a",
          "framework_id": "8d74-0003",
          "executor_id": "default-executor",
          "slave_id": "8d74-S0",
          "state": "TASK_RUNNING",
          "resources": {"disk": 0.0, "mem": 32.0, "gpus": 0.0, "cpus": 0.1},
          "role": "*",
          "statuses": [
           {
            "state": "TASK_STARTING",
            "timestamp": 1795236681.0189629,
            "container_status": {
             "container_id": {"value": "14d09af8", "parent": {"value": "afd308b7"}}
            }
           },
           {
            "state": "TASK_RUNNING",
            "timestamp": 1795236681.071244,
            "container_status": {
             "container_id": {"value": "14d09af8", "parent": {"value": "afd308b7"}},
             "network_infos": [
              {"ip_addresses": [{"protocol": "IPv4", "ip_address": "127.0.0.1"}]}
             ]
            },
            "healthy": true
           }
          ],
          "labels": [{"key": "l1", "value": "v1"}]
        }"#,
    );
}

/// Not captured: rare keys, in the order of the code of Mesos.
#[test]
fn task_with_limits_and_user() {
    let scalar = |value| value::Scalar { value };
    let task = proto::Task {
        executor_id: None,
        resources: vec![],
        user: Some("root".into()),
        limits: BTreeMap::from([
            ("mem".into(), scalar(f64::INFINITY)),
            ("cpus".into(), scalar(2.0)),
        ]),
        ..task("a")
    };
    check(
        Task(&task),
        r#"{
          "id": "pa", "name": "a", "framework_id": "8d74-0003", "executor_id": "",
          "slave_id": "8d74-S0", "state": "TASK_RUNNING",
          "resources": {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.0},
          "limits": {"cpus": 2.0, "mem": "Infinity"},
          "role": "", "statuses": [], "user": "root"
        }"#,
    );
}

/// Not captured.
#[test]
fn queued_tasks() {
    let mut task = proto::TaskInfo {
        name: "b".into(),
        task_id: proto::TaskId { value: "t".into() },
        slave_id: proto::SlaveId { value: "s".into() },
        resources: allocated("cpus:1"),
        executor: Some(proto::ExecutorInfo {
            executor_id: proto::ExecutorId { value: "e".into() },
            ..Default::default()
        }),
        ..Default::default()
    };
    check(
        QueuedTask(&task),
        r#"{
          "id": "t", "name": "b", "slave_id": "s",
          "resources": {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 1.0},
          "role": "*", "executor_id": "e"
        }"#,
    );
    task.executor = None;
    task.command = Some(proto::CommandInfo {
        shell: Some(true),
        value: Some("sleep 1".into()),
        arguments: vec!["a".into()],
        uris: vec![proto::command_info::Uri {
            value: "http://x".into(),
            ..Default::default()
        }],
        ..Default::default()
    });
    check(
        QueuedTask(&task),
        r#"{
          "id": "t", "name": "b", "slave_id": "s",
          "resources": {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 1.0},
          "role": "*",
          "command": {
            "shell": true, "value": "sleep 1", "argv": ["a"],
            "uris": [{"value": "http://x", "executable": false}]
          }
        }"#,
    );
}

#[test]
fn executors() {
    let default = proto::ExecutorInfo {
        executor_id: proto::ExecutorId {
            value: "default-executor".into(),
        },
        framework_id: Some(proto::FrameworkId {
            value: "8d74-0003".into(),
        }),
        resources: allocated("cpus:0.1;mem:32;disk:32"),
        r#type: Some(proto::executor_info::Type::Default.into()),
        ..Default::default()
    };
    check(
        ExecutorInfo(&default),
        r#"{
          "executor_id": "default-executor",
          "name": "",
          "framework_id": "8d74-0003",
          "command": {"argv": [], "uris": []},
          "resources": {"disk": 32.0, "mem": 32.0, "gpus": 0.0, "cpus": 0.1},
          "role": "*",
          "type": "DEFAULT"
        }"#,
    );
    let custom = proto::ExecutorInfo {
        name: Some("Long Lived Executor (C++)".into()),
        command: Some(proto::CommandInfo {
            value: Some("/srv/mesos/bin/long-lived-executor".into()),
            ..Default::default()
        }),
        resources: vec![],
        r#type: None,
        ..default
    };
    check(
        ExecutorInfo(&custom),
        r#"{
          "executor_id": "default-executor",
          "name": "Long Lived Executor (C++)",
          "framework_id": "8d74-0003",
          "command": {"value": "/srv/mesos/bin/long-lived-executor", "argv": [], "uris": []},
          "resources": {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.0}
        }"#,
    );
}

#[test]
fn health_checks_and_environments_are_messages() {
    let command = |value: &str| proto::CommandInfo {
        shell: Some(true),
        value: Some(value.into()),
        ..Default::default()
    };
    let task = proto::Task {
        health_check: Some(proto::HealthCheck {
            delay_seconds: Some(0.0),
            interval_seconds: Some(1.0),
            timeout_seconds: Some(20.0),
            consecutive_failures: Some(3),
            grace_period_seconds: Some(10.0),
            r#type: Some(proto::health_check::Type::Command.into()),
            command: Some(command("true")),
            ..Default::default()
        }),
        ..task("b")
    };
    check(
        Task(&task),
        r#"{
          "id": "pb",
          "name": "b",
          "framework_id": "8d74-0003",
          "executor_id": "default-executor",
          "slave_id": "8d74-S0",
          "state": "TASK_RUNNING",
          "resources": {"disk": 0.0, "mem": 32.0, "gpus": 0.0, "cpus": 0.1},
          "role": "*",
          "statuses": [],
          "health_check": {
           "delay_seconds": 0.0,
           "interval_seconds": 1.0,
           "timeout_seconds": 20.0,
           "consecutive_failures": 3,
           "grace_period_seconds": 10.0,
           "type": "COMMAND",
           "command": {"shell": true, "value": "true"}
          }
        }"#,
    );
    // Not captured.
    let variable = proto::environment::Variable {
        name: "A".into(),
        value: Some("1".into()),
        ..Default::default()
    };
    let command = proto::CommandInfo {
        environment: Some(proto::Environment {
            variables: vec![variable],
        }),
        ..command("x")
    };
    check(
        CommandInfo(&command),
        r#"{"shell": true, "value": "x", "argv": [],
            "environment": {"variables": [{"name": "A", "type": "VALUE", "value": "1"}]},
            "uris": []}"#,
    );
}

/// What an operator has reserved for role `web`: memory, disk, and a volume on some more disk.
fn reserved_for_web() -> Resources {
    let reservation = || proto::resource::ReservationInfo {
        r#type: Some(proto::resource::reservation_info::Type::Dynamic.into()),
        role: Some("web".into()),
        ..Default::default()
    };
    let mut messages = Resources::parse("mem:64;disk:64", "*").unwrap().to_protos();
    let mut volume = messages[1].clone();
    volume.disk = Some(proto::resource::DiskInfo {
        persistence: Some(proto::resource::disk_info::Persistence {
            id: "vol1".into(),
            principal: None,
        }),
        volume: Some(proto::Volume {
            container_path: "data".into(),
            mode: proto::volume::Mode::Rw.into(),
            ..Default::default()
        }),
        source: None,
    });
    messages.push(volume);
    for message in &mut messages {
        message.reservations = vec![reservation()];
    }
    Resources::from_protos(&messages).unwrap()
}

#[test]
fn resources_in_full() {
    let resources =
        reserved_for_web() + Resources::parse("cpus:4;ports:[31000-32000]", "*").unwrap();
    check(
        ReservedResourcesFull {
            resources: &resources,
            role_visible: |_: &str| true,
            visible: |_: &crate::resources::Resource| true,
        },
        r#"{"web": [
         {
          "name": "mem",
          "type": "SCALAR",
          "scalar": {"value": 64.0},
          "role": "web",
          "reservation": {},
          "reservations": [{"type": "DYNAMIC", "role": "web"}]
         },
         {
          "name": "disk",
          "type": "SCALAR",
          "scalar": {"value": 64.0},
          "role": "web",
          "reservation": {},
          "reservations": [{"type": "DYNAMIC", "role": "web"}]
         },
         {
          "name": "disk",
          "type": "SCALAR",
          "scalar": {"value": 64.0},
          "role": "web",
          "reservation": {},
          "reservations": [{"type": "DYNAMIC", "role": "web"}],
          "disk": {
           "persistence": {"id": "vol1"},
           "volume": {"mode": "RW", "container_path": "data"}
          }
         }
        ]}"#,
    );
    let mut unreserved = resources.unreserved();
    let show = |resources: &Resources, expected: &str| {
        let visible = |resource: &crate::resources::Resource| *resource.name() != "ports";
        check(FullResources { resources, visible }, expected);
    };
    let cpus = r#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": 4.0}, "role": "*""#;
    show(&unreserved, &format!("[{cpus}}}]"));
    unreserved.allocate("*");
    show(
        &unreserved,
        &format!(r#"[{cpus}, "allocation_info": {{"role": "*"}}}}]"#),
    );
    show(&Resources::new(), "[]");
}

#[test]
fn sums_of_resources() {
    for (text, expected) in [
        ("", r#"{"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.0}"#),
        (
            "cpus:4;mem:4096;disk:10240;ports:[31000-32000]",
            r#"{"disk": 10240.0, "mem": 4096.0, "gpus": 0.0, "cpus": 4.0, "ports": "[31000-32000]"}"#,
        ),
        (
            "cpus:0.1;cpus(a):0.2;zones:{x,y};bandwidth:5;ports:[1-2,5-6];ports(a):[3-3]",
            r#"{"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.3, "bandwidth": 5.0,
                "ports": "[1-3, 5-6]", "zones": "{x, y}"}"#,
        ),
    ] {
        let resources = Resources::parse(text, "*").unwrap();
        check(ResourceSummary::of(&resources), expected);
        check(ResourceSummary::of_protos(&resources.to_protos()), expected);
    }
}

#[test]
fn revocable_resources_are_apart() {
    let resources: Resources = Resources::parse("cpus:1;mem:2", "*")
        .unwrap()
        .into_iter()
        .map(|resource| match resource.name().as_str() {
            "cpus" => resource.with_revocable(),
            _ => resource,
        })
        .collect();
    check(
        ResourceSummary::of(&resources),
        r#"{"disk": 0.0, "mem": 2.0, "gpus": 0.0, "cpus": 0.0, "cpus_revocable": 1.0}"#,
    );
}

#[test]
fn reservations_by_role() {
    let resources = Resources::parse("cpus:4;mem(web):64;disk(web):128;mem(db):1", "*").unwrap();
    let shown = ReservedResources {
        resources: &resources,
        visible: |role: &str| role != "db",
    };
    check(
        shown,
        r#"{"web": {"disk": 128.0, "mem": 64.0, "gpus": 0.0, "cpus": 0.0}}"#,
    );
    check(
        quantities(&ResourceQuantities::parse("cpus:0.901;disk:32;mem:193").unwrap()),
        r#"{"cpus": 0.901, "disk": 32.0, "mem": 193.0}"#,
    );
}

fn attribute(name: &str, r#type: value::Type) -> proto::Attribute {
    proto::Attribute {
        name: name.into(),
        r#type: r#type.into(),
        ..Default::default()
    }
}

fn domain() -> proto::DomainInfo {
    use proto::domain_info::{FaultDomain, fault_domain};
    proto::DomainInfo {
        fault_domain: Some(FaultDomain {
            region: fault_domain::RegionInfo { name: "eu".into() },
            zone: fault_domain::ZoneInfo {
                name: "eu-1".into(),
            },
        }),
    }
}

#[test]
fn agents() {
    let mut info = proto::SlaveInfo {
        hostname: "127.0.0.1".into(),
        id: Some(proto::SlaveId {
            value: "8d74-S0".into(),
        }),
        attributes: vec![
            proto::Attribute {
                text: Some(value::Text { value: "r1".into() }),
                ..attribute("rack", value::Type::Text)
            },
            proto::Attribute {
                scalar: Some(value::Scalar { value: 7.0 }),
                ..attribute("n", value::Type::Scalar)
            },
            proto::Attribute {
                ranges: Some(value::Ranges {
                    range: vec![value::Range { begin: 1, end: 5 }],
                }),
                ..attribute("rg", value::Type::Ranges)
            },
        ],
        ..Default::default()
    };
    check(
        AgentInfo(&info),
        r#"{
          "id": "8d74-S0",
          "hostname": "127.0.0.1",
          "port": 5051,
          "attributes": {"rack": "r1", "n": 7.0, "rg": "[1-5]"}
        }"#,
    );
    info.attributes = vec![proto::Attribute {
        set: Some(value::Set {
            item: vec!["a".into(), "b".into()],
        }),
        ..attribute("set", value::Type::Set)
    }];
    info.port = Some(1);
    info.domain = Some(domain());
    check(
        AgentInfo(&info),
        r#"{
          "id": "8d74-S0",
          "hostname": "127.0.0.1",
          "port": 1,
          "attributes": {"set": "{a, b}"},
          "domain": {"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "eu-1"}}}
        }"#,
    );
}

#[test]
fn leaders() {
    let info = proto::MasterInfo {
        id: "8d74".into(),
        port: 5050,
        pid: Some("master@127.0.0.1:5050".into()),
        hostname: Some("127.0.0.1".into()),
        ..Default::default()
    };
    check(
        Leader(&info),
        r#"{"id": "8d74", "pid": "master@127.0.0.1:5050", "port": 5050, "hostname": "127.0.0.1"}"#,
    );
}

/// Not captured: no offer was out.
#[test]
fn offers() {
    let offer = proto::Offer {
        id: proto::OfferId { value: "O1".into() },
        framework_id: proto::FrameworkId { value: "F".into() },
        slave_id: proto::SlaveId { value: "S".into() },
        allocation_info: Some(proto::resource::AllocationInfo {
            role: Some("r".into()),
        }),
        resources: allocated("cpus:1"),
        ..Default::default()
    };
    check(
        Offer(&offer),
        r#"{
          "id": "O1", "framework_id": "F", "allocation_info": {"role": "r"}, "slave_id": "S",
          "resources": {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 1.0}
        }"#,
    );
}

#[test]
fn frameworks() {
    use proto::framework_info::{Capability, capability::Type};
    let capability = |capability: Type| Capability {
        r#type: Some(capability.into()),
    };
    let mut info = proto::FrameworkInfo {
        user: "root".into(),
        roles: vec!["*".into()],
        capabilities: vec![
            capability(Type::MultiRole),
            capability(Type::ReservationRefinement),
        ],
        ..Default::default()
    };
    check(
        FrameworkSettings(&info),
        r#"{"user": "root", "failover_timeout": 0.0, "checkpoint": false}"#,
    );
    check(FrameworkRoles(&info), r#"{"roles": ["*"]}"#);
    check(
        framework_capabilities(&info.capabilities),
        r#"["MULTI_ROLE", "RESERVATION_REFINEMENT"]"#,
    );
    info.capabilities = vec![];
    check(FrameworkRoles(&info), r#"{"role": "*"}"#);
}

#[test]
fn builds() {
    let build = crate::version::BuildInfo {
        version: "1.11.0",
        git_sha: Some("04bc7ee1984d86fbb0bd782ccc69ce44c13ae4b9"),
        git_branch: None,
        git_tag: Some("1.11.0"),
        build_date: "2020-11-24 15:38:37",
        build_time: 1606232317.0,
        build_user: "ubuntu",
    };
    let build = BuildInfo(&build);
    check(
        build,
        r#"{
         "build_date": "2020-11-24 15:38:37",
         "build_time": 1606232317.0,
         "build_user": "ubuntu",
         "git_sha": "04bc7ee1984d86fbb0bd782ccc69ce44c13ae4b9",
         "git_tag": "1.11.0",
         "version": "1.11.0"
        }"#,
    );
    struct State<'a>(BuildInfo<'a>);
    impl Serialize for State<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serialize_fields(&self.0, serializer)
        }
    }
    check(
        State(build),
        r#"{
         "version": "1.11.0",
         "git_sha": "04bc7ee1984d86fbb0bd782ccc69ce44c13ae4b9",
         "git_tag": "1.11.0",
         "build_date": "2020-11-24 15:38:37",
         "build_time": 1606232317.0,
         "build_user": "ubuntu"
        }"#,
    );
}

#[test]
fn networks_flags_and_capabilities() {
    let info = proto::NetworkInfo {
        groups: vec!["g".into()],
        labels: Some(proto::Labels {
            labels: vec![label("k", None)],
        }),
        name: Some("n".into()),
        port_mappings: vec![network_info::PortMapping {
            host_port: 1,
            container_port: 2,
            protocol: Some("tcp".into()),
        }],
        ..Default::default()
    };
    check(
        NetworkInfo(&info),
        r#"{"groups": ["g"], "labels": [{"key": "k"}], "name": "n",
            "port_mappings": [{"host_port": 1, "container_port": 2, "protocol": "tcp"}]}"#,
    );
    check(
        flags(&[
            ("agent_ping_timeout", "15secs".into()),
            ("help", "false".into()),
        ]),
        r#"{"agent_ping_timeout": "15secs", "help": "false"}"#,
    );
    let known = |number| proto::slave_info::Capability {
        r#type: Some(number),
    };
    check(
        agent_capabilities(&[known(1), known(99)]),
        r#"["MULTI_ROLE", "UNKNOWN"]"#,
    );
    let known = |number| proto::master_info::Capability {
        r#type: Some(number),
    };
    check(
        master_capabilities(&[known(1), known(2), known(3)]),
        r#"["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"]"#,
    );
}
