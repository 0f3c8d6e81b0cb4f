//! What can go wrong with a request, and with a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use crate::wire::ReadError;
use crate::{ConfigError, TlsError};

/// Why a request has no response, or not all of it. `request` is its method and path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection was made.
    #[error("failed to connect to {endpoint}: {source}")]
    Connect {
        /// The server.
        endpoint: Endpoint,
        /// Why; of kind `TimedOut` if it took too long.
        source: io::Error,
    },
    /// The request was not sent, because it cannot be: a header is malformed or not for the caller to set.
    #[error("{request} not sent: {reason}")]
    Invalid {
        /// The request.
        request: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// The request was not sent, because too many already wait on the connection.
    #[error("{request} not sent: too many requests wait on the connection")]
    Busy {
        /// The request.
        request: Arc<str>,
    },
    /// The connection ended before the response began.
    #[error("{request} {}: {reason}", if *sent { "not answered" } else { "not sent" })]
    NotAnswered {
        /// The request.
        request: Arc<str>,
        /// False if nothing of it was sent, so that it can be sent again without harm.
        sent: bool,
        /// Why the connection ended.
        reason: Disconnect,
    },
    /// The connection ended within the response.
    #[error("the response to {request} broke off: {reason}")]
    BrokeOff {
        /// The request.
        request: Arc<str>,
        /// Why the connection ended.
        reason: Disconnect,
    },
    /// The body is larger than allowed.
    #[error("the response to {request} has a body of more than {limit} bytes")]
    BodyTooLarge {
        /// The request.
        request: Arc<str>,
        /// The limit.
        limit: usize,
    },
    /// The body was asked for compressed, is said to be, and does not decompress.
    #[error("the response to {request} has a body that is not gzip")]
    Gzip {
        /// The request.
        request: Arc<str>,
    },
    /// There is no tokio runtime, or it has ended, to run the connection.
    #[error("no runtime for the connection to {endpoint}")]
    NoRuntime {
        /// The server.
        endpoint: Endpoint,
    },
}

/// Why a client could not be set up [from the environment](super::Client::from_env).
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable has a bad value.
    #[error(transparent)]
    Variable(#[from] ConfigError),
    /// A file that a variable names cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a connection ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Disconnect {
    /// [`disconnect`](super::Connection::disconnect) was called.
    #[error("disconnected on request")]
    Requested,
    /// All handles to it were dropped, and all responses had come.
    #[error("the connection was no longer used")]
    Unused,
    /// A request before asked for it.
    #[error("an earlier request was the last on its connection")]
    LastRequest,
    /// The server said so with its last response: `Connection: close`, or a body that ends with the connection.
    #[error("the server closed the connection after an earlier response")]
    LastResponse,
    /// The server closed it without a word.
    #[error("the server closed the connection")]
    Closed,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Failed(Arc<io::Error>),
    /// The server sent something that is no HTTP response, or one of too large a head.
    #[error("the server sent a bad response: {0}")]
    BadResponse(&'static str),
    /// The server sent something without having been asked.
    #[error("the server sent unexpected data")]
    UnexpectedData,
    /// A response was larger than the caller allowed, so that the rest of it was in the way.
    #[error("a response was too large")]
    ResponseTooLarge,
    /// The caller dropped a response of which too much was still to come, or all that waited for one have gone.
    #[error("an earlier response was abandoned")]
    Abandoned,
    /// The body of a request, which is made by the caller, failed.
    #[error("the body of a request failed: {0}")]
    RequestBody(Arc<str>),
    /// A response did not begin in time, or the server did not take the request.
    #[error("no response within {0:?}")]
    ResponseTimeout(Duration),
    /// Nothing of the body of a response came for too long.
    #[error("no progress of a response for {0:?}")]
    IdleTimeout(Duration),
    /// The runtime that the connection ran on ended.
    #[error("the runtime of the connection has ended")]
    RuntimeEnded,
}

impl From<io::Error> for Disconnect {
    fn from(error: io::Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl From<ReadError> for Disconnect {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Malformed(what) => Self::BadResponse(what),
            ReadError::HeadTooLarge => Self::BadResponse("head too large"),
            ReadError::BodyTooLarge => Self::ResponseTooLarge,
        }
    }
}

/// The end of a connection.
#[derive(Debug, Clone)]
pub struct Disconnected {
    /// Why it ended.
    pub reason: Disconnect,
    /// The requests that were not, or not completely, answered, in the order in which they were made.
    pub unanswered: Vec<Arc<str>>,
}
