//! Rules for maintenance schedules and lists of machines, apart from what machines are down.
//!
//! Upstream: `src/master/maintenance.cpp`.

use std::collections::HashSet;
use std::net::IpAddr;

use mesos::proto;
use mesos::proto::maintenance::Schedule;

use crate::core::machines::MachineId;

/// Why maintenance cannot be done as an operator asks. Machines are shown as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaintenanceError {
    /// A window without machines.
    #[error("List of machines in the maintenance window is empty")]
    EmptyWindow,
    /// A window of less than no time.
    #[error("Unavailability 'duration' is negative: {0} nanoseconds; leave it out for no end")]
    NegativeDuration(i64),
    /// Nothing to bring up or down.
    #[error("List of machines is empty")]
    NoMachines,
    /// A machine that could be any.
    #[error("Both 'hostname' and 'ip' for a machine are empty")]
    EmptyMachine,
    /// An address that is none.
    #[error("Failed to parse the IP '{0}' of a machine: neither an IPv4 nor an IPv6 address")]
    InvalidIp(String),
    /// A machine that is listed twice.
    #[error("Machine '{0}' appears more than once in the schedule")]
    Duplicate(String),
    /// A machine that must be brought up first.
    #[error("Machine '{0}' is deactivated and cannot be removed from the schedule")]
    Down(String),
    /// A machine that no window has.
    #[error("Machine '{0}' is not part of a maintenance schedule")]
    NotScheduled(String),
    /// A machine that is down already.
    #[error("Machine '{0}' is not in DRAINING mode and cannot be brought down")]
    NotDraining(String),
    /// A machine that is not down.
    #[error("Machine '{0}' is not in DOWN mode and cannot be brought up")]
    NotDown(String),
}

/// Checks a schedule by itself. Returns its machines.
///
/// # Errors
/// The first thing wrong with it.
pub fn validate_schedule(schedule: &Schedule) -> Result<HashSet<MachineId>, MaintenanceError> {
    let mut machines = HashSet::new();
    for window in &schedule.windows {
        if window.machine_ids.is_empty() {
            return Err(MaintenanceError::EmptyWindow);
        }
        let duration = window.unavailability.duration.unwrap_or_default();
        if duration.nanoseconds < 0 {
            return Err(MaintenanceError::NegativeDuration(duration.nanoseconds));
        }
        add_unique(&mut machines, &window.machine_ids)?;
    }
    Ok(machines)
}

/// Checks a list of machines to bring up or down by itself.
///
/// # Errors
/// The first thing wrong with it.
pub fn validate_machines(ids: &[proto::MachineId]) -> Result<(), MaintenanceError> {
    if ids.is_empty() {
        return Err(MaintenanceError::NoMachines);
    }
    add_unique(&mut HashSet::new(), ids)
}

fn add_unique(
    machines: &mut HashSet<MachineId>,
    ids: &[proto::MachineId],
) -> Result<(), MaintenanceError> {
    for id in ids {
        validate_machine(id)?;
        if !machines.insert(MachineId::from(id)) {
            return Err(MaintenanceError::Duplicate(mesos::json::to_string(id)));
        }
    }
    Ok(())
}

fn validate_machine(id: &proto::MachineId) -> Result<(), MaintenanceError> {
    if id.hostname().is_empty() && id.ip().is_empty() {
        return Err(MaintenanceError::EmptyMachine);
    }
    if !id.ip().is_empty() && id.ip().parse::<IpAddr>().is_err() {
        return Err(MaintenanceError::InvalidIp(id.ip().to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::machines::testing::{machine, window};

    #[test]
    fn schedules() {
        let check = |windows: Vec<proto::maintenance::Window>, expected: Result<usize, &str>| {
            let schedule = Schedule { windows };
            let result = validate_schedule(&schedule)
                .map(|machines| machines.len())
                .map_err(|error| error.to_string());
            assert_eq!(result, expected.map_err(str::to_owned), "{schedule:?}");
        };
        let (a, b) = (machine("a", "10.0.0.1"), machine("b", ""));
        check(vec![], Ok(0));
        check(vec![window(&[a.clone(), b.clone()], Some(0))], Ok(2));
        check(
            vec![
                window(std::slice::from_ref(&a), None),
                window(&[b], Some(5)),
            ],
            Ok(2),
        );
        check(
            vec![window(&[machine("", "10.0.0.1"), machine("", "::1")], None)],
            Ok(2),
        );
        check(
            vec![window(&[], None)],
            Err("List of machines in the maintenance window is empty"),
        );
        check(
            vec![window(std::slice::from_ref(&a), Some(-1))],
            Err("Unavailability 'duration' is negative: -1 nanoseconds; leave it out for no end"),
        );
        check(
            vec![window(&[machine("", "")], None)],
            Err("Both 'hostname' and 'ip' for a machine are empty"),
        );
        check(
            vec![window(&[machine("a", "10.0.0")], None)],
            Err(
                "Failed to parse the IP '10.0.0' of a machine: neither an IPv4 nor an IPv6 address",
            ),
        );
        // Host names are compared without regard to case.
        check(
            vec![
                window(&[a], None),
                window(&[machine("A", "10.0.0.1")], None),
            ],
            Err(
                r#"Machine '{"hostname":"A","ip":"10.0.0.1"}' appears more than once in the schedule"#,
            ),
        );
    }

    #[test]
    fn lists_of_machines() {
        let check = |ids: &[proto::MachineId], expected: Result<(), MaintenanceError>| {
            assert_eq!(validate_machines(ids), expected, "{ids:?}");
        };
        check(&[machine("a", ""), machine("a", "10.0.0.1")], Ok(()));
        check(&[], Err(MaintenanceError::NoMachines));
        check(&[machine("", "")], Err(MaintenanceError::EmptyMachine));
        check(
            &[machine("", "localhost")],
            Err(MaintenanceError::InvalidIp("localhost".to_owned())),
        );
        check(
            &[machine("a", ""), machine("A", "")],
            Err(MaintenanceError::Duplicate(
                r#"{"hostname":"A","ip":""}"#.to_owned(),
            )),
        );
    }
}
