//! The name of an address.

use std::net::IpAddr;
use std::process::{Command, Stdio};

/// The name that the system's resolver knows for `ip`, or else the address itself.
///
/// Upstream ends when there is no name; an address serves as well for everything but display.
#[must_use]
pub(crate) fn of(ip: IpAddr) -> String {
    let known = std::fs::read_to_string("/etc/hosts")
        .ok()
        .and_then(|hosts| in_hosts(&hosts, ip))
        .or_else(|| resolve(ip));
    known.unwrap_or_else(|| {
        tracing::warn!("No host name is known for {ip}; using the address");
        ip.to_string()
    })
}

/// The first name of `ip` in the text of a hosts file.
fn in_hosts(hosts: &str, ip: IpAddr) -> Option<String> {
    hosts.lines().find_map(|line| {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        (address == ip).then(|| words.next().map(str::to_owned))?
    })
}

/// Asks the system's resolver, DNS included.
fn resolve(ip: IpAddr) -> Option<String> {
    let output = Command::new("getent")
        .args(["hosts", &ip.to_string()])
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_files() {
        let hosts = "# names\n127.0.0.1\tlocalhost other\n\n::1 localhost\n10.0.0.1 # nobody\n10.0.0.2 a.example a # me\n";
        let check = |ip: [u8; 4], expected: Option<&str>| {
            assert_eq!(in_hosts(hosts, ip.into()).as_deref(), expected);
        };
        check([127, 0, 0, 1], Some("localhost"));
        check([10, 0, 0, 2], Some("a.example"));
        check([10, 0, 0, 1], None);
        check([10, 0, 0, 3], None);
    }
}
