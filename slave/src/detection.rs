//! What an agent finds out about the machine it runs on.
//!
//! Upstream: `src/slave/containerizer/containerizer.cpp` (`Containerizer::resources`), `src/slave/slave.cpp`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use mesos::resources::{ParseError, Resource, Resources};
use nix::sys::statvfs::statvfs;
use nix::unistd::{SysconfVar, sysconf};
use thiserror::Error;

const MEGABYTE: u64 = 1024 * 1024;
const GIGABYTE: u64 = 1024 * MEGABYTE;

/// What is offered if the machine does not say what it has.
const DEFAULT_CPUS: u64 = 1;
const DEFAULT_MEM: u64 = GIGABYTE;
const DEFAULT_DISK: u64 = 10 * GIGABYTE;
const DEFAULT_PORTS: &str = "[31000-32000]";

/// What is kept for the machine itself, if it has at least twice as much.
const MEM_RESERVE: u64 = GIGABYTE;
const DISK_RESERVE: u64 = 5 * GIGABYTE;

/// Why the agent does not know itself.
#[derive(Debug, Error)]
pub enum DetectionError {
    /// `--resources` cannot be understood.
    #[error("--resources={text}: {source}")]
    Resources {
        /// The value of the flag.
        text: String,
        /// What is wrong.
        source: ParseError,
    },
    /// `--resources` has something that this agent cannot offer.
    #[error("--resources={text}: {what} are not supported by this agent")]
    Unsupported {
        /// The value of the flag.
        text: String,
        /// What it cannot offer.
        what: &'static str,
    },
    /// The address has no name.
    #[error(
        "failed to look up the host name of {0}; give it with --hostname, or use the address with --no-hostname_lookup"
    )]
    Hostname(IpAddr),
    /// `--ip_discovery_command` cannot be run, or its output is no address.
    #[error("--ip_discovery_command={command}: {reason}")]
    IpDiscovery {
        /// The command.
        command: String,
        /// What is wrong.
        reason: String,
    },
    /// The work directory cannot be used.
    #[error("--work_dir={path}: {source}", path = path.display())]
    WorkDir {
        /// The work directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The resources of the agent: those given, and those found for names that are not mentioned.
pub(crate) fn resources(
    given: Option<&str>,
    default_role: &str,
    work_dir: &Path,
) -> Result<Resources, DetectionError> {
    let text = given.unwrap_or_default();
    let fail = |source| DetectionError::Resources {
        text: text.to_owned(),
        source,
    };
    let list = Resources::parse_list(text, default_role).map_err(fail)?;
    check_supported(text, &list)?;
    let mut resources = Resources::parse(text, default_role).map_err(fail)?;
    let missing = |name: &str| !list.iter().any(|resource| resource.name().as_str() == name);

    let mut found = Vec::new();
    if missing("cpus") {
        found.push(format!("cpus:{}", cpus()));
    }
    if missing("mem") {
        found.push(format!("mem:{}", memory() / MEGABYTE));
    }
    if missing("disk") {
        found.push(format!("disk:{}", disk(work_dir) / MEGABYTE));
    }
    if missing("ports") {
        found.push(format!("ports:{DEFAULT_PORTS}"));
    }
    resources += Resources::parse(&found.join(";"), default_role).map_err(fail)?;
    Ok(resources)
}

fn check_supported(text: &str, list: &[Resource]) -> Result<(), DetectionError> {
    let unsupported = |what| {
        Err(DetectionError::Unsupported {
            text: text.to_owned(),
            what,
        })
    };
    for resource in list {
        if resource.name().as_str() == "gpus" && !resource.is_empty() {
            return unsupported("gpus");
        }
        if resource.disk().is_some() {
            return unsupported("disk sources and volumes");
        }
    }
    Ok(())
}

fn cpus() -> u64 {
    sysconf(SysconfVar::_NPROCESSORS_ONLN)
        .ok()
        .flatten()
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or(DEFAULT_CPUS)
}

fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    total_memory(&text).map_or(DEFAULT_MEM, |total| keep(total, MEM_RESERVE))
}

/// The total in the text of `/proc/meminfo`, in bytes.
fn total_memory(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn disk(work_dir: &Path) -> u64 {
    match statvfs(work_dir) {
        Ok(stat) => {
            let size = stat.blocks().saturating_mul(stat.fragment_size());
            keep(size, DISK_RESERVE)
        }
        Err(_) => DEFAULT_DISK,
    }
}

/// What is left after the machine's own share.
fn keep(total: u64, reserve: u64) -> u64 {
    if total >= 2 * reserve {
        total - reserve
    } else {
        total / 2
    }
}

/// The name of this host: the one given, or that of its address.
pub(crate) fn hostname(
    given: Option<&str>,
    lookup: bool,
    ip: IpAddr,
) -> Result<String, DetectionError> {
    match given {
        Some(name) => Ok(name.to_owned()),
        None if !lookup => Ok(ip.to_string()),
        None => reverse_lookup(ip).ok_or(DetectionError::Hostname(ip)),
    }
}

/// The name of an address, by all the ways that this machine is set up to find it.
fn reverse_lookup(ip: IpAddr) -> Option<String> {
    let output = Command::new("getent")
        .arg("hosts")
        .arg(ip.to_string())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(1)?.to_owned())
}

/// The address that a command prints.
pub(crate) fn discover_ip(command: &str) -> Result<Ipv4Addr, DetectionError> {
    let fail = |reason: String| DetectionError::IpDiscovery {
        command: command.to_owned(),
        reason,
    };
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .output()
        .map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(output.status.to_string()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.trim();
    text.parse()
        .map_err(|_| fail(format!("printed '{text}', which is no IPv4 address")))
}

/// Creates the work directory and finds out whether it can be written to.
pub(crate) fn prepare_work_dir(path: &Path) -> Result<(), DetectionError> {
    let fail = |source| DetectionError::WorkDir {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(path).map_err(fail)?;
    let probe = path.join(format!(".probe-{}", uuid::Uuid::new_v4()));
    fs::write(&probe, "")
        .and_then(|()| fs::remove_file(&probe))
        .map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_resources_suppress_detection() {
        let check = |given: &str, expected: &str| {
            let found = resources(Some(given), "*", Path::new("/")).unwrap();
            assert_eq!(found.to_string(), expected);
        };
        check(
            "cpus:4;mem:1024;disk:10;ports:[1-2]",
            "cpus:4; mem:1024; disk:10; ports:[1-2]",
        );
        // Nothing of it, rather than what there is.
        check(
            "cpus:0;mem:1024;disk:10;ports:[1-2]",
            "mem:1024; disk:10; ports:[1-2]",
        );
        check(
            "cpus:4;mem:1024;disk:10",
            "cpus:4; mem:1024; disk:10; ports:[31000-32000]",
        );
    }

    #[test]
    fn the_machine_is_looked_at() {
        let found = resources(None, "*", Path::new("/")).unwrap();
        assert!(found.cpus().unwrap() >= 1.0);
        assert!(found.mem().unwrap() >= 1.0);
        assert!(found.disk().unwrap() >= 1.0);
        let reserved = resources(None, "web", Path::new("/")).unwrap();
        assert!(reserved.unreserved().is_empty());
    }

    #[test]
    fn resources_that_cannot_be_offered() {
        for given in [
            "gpus:1",
            "cpus:x",
            r#"[{"name": "disk", "type": "SCALAR", "scalar": {"value": 1}, "disk": {"source": {"type": "MOUNT", "mount": {"root": "/x"}}}}]"#,
        ] {
            let error = resources(Some(given), "*", Path::new("/"))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("--resources="), "{error}");
        }
    }

    #[test]
    fn a_share_stays_with_the_machine() {
        assert_eq!(keep(GIGABYTE, MEM_RESERVE), GIGABYTE / 2);
        assert_eq!(keep(2 * GIGABYTE, MEM_RESERVE), GIGABYTE);
        assert_eq!(keep(10 * GIGABYTE, MEM_RESERVE), 9 * GIGABYTE);
        assert_eq!(
            total_memory("MemTotal:       2048 kB\nMemFree: 1 kB"),
            Some(2 * MEGABYTE)
        );
        assert_eq!(total_memory("nothing"), None);
    }

    #[test]
    fn addresses_by_command() {
        assert_eq!(
            discover_ip("echo ' 10.1.2.3 '").unwrap(),
            Ipv4Addr::new(10, 1, 2, 3)
        );
        for command in ["exit 1", "echo x", "no-such-command"] {
            let error = discover_ip(command).unwrap_err().to_string();
            assert!(error.starts_with("--ip_discovery_command="), "{error}");
        }
    }

    #[test]
    fn names_of_the_host() {
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(hostname(Some("h"), true, ip).unwrap(), "h");
        assert_eq!(hostname(None, false, ip).unwrap(), "127.0.0.1");
    }

    #[test]
    fn a_work_directory_that_is_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = prepare_work_dir(file.path()).unwrap_err().to_string();
        assert!(error.starts_with("--work_dir="), "{error}");
    }
}
