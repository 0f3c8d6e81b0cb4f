//! Finding the leading master.
//!
//! A [`MasterDetector`] is made from what the user gave as `--master`: a ZooKeeper URL, under
//! which the candidate with the smallest number leads, or the address of the one master there
//! is. Whoever follows the leader awaits [`MasterDetector::detect`] in a loop, passing the
//! previous answer.
//!
//! Upstream: `include/mesos/master/detector.hpp`, `src/master/detector/*.cpp`.

mod address;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{info, warn};

pub use address::{AddressError, MasterAddress, master_capabilities, network_order};

use crate::proto::MasterInfo;
use crate::zookeeper::{
    Group, PayloadError, Session, ZkUrl, ZkUrlError, ZooKeeperError, decode_master_info,
};

const FILE_SCHEME: &str = "file://";
/// How often `file://` may lead to another `file://`, so that a loop ends in an error.
const MAX_FILE_INDIRECTIONS: usize = 8;

/// Why there is no detector, or why it gave up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DetectorError {
    /// The text is no usable ZooKeeper URL.
    #[error(transparent)]
    Url(#[from] ZkUrlError),
    /// The text is no address either.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A `file://` could not be read.
    #[error("failed to read the master from '{}': {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// The ensemble refuses what a detector needs.
    #[error("Failed to detect the leading master: {0}")]
    ZooKeeper(#[from] ZooKeeperError),
    /// The leader's znode cannot be understood.
    #[error("Failed to detect the leading master: {0}")]
    Payload(#[from] PayloadError),
    /// The detector's runtime has been shut down.
    #[error("Failed to detect the leading master: the detector was stopped")]
    Stopped,
}

type Detection = Result<Option<MasterInfo>, DetectorError>;

/// Ends the task that watches ZooKeeper together with the last clone of its detector.
#[derive(Debug)]
struct Watcher(AbortHandle);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells who leads, and when that changes. Clones see the same.
#[derive(Debug, Clone)]
pub struct MasterDetector {
    detection: watch::Receiver<Detection>,
    watcher: Option<Arc<Watcher>>,
}

impl MasterDetector {
    /// Makes the detector for what a user gave as `--master`: `zk://...`, `host:port`,
    /// `master@host:port`, or `file://` and the path of a file that holds one of these.
    ///
    /// The traffic with ZooKeeper runs on `handle`, whose threads should not be blocked for
    /// long; with an unreachable ensemble the detector keeps trying and sees no leader.
    /// Blocks while a host name is looked up.
    ///
    /// # Errors
    /// When the text is none of these, a file cannot be read or a host has no address.
    pub fn create(
        master: &str,
        session_timeout: Duration,
        handle: &Handle,
    ) -> Result<MasterDetector, DetectorError> {
        let text = read_indirect(master.trim().to_owned())?;
        if ZkUrl::is_zk(&text) {
            let url = ZkUrl::parse(&text)?.require_path()?;
            return Ok(Self::zookeeper(url, session_timeout, handle));
        }
        let address: MasterAddress = text.parse()?;
        Ok(Self::standalone(Some(address.resolve()?)).0)
    }

    /// A detector whose leader is appointed by hand: of a master without ZooKeeper (which
    /// appoints itself), and of tests. The leader stays as it is when the [`Appointer`] is
    /// dropped.
    pub fn standalone(leader: Option<MasterInfo>) -> (MasterDetector, Appointer) {
        let (sender, detection) = watch::channel(Ok(leader));
        let detector = MasterDetector {
            detection,
            watcher: None,
        };
        (detector, Appointer(sender))
    }

    /// A detector of the candidate with the smallest number in the group at `url`.
    pub fn zookeeper(url: ZkUrl, session_timeout: Duration, handle: &Handle) -> MasterDetector {
        let (sender, detection) = watch::channel(Ok(None));
        let task = handle.spawn(follow_group(url, session_timeout, sender));
        MasterDetector {
            detection,
            watcher: Some(Arc::new(Watcher(task.abort_handle()))),
        }
    }

    /// Who leads now, as far as known.
    ///
    /// # Errors
    /// When detection has failed for good.
    pub fn leader(&self) -> Detection {
        self.detection.borrow().clone()
    }

    /// Resolves as soon as the leader is another one than `previous`; `None` stands for no
    /// leader, which is also what is known at first. The future holds what it needs of the
    /// detector.
    ///
    /// # Errors
    /// When detection has failed for good; every later call fails in the same way.
    pub fn detect(
        &self,
        previous: Option<MasterInfo>,
    ) -> impl Future<Output = Detection> + Send + use<> {
        let detector = self.clone();
        async move {
            let mut detection = detector.detection.clone();
            let changed = detection
                .wait_for(|detection| !matches!(detection, Ok(leader) if *leader == previous))
                .await
                .map(|detection| detection.clone());
            match changed {
                Ok(detection) => detection,
                Err(_) if detector.watcher.is_some() => Err(DetectorError::Stopped),
                // Without its appointer a leader stands for ever.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Sets the leader that a standalone [`MasterDetector`] reports.
#[derive(Debug)]
pub struct Appointer(watch::Sender<Detection>);

impl Appointer {
    /// Appoints a leader, or none.
    pub fn appoint(&self, leader: Option<MasterInfo>) {
        self.0.send_modify(|current| *current = Ok(leader));
    }
}

/// Follows `file://` to the text in the file.
fn read_indirect(mut text: String) -> Result<String, DetectorError> {
    for _ in 0..=MAX_FILE_INDIRECTIONS {
        let Some(file) = text.strip_prefix(FILE_SCHEME) else {
            return Ok(text);
        };
        let path = PathBuf::from(file);
        text = match std::fs::read_to_string(&path) {
            Ok(content) => content.trim().to_owned(),
            Err(error) => {
                let reason = error.to_string();
                return Err(DetectorError::File { path, reason });
            }
        };
    }
    Err(DetectorError::Url(ZkUrlError::FileLoop(PathBuf::from(
        text,
    ))))
}

async fn follow_group(url: ZkUrl, session_timeout: Duration, detection: watch::Sender<Detection>) {
    loop {
        let failure = match Session::connect(&url, session_timeout).await {
            Ok(session) => follow_session(&url, session, &detection).await,
            Err(error) => error.into(),
        };
        match failure {
            DetectorError::ZooKeeper(error) if error.is_session_lost() => {
                warn!("No leading master is known: {error}");
                publish(&detection, Ok(None));
            }
            error => {
                publish(&detection, Err(error));
                return;
            }
        }
    }
}

async fn follow_session(
    url: &ZkUrl,
    session: Session,
    detection: &watch::Sender<Detection>,
) -> DetectorError {
    let lost = session.clone();
    tokio::select! {
        Err(error) = follow_members(url, session, detection) => error,
        error = lost.lost_error() => error.into(),
    }
}

/// Publishes the leader of the group over and over, until that fails.
async fn follow_members(
    url: &ZkUrl,
    session: Session,
    detection: &watch::Sender<Detection>,
) -> Result<std::convert::Infallible, DetectorError> {
    let group = Group::open(session, url.path()).await?;
    loop {
        let (members, watcher) = group.members().await?;
        let leader = match members.first() {
            None => None,
            Some(member) => match group.data(member).await? {
                Some(data) => Some(decode_master_info(member, &data)?),
                // It left in between; the next list says who leads now.
                None => continue,
            },
        };
        publish(detection, Ok(leader));
        watcher.changed().await;
    }
}

/// Makes a detection known if it is news.
fn publish(sender: &watch::Sender<Detection>, detection: Detection) {
    sender.send_if_modified(|current| {
        let same = matches!((&*current, &detection), (Ok(old), Ok(new)) if old == new);
        if !same {
            match &detection {
                Ok(Some(leader)) => info!("Detected a new leader: {}", leader.pid()),
                Ok(None) => info!("Detected that there is no leading master"),
                Err(error) => warn!("{error}"),
            }
            *current = detection;
        }
        !same
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::DEFAULT_SESSION_TIMEOUT;

    fn create(master: &str) -> Result<MasterDetector, DetectorError> {
        MasterDetector::create(master, DEFAULT_SESSION_TIMEOUT, &Handle::current())
    }

    fn master(text: &str) -> MasterInfo {
        text.parse::<MasterAddress>().unwrap().resolve().unwrap()
    }

    #[tokio::test]
    async fn finds_a_standalone_master() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master");
        std::fs::write(&file, "127.0.0.1:5050\n").unwrap();
        let file = format!("file://{}", file.display());
        for text in ["127.0.0.1:5050", "master@127.0.0.1:5050", file.as_str()] {
            let leader = create(text).unwrap().detect(None).await.unwrap().unwrap();
            assert_eq!(leader.pid(), "master@127.0.0.1:5050", "{text}");
        }
    }

    #[tokio::test]
    async fn refuses_what_names_no_master() {
        fn check(text: &str, expected: &str) {
            let error = create(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("", "Failed to parse ''");
        check("127.0.0.1:http", "Failed to parse '127.0.0.1:http'");
        check("zk://127.0.0.1:2181", "('/' is not supported)");
        check("zk:///mesos", "names no server");
        check("file:///does/not/exist", "/does/not/exist");
    }

    #[tokio::test]
    async fn reports_each_appointment() {
        let (first, second) = (master("127.0.0.1:1"), master("127.0.0.1:2"));
        let (detector, appointer) = MasterDetector::standalone(None);
        let detected = tokio::spawn(detector.detect(None));
        appointer.appoint(Some(first.clone()));
        assert_eq!(detected.await.unwrap().unwrap(), Some(first.clone()));
        let detected = tokio::spawn(detector.detect(Some(first)));
        appointer.appoint(Some(second.clone()));
        assert_eq!(detected.await.unwrap().unwrap(), Some(second.clone()));
        let detected = tokio::spawn(detector.detect(Some(second)));
        appointer.appoint(None);
        assert_eq!(detected.await.unwrap().unwrap(), None);
    }
}
