//! The v1 HTTP scheduler API: calls go out as requests, events come in as one long answer.
//!
//! Prefer it to the v0 driver for frameworks on async Rust, for operation feedback and inverse
//! offers, and where the master cannot open connections to the scheduler.
//!
//! [`connect`] returns a client to call with, and the events. Behind them a task finds the leading
//! master, subscribes, and does so again when the master changes, when the connection breaks, and
//! when three heartbeats in a row have not come. Upstream: `src/scheduler/scheduler.cpp`, which
//! leaves the subscription and heartbeats to its user.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mesos_driver::proto::v1::scheduler::{Call, call, event};
//! use mesos_driver::proto::v1::FrameworkInfo;
//! use mesos_driver::v1::{Config, News, connect};
//!
//! let framework = FrameworkInfo {
//!     name: "example".into(),
//!     user: "nobody".into(),
//!     ..FrameworkInfo::default()
//! };
//! let (client, mut events) = connect(Config::new("zk://host:2181/mesos", framework))?;
//! while let Some(news) = events.next().await {
//!     match news {
//!         News::Event(event) if event.r#type() == event::Type::Offers => {
//!             let offers = event.offers.unwrap_or_default().offers;
//!             let decline = Call {
//!                 r#type: Some(call::Type::Decline.into()),
//!                 decline: Some(call::Decline {
//!                     offer_ids: offers.into_iter().map(|offer| offer.id).collect(),
//!                     filters: None,
//!                 }),
//!                 ..Call::default()
//!             };
//!             client.call(decline).await?;
//!         }
//!         News::Event(event) => println!("{}", event.r#type().as_str_name()),
//!         News::Disconnected(why) => println!("disconnected: {why}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod request;
mod subscription;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use libprocess::Clock;
use libprocess::client::{EnvironmentError, Url};
use mesos::detector::{DetectorError, MasterDetector};
use mesos::media::ContentType;
use mesos::proto::v1::scheduler::{Call, Event, OfferConstraints};
use mesos::proto::v1::{FrameworkId, FrameworkInfo};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

pub use libprocess::client::Error as HttpError;
use subscription::Subscription;

/// How long the client's session with ZooKeeper survives a lost connection.
const ZOOKEEPER_SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How many events may wait to be taken; then nothing is read from the master until they are.
const EVENT_BACKLOG: usize = 1024;

/// The first pause between two attempts to subscribe; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(500);

/// The longest pause between two attempts to subscribe.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What to connect as, and where to.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port`, `zk://host1:port1,host2:port2/path`, or `file://` of a file that holds either.
    pub master: String,
    /// The framework. With an `id`, it takes over from an earlier instance of itself.
    pub framework: FrameworkInfo,
    /// Roles that no offers are wanted for.
    pub suppressed_roles: Vec<String>,
    /// Which agents offers are wanted of.
    pub offer_constraints: Option<OfferConstraints>,
    /// How messages are encoded; protobuf unless changed.
    pub content_type: ContentType,
    /// What pauses and heartbeats are measured by.
    pub clock: Clock,
}

impl Config {
    /// A configuration with nothing but what is needed.
    pub fn new(master: impl Into<String>, framework: FrameworkInfo) -> Self {
        Config {
            master: master.into(),
            framework,
            suppressed_roles: Vec::new(),
            offer_constraints: None,
            content_type: ContentType::Protobuf,
            clock: Clock::system(),
        }
    }
}

/// What the events are about.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// An event of the master. SUBSCRIBED is the first after each (new) subscription; ERROR is the
    /// last of all: the master does not want this framework.
    Event(Box<Event>),
    /// The subscription ended, for this reason; another is being made. Calls fail until then.
    Disconnected(String),
}

/// The events, in order. Dropping them ends the subscription: to the master the framework is then
/// disconnected, and it is torn down when its failover timeout has passed.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<News>,
    task: AbortHandle,
}

impl Events {
    /// The next one; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<News> {
        self.receiver.recv().await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a call did not reach the framework's subscription.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no subscription at the moment.
    #[error("not subscribed with a master")]
    NotSubscribed,
    /// The master could not be asked; the call may or may not have been heard.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The master refused the call.
    #[error("the master answered {status}: {reason}")]
    Refused {
        /// Such as 400 for a malformed call.
        status: StatusCode,
        /// The body of the answer.
        reason: String,
    },
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address of the master makes no sense.
    #[error(transparent)]
    Master(#[from] DetectorError),
    /// The `LIBPROCESS_*` environment variables, or the files that they name, cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

/// Where calls go at the moment.
#[derive(Debug, Clone)]
struct Session {
    master: Url,
    stream_id: String,
    framework_id: FrameworkId,
}

/// What client and subscription share.
#[derive(Debug)]
struct Shared {
    http: libprocess::client::Client,
    content_type: ContentType,
    session: Mutex<Option<Session>>,
}

impl Shared {
    fn session(&self) -> Option<Session> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.clone()
    }

    fn set_session(&self, session: Option<Session>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }
}

/// Makes calls for a subscribed framework. Clones speak for the same one.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// One request at a time: the master sees calls in the order they are made in.
    requester: Arc<tokio::sync::Mutex<request::Requester>>,
}

impl Client {
    /// Makes a call; its `framework_id` is filled in when left out. Returns when the master has
    /// accepted the call, which says nothing about what will come of it. Not for SUBSCRIBE.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, mut call: Call) -> Result<(), CallError> {
        let mut requester = self.requester.lock().await;
        let session = self.shared.session().ok_or(CallError::NotSubscribed)?;
        call.framework_id.get_or_insert(session.framework_id);
        let body = self.shared.content_type.encode(&call);
        let answer = requester
            .post(
                &session.master,
                self.shared.content_type,
                &session.stream_id,
                body,
            )
            .await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(CallError::Refused {
            status: answer.status(),
            reason: request::text(answer.body()),
        })
    }

    /// The id that the master knows the framework by, once it is subscribed. Store it.
    pub fn framework_id(&self) -> Option<FrameworkId> {
        self.shared.session().map(|session| session.framework_id)
    }
}

/// Subscribes, for as long as the events are kept. To be called on a tokio runtime.
///
/// TLS is used if the `LIBPROCESS_SSL_*` environment variables switch it on.
///
/// # Errors
/// See [`ConnectError`]. That nobody answers is no error: the client keeps trying.
pub fn connect(config: Config) -> Result<(Client, Events), ConnectError> {
    let handle = Handle::current();
    let detector = MasterDetector::create(&config.master, ZOOKEEPER_SESSION_TIMEOUT, &handle)?;
    let http = request::client(config.clock.clone())?;
    let requester = request::Requester::new(http.clone());
    let shared = Arc::new(Shared {
        http,
        content_type: config.content_type,
        session: Mutex::new(None),
    });
    let (sender, receiver) = mpsc::channel(EVENT_BACKLOG);
    let subscription = Subscription::new(config, detector, shared.clone(), sender);
    let task = handle.spawn(subscription.run()).abort_handle();
    let client = Client {
        shared,
        requester: Arc::new(tokio::sync::Mutex::new(requester)),
    };
    Ok((client, Events { receiver, task }))
}
