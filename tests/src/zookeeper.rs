//! A real ZooKeeper server for tests: a Java process on a free loopback port.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::net::free_port;
use crate::process::ManagedProcess;
use crate::wait::eventually_blocking;

/// Classes of the Debian packages; the manifest of the first jar names all it needs.
const SERVER_JAR: &str = "/usr/share/java/zookeeper.jar";
const LOGGER_JAR: &str = "/usr/share/java/slf4j-simple.jar";
const SERVER_CLASS: &str = "org.apache.zookeeper.server.ZooKeeperServerMain";
const INSTALL_HINT: &str = "install ZooKeeper with: apt-get install zookeeper default-jre-headless";
/// The unit of time of the server, in milliseconds. Small, so that sessions can be short: they
/// expire at multiples of it.
const TICK_MS: u32 = 200;
/// Starting a JVM takes about a second on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A standalone ZooKeeper server, killed at drop. Sessions may be as short as 400 ms.
#[derive(Debug)]
pub struct ZooKeeperServer {
    process: Option<ManagedProcess>,
    port: u16,
    dir: TempDir,
}

impl ZooKeeperServer {
    /// Starts a server with an empty tree and waits until it answers.
    ///
    /// # Panics
    /// When Java or ZooKeeper is not installed, or the server does not come up.
    pub fn start() -> ZooKeeperServer {
        assert!(
            Path::new(SERVER_JAR).exists(),
            "{SERVER_JAR} is missing; {INSTALL_HINT}"
        );
        let dir = tempfile::tempdir().expect("no temporary folder");
        let mut server = ZooKeeperServer {
            process: None,
            port: free_port(),
            dir,
        };
        server.restart();
        server
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `zk://127.0.0.1:<port><path>`.
    pub fn url(&self, path: &str) -> String {
        format!("zk://{}{path}", self.address())
    }

    /// Kills the server. Its tree and its sessions are on disk.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again, after a kill or in place of the running one, on the same port
    /// and with the same tree.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        let config = self.dir.path().join("zoo.cfg");
        std::fs::write(&config, self.config()).expect("cannot write zoo.cfg");
        let mut command = Command::new("java");
        command
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx96m"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
            .args(["-cp", &format!("{SERVER_JAR}:{LOGGER_JAR}"), SERVER_CLASS])
            .arg(&config);
        let process = ManagedProcess::spawn("zookeeper", &mut command, self.dir.path())
            .unwrap_or_else(|error| panic!("{error}; {INSTALL_HINT}"));
        let process = self.process.insert(process);
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port).into();
        eventually_blocking("ZooKeeper answers", START_DEADLINE, || {
            if let Some(status) = process.try_wait() {
                panic!("ZooKeeper ended with {status}:\n{}", process.log());
            }
            (four_letter_word(address, "ruok")? == "imok").then_some(())
        });
    }

    /// Stops the server in its tracks: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends [`ZooKeeperServer::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    fn config(&self) -> String {
        format!(
            "tickTime={TICK_MS}\n\
             dataDir={}\n\
             clientPortAddress=127.0.0.1\n\
             clientPort={}\n\
             minSessionTimeout={}\n\
             maxSessionTimeout=60000\n\
             maxClientCnxns=0\n\
             admin.enableServer=false\n\
             4lw.commands.whitelist=*\n",
            self.dir.path().join("data").display(),
            self.port,
            2 * TICK_MS,
        )
    }
}

/// Asks a server one of its four letter words, such as `ruok`.
fn four_letter_word(address: SocketAddr, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT)).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
