//! Machines in maintenance: which are scheduled to be, and which are down.
//!
//! The same operations change what the registry holds and what the master knows.
//! Upstream: `src/master/maintenance.cpp`.

use std::collections::HashSet;
use std::net::IpAddr;

use indexmap::IndexMap;
use mesos::proto;
use mesos::proto::machine_info::Mode;
use mesos::proto::maintenance::Schedule;

use super::validation::maintenance::{MaintenanceError, validate_machines, validate_schedule};

/// A machine, by the host name that its agent announces and the address that its agent listens
/// on. Host names are compared without regard to case. Only what has both is the machine of an
/// agent, as upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MachineId {
    hostname: Option<String>,
    ip: Option<IpAddr>,
}

impl MachineId {
    /// The machine of an agent.
    #[must_use]
    pub fn of_agent(hostname: &str, ip: IpAddr) -> Self {
        Self {
            hostname: Some(hostname.to_lowercase()),
            ip: Some(ip),
        }
    }
}

impl From<&proto::MachineId> for MachineId {
    fn from(id: &proto::MachineId) -> Self {
        Self {
            hostname: (!id.hostname().is_empty()).then(|| id.hostname().to_lowercase()),
            ip: id.ip().parse().ok(),
        }
    }
}

/// A change that an operator asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum MaintenanceOperation {
    /// Replaces the whole schedule. Machines that are new in it begin to drain, machines that are
    /// not in it any more are up.
    UpdateSchedule(Schedule),
    /// Brings machines down that drain.
    Start(Vec<proto::MachineId>),
    /// Brings machines up that are down, and takes them out of the schedule.
    Stop(Vec<proto::MachineId>),
}

/// The machines that are not simply up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machines {
    schedules: Vec<Schedule>,
    infos: IndexMap<MachineId, proto::MachineInfo>,
}

impl Machines {
    /// Machines as a registry holds them.
    pub fn new(
        schedules: Vec<Schedule>,
        infos: impl IntoIterator<Item = proto::MachineInfo>,
    ) -> Self {
        let infos = infos.into_iter();
        Self {
            schedules,
            infos: infos
                .map(|info| (MachineId::from(&info.id), info))
                .collect(),
        }
    }

    /// The schedule, which is empty if there is none.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.schedules.first().cloned().unwrap_or_default()
    }

    /// All machines that drain or are down, in the order in which they were scheduled.
    pub fn iter(&self) -> impl Iterator<Item = &proto::MachineInfo> {
        self.infos.values()
    }

    /// Whether no machine drains or is down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.infos.is_empty()
    }

    /// Whether a machine is down.
    #[must_use]
    pub fn is_down(&self, id: &MachineId) -> bool {
        self.infos.get(id).is_some_and(is_down)
    }

    /// When and for how long a machine is to be unavailable, if it is.
    #[must_use]
    pub fn unavailability(&self, id: &MachineId) -> Option<proto::Unavailability> {
        self.infos.get(id)?.unavailability
    }

    /// What a registry is to hold.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Schedule>, Vec<proto::MachineInfo>) {
        (self.schedules, self.infos.into_values().collect())
    }

    /// Checks whether an operation could be applied.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn check(&self, operation: &MaintenanceOperation) -> Result<(), MaintenanceError> {
        match operation {
            MaintenanceOperation::UpdateSchedule(schedule) => {
                let scheduled = validate_schedule(schedule)?;
                let dropped = self
                    .infos
                    .iter()
                    .find(|(id, info)| is_down(info) && !scheduled.contains(*id));
                dropped.map_or(Ok(()), |(_, info)| {
                    Err(MaintenanceError::Down(show(&info.id)))
                })
            }
            MaintenanceOperation::Start(ids) => {
                self.check_modes(ids, Mode::Draining, MaintenanceError::NotDraining)
            }
            MaintenanceOperation::Stop(ids) => {
                self.check_modes(ids, Mode::Down, MaintenanceError::NotDown)
            }
        }
    }

    fn check_modes(
        &self,
        ids: &[proto::MachineId],
        needed: Mode,
        otherwise: fn(String) -> MaintenanceError,
    ) -> Result<(), MaintenanceError> {
        validate_machines(ids)?;
        for id in ids {
            match self.infos.get(&MachineId::from(id)) {
                None => return Err(MaintenanceError::NotScheduled(show(id))),
                Some(info) if info.mode() != needed => return Err(otherwise(show(id))),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Applies an operation.
    ///
    /// # Errors
    /// Those of [`Machines::check`]; nothing has changed then.
    pub fn apply(&mut self, operation: &MaintenanceOperation) -> Result<(), MaintenanceError> {
        self.check(operation)?;
        match operation {
            MaintenanceOperation::UpdateSchedule(schedule) => self.replace_schedule(schedule),
            MaintenanceOperation::Start(ids) => {
                for id in ids {
                    if let Some(info) = self.infos.get_mut(&MachineId::from(id)) {
                        info.set_mode(Mode::Down);
                    }
                }
            }
            MaintenanceOperation::Stop(ids) => self.remove(ids),
        }
        Ok(())
    }

    fn replace_schedule(&mut self, schedule: &Schedule) {
        let scheduled: IndexMap<MachineId, proto::MachineInfo> = schedule
            .windows
            .iter()
            .flat_map(|window| {
                window.machine_ids.iter().map(|id| {
                    let info = proto::MachineInfo {
                        id: id.clone(),
                        mode: Some(Mode::Draining as i32),
                        unavailability: Some(window.unavailability),
                    };
                    (MachineId::from(id), info)
                })
            })
            .collect();
        self.infos.retain(|id, _| scheduled.contains_key(id));
        for (id, info) in scheduled {
            match self.infos.get_mut(&id) {
                Some(known) => known.unavailability = info.unavailability,
                None => {
                    self.infos.insert(id, info);
                }
            }
        }
        self.schedules = vec![schedule.clone()];
    }

    /// Takes machines out of everything, and what is empty after that out of the schedules.
    fn remove(&mut self, ids: &[proto::MachineId]) {
        let removed: HashSet<MachineId> = ids.iter().map(MachineId::from).collect();
        self.infos.retain(|id, _| !removed.contains(id));
        for schedule in &mut self.schedules {
            for window in &mut schedule.windows {
                window
                    .machine_ids
                    .retain(|id| !removed.contains(&MachineId::from(id)));
            }
            schedule
                .windows
                .retain(|window| !window.machine_ids.is_empty());
        }
        self.schedules
            .retain(|schedule| !schedule.windows.is_empty());
    }
}

fn is_down(info: &proto::MachineInfo) -> bool {
    info.mode() == Mode::Down
}

fn show(id: &proto::MachineId) -> String {
    mesos::json::to_string(id)
}

/// Builders for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn machine(hostname: &str, ip: &str) -> proto::MachineId {
        proto::MachineId {
            hostname: Some(hostname.to_owned()),
            ip: Some(ip.to_owned()),
        }
    }

    /// A window that begins at 1 ns and has so many nanoseconds.
    pub(crate) fn window(
        machines: &[proto::MachineId],
        duration: Option<i64>,
    ) -> proto::maintenance::Window {
        proto::maintenance::Window {
            machine_ids: machines.to_vec(),
            unavailability: proto::Unavailability {
                start: proto::TimeInfo { nanoseconds: 1 },
                duration: duration.map(|nanoseconds| proto::DurationInfo { nanoseconds }),
            },
        }
    }

    /// A schedule of one such window.
    pub(crate) fn schedule(
        machines: &[proto::MachineId],
        duration: Option<i64>,
    ) -> MaintenanceOperation {
        MaintenanceOperation::UpdateSchedule(Schedule {
            windows: vec![window(machines, duration)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{machine, schedule, window};
    use super::*;

    /// Machines in maintenance and their modes.
    fn modes(machines: &Machines) -> Vec<(&str, Mode)> {
        let infos = machines.iter();
        infos
            .map(|info| (info.id.hostname(), info.mode()))
            .collect()
    }

    #[test]
    fn agents_are_found_by_host_name_and_address() {
        let check = |id: proto::MachineId, expected: bool| {
            let agent = MachineId::of_agent("Agent1.example.org", [10, 0, 0, 1].into());
            assert_eq!(MachineId::from(&id) == agent, expected, "{id:?}");
        };
        check(machine("agent1.EXAMPLE.org", "10.0.0.1"), true);
        check(machine("agent1.example.org", "10.0.0.2"), false);
        check(machine("agent2.example.org", "10.0.0.1"), false);
        check(machine("agent1.example.org", ""), false);
        check(machine("", "10.0.0.1"), false);
    }

    #[test]
    fn machines_drain_go_down_and_come_up() {
        let mut machines = Machines::default();
        let (a, b, c) = (machine("a", ""), machine("b", ""), machine("c", ""));
        let mut check = |operation, expected: Result<&[(&str, Mode)], MaintenanceError>| {
            let result = machines.apply(&operation);
            let result = result.map(|()| modes(&machines));
            assert_eq!(result, expected.map(<[_]>::to_vec), "{operation:?}");
        };
        let ab = [("a", Mode::Draining), ("b", Mode::Draining)];
        check(schedule(&[a.clone(), b.clone()], Some(1)), Ok(&ab));
        check(
            MaintenanceOperation::Start(vec![c.clone()]),
            Err(MaintenanceError::NotScheduled(show(&c))),
        );
        check(
            MaintenanceOperation::Stop(vec![a.clone()]),
            Err(MaintenanceError::NotDown(show(&a))),
        );
        check(
            MaintenanceOperation::Start(vec![machine("A", "")]),
            Ok(&[("a", Mode::Down), ("b", Mode::Draining)]),
        );
        // One that cannot go down leaves the others as they are.
        check(
            MaintenanceOperation::Start(vec![b.clone(), a.clone()]),
            Err(MaintenanceError::NotDraining(show(&a))),
        );
        check(
            schedule(&[b.clone(), c.clone()], Some(1)),
            Err(MaintenanceError::Down(show(&a))),
        );
        check(
            schedule(&[c.clone(), a.clone()], Some(1)),
            Ok(&[("a", Mode::Down), ("c", Mode::Draining)]),
        );
        check(
            MaintenanceOperation::Stop(vec![a.clone()]),
            Ok(&[("c", Mode::Draining)]),
        );
        check(
            MaintenanceOperation::UpdateSchedule(Schedule::default()),
            Ok(&[]),
        );
    }

    #[test]
    fn the_schedule_loses_what_comes_up() {
        let (a, b) = (machine("a", ""), machine("b", ""));
        let windows = vec![
            window(std::slice::from_ref(&a), Some(1)),
            window(std::slice::from_ref(&b), Some(2)),
        ];
        let mut machines = Machines::default();
        let mut apply = |operation| {
            machines.apply(&operation).unwrap();
            machines.schedule()
        };
        apply(MaintenanceOperation::UpdateSchedule(Schedule { windows }));
        apply(MaintenanceOperation::Start(vec![a.clone(), b.clone()]));
        let left = apply(MaintenanceOperation::Stop(vec![a]));
        assert_eq!(left.windows, [window(std::slice::from_ref(&b), Some(2))]);
        let left = apply(MaintenanceOperation::Stop(vec![b]));
        assert_eq!(left, Schedule::default());
        assert_eq!(machines, Machines::default());
    }

    #[test]
    fn machines_keep_their_mode_and_get_the_new_window() {
        let a = machine("a", "10.0.0.1");
        let mut machines = Machines::default();
        machines
            .apply(&schedule(std::slice::from_ref(&a), Some(1)))
            .unwrap();
        let start = MaintenanceOperation::Start(vec![a.clone()]);
        machines.apply(&start).unwrap();
        machines
            .apply(&schedule(std::slice::from_ref(&a), Some(2)))
            .unwrap();
        let id = MachineId::from(&a);
        assert!(machines.is_down(&id));
        let unavailability = machines.unavailability(&id).unwrap();
        assert_eq!(unavailability.duration.unwrap().nanoseconds, 2);
        let (schedules, infos) = machines.clone().into_parts();
        assert_eq!(Machines::new(schedules, infos), machines);
    }
}
