use std::collections::BTreeMap;

use mesos::flags::Flags;

use super::AgentFlags;

fn flags(arguments: &[&str]) -> AgentFlags {
    let given = ["--work_dir=/w", "--master=m:5050"].iter().chain(arguments);
    AgentFlags::from_args(given.copied()).unwrap()
}

#[test]
fn every_default_is_supported() {
    assert_eq!(flags(&[]).check_supported(), Ok(()));
}

#[test]
fn what_is_not_there_yet_is_refused() {
    let check = |argument: &str, expected: &str| {
        let error = flags(&[argument])
            .check_supported()
            .unwrap_err()
            .to_string();
        assert_eq!(error, expected);
    };
    check(
        "--gc_delay=2days",
        "--gc_delay=2days: not supported by this agent (allowed: its default, '1weeks')",
    );
    check(
        "--hooks=a",
        "--hooks=a: not supported by this agent (leave it out)",
    );
    check(
        "--launcher=linux",
        "--launcher=linux: not supported by this agent (allowed: posix)",
    );
    check(
        "--containerizers=docker,mesos",
        "--containerizers=docker,mesos: not supported by this agent (allowed: mesos)",
    );
    check(
        "--isolation=cgroups/cpu,posix/mem",
        "--isolation=cgroups/cpu: not supported by this agent (allowed: posix/cpu, posix/mem, posix/rlimits, filesystem/posix, process)",
    );
    check(
        "--xfs_kill_containers",
        "--xfs_kill_containers=true: not supported by this agent (leave it out)",
    );
}

#[test]
fn what_is_there_is_taken() {
    for argument in [
        "--gc_delay=1weeks",
        "--launcher=posix",
        "--no-systemd_enable_support",
        "--isolation=posix/cpu,posix/mem,filesystem/posix",
        "--executor_environment_variables={\"A\": \"1\"}",
        "--resources=cpus:4",
        "--advertise_ip=10.0.0.1",
        "--executor_shutdown_grace_period=9secs",
    ] {
        assert_eq!(flags(&[argument]).check_supported(), Ok(()), "{argument}");
    }
}

#[test]
fn bad_values_are_refused() {
    for argument in [
        "--executor_reregistration_timeout=16secs",
        "--gc_disk_headroom=1.1",
        "--recover=maybe",
        "--executor_environment_variables={\"A\": 1}",
        "--default_role=a/../b",
        "--port=70000",
    ] {
        let given = ["--work_dir=/w", argument];
        assert!(AgentFlags::from_args(given).is_err(), "{argument}");
    }
    assert!(
        AgentFlags::from_args(["--master=m:5050"]).is_err(),
        "work_dir is required"
    );
}

#[test]
fn flags_with_a_value_are_those_of_the_original() {
    let capture: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/fixtures/flags.json")).unwrap();
    let captured: Vec<&String> = capture["flags"].as_object().unwrap().keys().collect();
    let given = flags(&[
        "--attributes=rack:r1",
        "--hostname=h",
        "--ip=127.0.0.1",
        "--log_dir=/l",
        "--resources=cpus:4",
    ]);
    let entries: BTreeMap<&str, String> = given.entries().into_iter().collect();
    let names: Vec<&str> = entries.keys().copied().collect();
    assert_eq!(names, captured);
}
