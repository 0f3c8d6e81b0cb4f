//! ZooKeeper: URLs, sessions that are re-created, and groups of ephemeral members.
//!
//! [`ZkUrl`] is what users write (`zk://host1:2181,host2:2181/mesos`). A [`Session`] is one
//! connection identity with the ensemble; it ends when the ensemble says so or when it has been
//! cut off for the negotiated timeout, and its owner then connects a new one. A [`Group`] is the
//! set of ephemeral, sequentially numbered children of the URL's path. The election of masters
//! ([`crate::contender`], [`crate::detector`]) is a group whose smallest number leads.
//!
//! Everything here waits in real time, not on the clock of a `libprocess` runtime: the ensemble
//! on the other side measures session timeouts by its own clock, which a test cannot pause.
//!
//! Upstream: `include/mesos/zookeeper/*.hpp`, `src/zookeeper/{zookeeper,group}.cpp`.

mod group;
mod payload;
mod session;
mod url;

use std::time::Duration;

pub use group::{Group, Member};
pub use payload::{JSON_LABEL, PayloadError, decode_master_info, encode_master_info};
pub use session::{Loss, Session};
pub use url::{Credentials, ZkUrl, ZkUrlError};

/// The session timeout asked of the ensemble where no flag says otherwise.
pub const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an operation on ZooKeeper was given up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ZooKeeperError {
    /// The session ended; ephemeral nodes are gone or about to be. Connecting again may help.
    #[error("the session with ZooKeeper at '{servers}' ended: {loss}")]
    SessionLost {
        /// The ensemble, without credentials.
        servers: String,
        /// How the session ended.
        loss: Loss,
    },
    /// The ensemble refused the operation, and would again.
    #[error(
        "ZooKeeper at '{servers}' refused to {operation} '{path}': {source}{}",
        hint(source)
    )]
    Refused {
        /// The ensemble, without credentials.
        servers: String,
        /// What was tried, as a verb: "create", "list", ...
        operation: &'static str,
        /// The znode it was tried on.
        path: String,
        /// The answer of the ensemble or of the client library.
        source: zookeeper_client::Error,
    },
    /// No session can be had with this URL, however often it is tried.
    #[error("cannot open a session with ZooKeeper at '{servers}': {source}")]
    Connect {
        /// The ensemble, without credentials.
        servers: String,
        /// The answer of the ensemble or of the client library.
        source: zookeeper_client::Error,
    },
}

impl ZooKeeperError {
    /// Whether a new session may succeed where this one failed.
    pub fn is_session_lost(&self) -> bool {
        matches!(self, ZooKeeperError::SessionLost { .. })
    }
}

/// What an operator can do about an answer that does not explain itself.
fn hint(source: &zookeeper_client::Error) -> &'static str {
    match source {
        zookeeper_client::Error::NoAuth => {
            "; give credentials as zk://user:password@host:port/path"
        }
        _ => "",
    }
}
