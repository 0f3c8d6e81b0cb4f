//! What operators' maintenance does to the registry.
//!
//! Upstream: `UpdateSchedule`, `StartMaintenance`, `StopMaintenance` of
//! `src/master/maintenance.cpp`.

use mesos::proto::internal::{Registry, registry};

use crate::core::machines::{Machines, MaintenanceOperation};

/// The machines that a registry holds.
#[must_use]
pub fn machines_of(registry: &Registry) -> Machines {
    let machines = registry.machines.iter().flat_map(|all| &all.machines);
    Machines::new(
        registry.schedules.clone(),
        machines.map(|machine| machine.info.clone()),
    )
}

/// Applies `operation`. False if it does not apply to the registry as it is.
pub(super) fn apply(registry: &mut Registry, operation: &MaintenanceOperation) -> bool {
    let mut machines = machines_of(registry);
    if let Err(error) = machines.apply(operation) {
        tracing::warn!("The registry refuses maintenance: {error}");
        return false;
    }
    let (schedules, infos) = machines.into_parts();
    registry.schedules = schedules;
    registry.machines = Some(registry::Machines {
        machines: infos
            .into_iter()
            .map(|info| registry::Machine { info })
            .collect(),
    });
    true
}

#[cfg(test)]
mod tests {
    use mesos::proto::machine_info::Mode;

    use super::*;
    use crate::core::machines::testing::{machine, schedule};

    #[test]
    fn operations_change_machines_and_schedules() {
        let mut registry = Registry::default();
        let mut check = |operation, applied, expected: &[(&str, Mode)], windows: usize| {
            assert_eq!(apply(&mut registry, &operation), applied, "{operation:?}");
            let machines = registry.machines.iter().flat_map(|all| &all.machines);
            let modes: Vec<_> = machines
                .map(|machine| (machine.info.id.hostname(), machine.info.mode()))
                .collect();
            assert_eq!(modes, expected, "{operation:?}");
            let schedules = registry.schedules.iter();
            let left: usize = schedules.map(|schedule| schedule.windows.len()).sum();
            assert_eq!(left, windows, "{operation:?}");
        };
        let (a, b) = (machine("a", ""), machine("b", "10.0.0.1"));
        let start = MaintenanceOperation::Start(vec![a.clone()]);
        let stop = MaintenanceOperation::Stop(vec![a.clone()]);
        check(start.clone(), false, &[], 0);
        let draining = [("a", Mode::Draining), ("b", Mode::Draining)];
        check(schedule(&[a.clone(), b.clone()], None), true, &draining, 1);
        check(stop.clone(), false, &draining, 1);
        let down = [("a", Mode::Down), ("b", Mode::Draining)];
        check(start.clone(), true, &down, 1);
        check(start, false, &down, 1);
        check(schedule(std::slice::from_ref(&b), None), false, &down, 1);
        check(stop, true, &[("b", Mode::Draining)], 1);
        check(schedule(&[a], None), true, &[("a", Mode::Draining)], 1);
    }
}
