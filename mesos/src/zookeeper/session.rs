//! Sessions with an ensemble: opening them with patience, and noticing their end in time.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;
use tracing::{info, warn};
use zookeeper_client::{Client, Error, SessionState, StateWatcher};

use super::{ZkUrl, ZooKeeperError};

/// First and longest pause between two attempts to reach an ensemble.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(250);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// First and longest pause between two attempts of an operation within a session. Upstream
/// starts at 2 s; requests here wait for the connection by themselves, so a retry is cheap.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The code of ZooKeeper for an operation that took the ensemble too long.
const OPERATION_TIMEOUT: i32 = -7;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The ensemble expired it.
    Expired,
    /// It was cut off for longer than the negotiated timeout. The ensemble will have expired it,
    /// or will when it is back; nobody may rely on its ephemeral nodes any more.
    Disconnected(Duration),
    /// The ensemble rejected the credentials.
    AuthFailed,
    /// The client library closed it.
    Closed,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Expired => f.write_str("it expired"),
            Loss::Disconnected(timeout) => {
                write!(
                    f,
                    "no server could be reached for its timeout of {timeout:?}"
                )
            }
            Loss::AuthFailed => f.write_str("the credentials were rejected"),
            Loss::Closed => f.write_str("it was closed"),
        }
    }
}

/// Pauses that double up to a limit, with up to a quarter of jitter.
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { next: min, max }
    }

    fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::rng().random_range(0.75..=1.0));
        self.next = (self.next * 2).min(self.max);
        pause
    }
}

/// A session with an ensemble. Dropping the last clone closes it, which removes its ephemeral
/// nodes at once.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    servers: String,
    authenticated: bool,
}

impl Session {
    /// Opens a session, trying for as long as no server can be reached; each failure is logged.
    /// Names are resolved anew at every attempt. `timeout` is what is asked for; the ensemble
    /// may grant another. Needs a Tokio runtime, which then carries the session's traffic: use
    /// one whose timer is enabled and whose threads are never blocked for long.
    ///
    /// # Errors
    /// [`ZooKeeperError::Connect`] for what no repetition can cure.
    pub async fn connect(url: &ZkUrl, timeout: Duration) -> Result<Session, ZooKeeperError> {
        let servers = url.servers();
        let mut backoff = Backoff::new(RECONNECT_PAUSE_MIN, RECONNECT_PAUSE_MAX);
        loop {
            let source = match connect_once(url, &servers, timeout).await {
                Ok(client) => return Ok(Session::established(url, servers, client)),
                Err(source) => source,
            };
            match source {
                Error::AuthFailed | Error::BadArguments(_) => {
                    return Err(ZooKeeperError::Connect { servers, source });
                }
                _ => {
                    let pause = backoff.pause();
                    warn!("Cannot reach ZooKeeper at '{servers}': {source}; retrying in {pause:?}");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// The timeout that the ensemble granted.
    pub fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    /// The ensemble, without credentials.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Resolves when the session has ended. See [`Loss`].
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + use<> {
        watch_for_loss(
            self.client.state_watcher(),
            self.timeout(),
            self.servers.clone(),
        )
    }

    /// The same end as an error, for `select!` next to an operation.
    pub async fn lost_error(&self) -> ZooKeeperError {
        let loss = self.lost().await;
        ZooKeeperError::SessionLost {
            servers: self.servers.clone(),
            loss,
        }
    }

    /// Whether the URL had credentials, so that nodes belong to someone.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs an operation until it succeeds, is refused for good or the session ends.
    pub(super) async fn retry<T, F>(
        &self,
        operation: &'static str,
        path: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T, ZooKeeperError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = Backoff::new(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX);
        let lost = self.lost_error();
        tokio::pin!(lost);
        loop {
            let result = tokio::select! {
                result = attempt() => result,
                error = &mut lost => return Err(error),
            };
            let source = match result {
                Ok(value) => return Ok(value),
                Err(source) => source,
            };
            if let Some(error) = self.permanent(operation, path, &source) {
                return Err(error);
            }
            let pause = backoff.pause();
            warn!("Failed to {operation} '{path}' in ZooKeeper: {source}; retrying in {pause:?}");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                error = &mut lost => return Err(error),
            }
        }
    }

    /// The error to give up with, or `None` if the same request may yet succeed.
    pub(super) fn permanent(
        &self,
        operation: &'static str,
        path: &str,
        source: &Error,
    ) -> Option<ZooKeeperError> {
        let servers = self.servers.clone();
        if let Some(loss) = loss_of(source) {
            return Some(ZooKeeperError::SessionLost { servers, loss });
        }
        (!is_transient(source)).then(|| ZooKeeperError::Refused {
            servers,
            operation,
            path: path.to_owned(),
            source: source.clone(),
        })
    }

    fn established(url: &ZkUrl, servers: String, client: Client) -> Session {
        let timeout = client.session_timeout();
        let id = client.session_id();
        info!("Connected to ZooKeeper at '{servers}' (session {id}, timeout {timeout:?})");
        Session {
            client,
            servers,
            authenticated: url.credentials().is_some(),
        }
    }
}

async fn connect_once(url: &ZkUrl, servers: &str, timeout: Duration) -> Result<Client, Error> {
    let mut connector = Client::connector()
        .with_session_timeout(timeout)
        // Reports a refused connection at once instead of after the session timeout.
        .with_fail_eagerly()
        // Keeps to requests that servers before 3.5 know as well.
        .with_server_version(3, 4, 0);
    if let Some(credentials) = url.credentials() {
        connector = connector.with_auth("digest", credentials.as_digest().as_bytes());
    }
    connector.connect(servers).await
}

async fn watch_for_loss(mut watcher: StateWatcher, timeout: Duration, servers: String) -> Loss {
    let mut state = watcher.peek_state();
    let mut give_up_at = None;
    loop {
        match state {
            SessionState::Expired => return Loss::Expired,
            SessionState::AuthFailed => return Loss::AuthFailed,
            SessionState::Closed => return Loss::Closed,
            SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                give_up_at = None;
                state = watcher.changed().await;
            }
            SessionState::Disconnected => {
                let deadline = *give_up_at.get_or_insert_with(|| {
                    warn!("Lost the connection to ZooKeeper at '{servers}'; the session ends in {timeout:?}");
                    Instant::now() + timeout
                });
                tokio::select! {
                    changed = watcher.changed() => state = changed,
                    () = tokio::time::sleep_until(deadline) => return Loss::Disconnected(timeout),
                }
            }
        }
    }
}

/// Errors after which the same request can succeed within the same session.
fn is_transient(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionLoss
            | Error::Timeout
            | Error::Throttled
            | Error::NotReadOnly
            | Error::UnexpectedErrorCode(OPERATION_TIMEOUT)
            // What breaks a connection below the protocol: the client connects again.
            | Error::Custom(_)
    )
}

/// Errors which say that the session is over.
fn loss_of(error: &Error) -> Option<Loss> {
    match error {
        Error::SessionExpired | Error::SessionMoved => Some(Loss::Expired),
        Error::ClientClosed | Error::NoHosts => Some(Loss::Closed),
        Error::AuthFailed => Some(Loss::AuthFailed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for limit in [100, 200, 350, 350] {
            let pause = backoff.pause();
            assert!(
                pause <= Duration::from_millis(limit),
                "{pause:?} > {limit} ms"
            );
            assert!(pause >= Duration::from_millis(limit * 3 / 4), "{pause:?}");
        }
    }

    #[test]
    fn sorts_errors() {
        fn check(error: Error, transient: bool, loss: Option<Loss>) {
            assert_eq!(is_transient(&error), transient, "{error}");
            assert_eq!(loss_of(&error), loss, "{error}");
        }
        check(Error::ConnectionLoss, true, None);
        check(Error::UnexpectedErrorCode(OPERATION_TIMEOUT), true, None);
        check(Error::UnexpectedErrorCode(-9), false, None);
        check(Error::NoAuth, false, None);
        check(Error::SessionExpired, false, Some(Loss::Expired));
        check(Error::SessionMoved, false, Some(Loss::Expired));
        check(Error::ClientClosed, false, Some(Loss::Closed));
        check(Error::AuthFailed, false, Some(Loss::AuthFailed));
    }
}
