//! Processes of a container, found through `/proc`.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// What one line of `/proc/<pid>/stat` says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process.
    pub(crate) pid: i32,
    /// Its parent.
    pub(crate) parent: i32,
    /// Its process group.
    pub(crate) group: i32,
    /// Its session.
    pub(crate) session: i32,
    /// Whether it has ended and only waits to be reaped.
    pub(crate) zombie: bool,
    /// User time in clock ticks.
    pub(crate) user_ticks: u64,
    /// System time in clock ticks.
    pub(crate) system_ticks: u64,
    /// Resident memory in pages.
    pub(crate) resident_pages: u64,
    /// When it was started, in clock ticks since boot.
    pub(crate) started: u64,
}

/// The processes of this machine at one moment.
#[derive(Clone, Debug, Default)]
pub struct ProcessTable {
    processes: HashMap<i32, Process>,
}

/// What a set of processes uses together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User time in seconds.
    pub(crate) user_secs: f64,
    /// System time in seconds.
    pub(crate) system_secs: f64,
    /// Resident memory in bytes.
    pub(crate) resident_bytes: u64,
}

impl ProcessTable {
    /// Reads `/proc`. Processes that come or go meanwhile may or may not be in it.
    pub fn read() -> io::Result<Self> {
        let mut processes = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            if let Some(process) = parse_stat(&stat) {
                processes.insert(pid, process);
            }
        }
        Ok(ProcessTable { processes })
    }

    /// Whether the process is there and has not ended.
    pub fn is_alive(&self, pid: i32) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| !process.zombie)
    }

    /// When a process was started, in clock ticks since boot.
    pub(crate) fn start_time(pid: i32) -> io::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        parse_stat(&stat)
            .map(|process| process.started)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as expected")))
    }

    /// The process, if it is there.
    pub(crate) fn get(&self, pid: i32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// All live processes that belong to the roots: descendants, and everything in a session or process group
    /// that one of these leads.
    pub(crate) fn closure(&self, roots: &BTreeSet<i32>) -> BTreeSet<i32> {
        let mut found = roots.clone();
        loop {
            let before = found.len();
            for process in self.processes.values() {
                let belongs = found.contains(&process.parent)
                    || found.contains(&process.session)
                    || found.contains(&process.group);
                if belongs {
                    found.insert(process.pid);
                }
            }
            if found.len() == before {
                break;
            }
        }
        found.retain(|pid| {
            self.processes
                .get(pid)
                .is_some_and(|process| !process.zombie)
        });
        found
    }

    /// Live processes started not before `started` that have this text as an entry of their first environment.
    pub(crate) fn with_environment(&self, entry: &str, started: u64) -> BTreeSet<i32> {
        self.processes
            .values()
            .filter(|process| !process.zombie && process.started >= started)
            .map(|process| process.pid)
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                    environment
                        .split(|byte| *byte == 0)
                        .any(|candidate| candidate == entry.as_bytes())
                })
            })
            .collect()
    }

    /// What these processes use together.
    pub(crate) fn usage(&self, pids: &BTreeSet<i32>) -> Usage {
        let ticks = constant(SysconfVar::CLK_TCK, 100) as f64;
        let page = constant(SysconfVar::PAGE_SIZE, 4096);
        let mut usage = Usage::default();
        for process in pids.iter().filter_map(|pid| self.processes.get(pid)) {
            usage.user_secs += process.user_ticks as f64 / ticks;
            usage.system_secs += process.system_ticks as f64 / ticks;
            usage.resident_bytes += process.resident_pages * page;
        }
        usage
    }
}

fn constant(name: SysconfVar, fallback: u64) -> u64 {
    sysconf(name)
        .ok()
        .flatten()
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(fallback)
}

/// Sends a signal to a process and everything that belongs to it; answers whom it was sent to.
///
/// The processes are stopped first, so that none of them can start another one while the tree is walked.
///
/// Upstream: `3rdparty/stout/include/stout/os/killtree.hpp`.
pub fn kill_tree(root: i32, signal: Signal) -> io::Result<BTreeSet<i32>> {
    let roots = BTreeSet::from([root]);
    let mut stopped = BTreeSet::new();
    let members = loop {
        let members = ProcessTable::read()?.closure(&roots);
        let fresh: Vec<i32> = members.difference(&stopped).copied().collect();
        if fresh.is_empty() {
            break members;
        }
        for pid in fresh {
            send(pid, Signal::SIGSTOP);
            stopped.insert(pid);
        }
    };
    for pid in &stopped {
        send(*pid, signal);
    }
    for pid in &stopped {
        send(*pid, Signal::SIGCONT);
    }
    Ok(members)
}

/// Sends a signal to one process that may have ended already.
pub(crate) fn send(pid: i32, signal: Signal) {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!("Failed to send {signal} to process {pid}: {error}"),
    }
}

/// Parses a line of `/proc/<pid>/stat`; the name in parentheses may hold anything.
fn parse_stat(stat: &str) -> Option<Process> {
    let (head, tail) = stat.rsplit_once(')')?;
    let pid = head.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let signed = |index: usize| fields.get(index)?.parse::<i32>().ok();
    let unsigned = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // Field n of proc(5) is at n - 3 here.
    Some(Process {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: signed(1)?,
        group: signed(2)?,
        session: signed(3)?,
        user_ticks: unsigned(11)?,
        system_ticks: unsigned(12)?,
        started: unsigned(19)?,
        resident_pages: unsigned(21)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, group: i32, session: i32) -> Process {
        Process {
            pid,
            parent,
            group,
            session,
            zombie: false,
            user_ticks: 0,
            system_ticks: 0,
            resident_pages: 0,
            started: 0,
        }
    }

    #[test]
    fn reads_the_fields_behind_a_hostile_name() {
        let line = "42 (a) R 1 (b) S 7 8 9 0 -1 4194560 1 2 3 4 55 66 0 0 20 0 1 0 777 1000 88 1";
        let expected = Process {
            user_ticks: 55,
            system_ticks: 66,
            resident_pages: 88,
            started: 777,
            ..process(42, 7, 8, 9)
        };
        assert_eq!(parse_stat(line), Some(expected));
        for broken in ["", "42", "42 (x", "42 (x) S", "x (y) S 1 2 3"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_closure_follows_children_groups_and_sessions() {
        let check = |roots: &[i32], expected: &[i32]| {
            let mut zombie = process(14, 10, 10, 10);
            zombie.zombie = true;
            let table = ProcessTable {
                processes: [
                    process(1, 0, 1, 1),
                    process(10, 1, 10, 10),
                    process(11, 10, 11, 11),
                    process(12, 1, 10, 10),
                    process(13, 1, 11, 11),
                    zombie,
                    process(20, 1, 20, 20),
                ]
                .into_iter()
                .map(|process| (process.pid, process))
                .collect(),
            };
            let found = table.closure(&roots.iter().copied().collect());
            assert_eq!(found, expected.iter().copied().collect());
        };
        check(&[10], &[10, 11, 12, 13]);
        check(&[20], &[20]);
        check(&[11], &[11, 13]);
        // The leader itself is gone, its session is not.
        check(&[99], &[]);
    }

    #[test]
    fn this_process_is_in_the_table_and_uses_memory() {
        let table = ProcessTable::read().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(table.get(own).is_some());
        assert!(table.usage(&BTreeSet::from([own])).resident_bytes > 0);
    }
}
