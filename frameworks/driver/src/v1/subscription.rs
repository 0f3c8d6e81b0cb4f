//! The task that keeps a framework subscribed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use libprocess::Clock;
use libprocess::client::{Body, Url};
use mesos::detector::MasterDetector;
use mesos::proto::MasterInfo;
use mesos::proto::v1::FrameworkInfo;
use mesos::proto::v1::scheduler::{Call, Event, OfferConstraints, call, event};
use mesos::recordio::Decoder;
use tokio::sync::mpsc;

use super::{BACKOFF_MAX, BACKOFF_MIN, Config, News, Session, Shared, request};

/// The largest event that is taken: the offers of a very large cluster.
const MAX_EVENT_BYTES: usize = 256 << 20;

/// So many heartbeats may be missing until the connection counts as dead.
const HEARTBEATS_MISSED_MAX: f64 = 3.0;

/// How often one SUBSCRIBE is sent on to another master.
const MAX_REDIRECTS: usize = 3;

/// How one attempt, or one subscription, ended.
enum End {
    /// Try again at the same master, after a pause.
    Retry(String),
    /// Another master leads.
    LeaderChanged,
    /// The master does not want us, or nobody listens to our events any more.
    Final,
}

pub(crate) struct Subscription {
    framework: FrameworkInfo,
    suppressed_roles: Vec<String>,
    offer_constraints: Option<OfferConstraints>,
    clock: Clock,
    detector: MasterDetector,
    shared: Arc<Shared>,
    news: mpsc::Sender<News>,
    backoff: Duration,
}

impl Subscription {
    pub(crate) fn new(
        config: Config,
        detector: MasterDetector,
        shared: Arc<Shared>,
        news: mpsc::Sender<News>,
    ) -> Self {
        Subscription {
            framework: config.framework,
            suppressed_roles: config.suppressed_roles,
            offer_constraints: config.offer_constraints,
            clock: config.clock,
            detector,
            shared,
            news,
            backoff: BACKOFF_MIN,
        }
    }

    /// Subscribes again and again, until there is a reason to end.
    pub(crate) async fn run(mut self) {
        let mut leader: Option<MasterInfo> = None;
        loop {
            let known = match self.detector.leader() {
                Ok(Some(info)) => Ok(Some(info)),
                _ => self.detector.detect(leader.take()).await,
            };
            leader = match known {
                Ok(leader) => leader,
                Err(error) => {
                    // The last word, heard or not.
                    let _ = self.tell(News::Disconnected(error.to_string())).await;
                    return;
                }
            };
            let Some(info) = leader.clone() else { continue };
            match self.stay_subscribed(&info).await {
                End::Retry(reason) => self.pause(&reason).await,
                End::LeaderChanged => self.backoff = BACKOFF_MIN,
                End::Final => return,
            }
        }
    }

    async fn pause(&mut self, reason: &str) {
        let pause = self.backoff.mul_f64(rand::random());
        tracing::info!("subscribing again in {pause:?}: {reason}");
        self.clock.sleep(pause).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// One subscription with the leading master `info`, from the first attempt to its end.
    async fn stay_subscribed(&mut self, info: &MasterInfo) -> End {
        let Some(authority) = authority(info) else {
            return End::Retry("the leading master has no address".to_owned());
        };
        let master = match self.shared.http.url(&authority, request::PATH) {
            Ok(url) => url,
            Err(error) => return End::Retry(format!("the leading master: {error}")),
        };
        let changed = self.detector.detect(Some(info.clone()));
        let end = tokio::select! {
            end = self.subscribe(master) => end,
            // A failure of the detector comes up again in the main loop.
            _ = changed => End::LeaderChanged,
        };
        if self.shared.session().is_some() {
            self.shared.set_session(None);
            let reason = match &end {
                End::Retry(reason) => reason.clone(),
                End::LeaderChanged => "another master leads".to_owned(),
                End::Final => return end,
            };
            if self.tell(News::Disconnected(reason)).await.is_break() {
                return End::Final;
            }
        }
        end
    }

    async fn subscribe(&mut self, mut master: Url) -> End {
        let content_type = self.shared.content_type;
        let body = content_type.encode(&self.subscribe_call());
        for _ in 0..=MAX_REDIRECTS {
            let http = &self.shared.http;
            let response = match request::subscribe(http, &master, content_type, body.clone()).await
            {
                Ok(response) => response,
                Err(error) => return End::Retry(error.to_string()),
            };
            let status = response.status();
            let location = request::header(response.headers(), "location");
            let leader = location.and_then(|location| master.redirected(&location).ok());
            match (status, leader) {
                (StatusCode::OK, _) => {
                    let stream_id = request::header(response.headers(), request::STREAM_ID);
                    let stream_id = stream_id.unwrap_or_default();
                    return self.listen(master, stream_id, response.into_body()).await;
                }
                (StatusCode::TEMPORARY_REDIRECT, Some(leader)) => master = leader,
                _ => {
                    let reason = request::read(response).await;
                    return self.refused(status, &reason).await;
                }
            }
        }
        End::Retry(format!("{master} sends us from master to master"))
    }

    /// A master that is not ready may be later; one that does not like the call never will.
    async fn refused(&self, status: StatusCode, reason: &str) -> End {
        let message = format!("the master refuses the subscription by {status}: {reason}");
        let passing = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::NOT_FOUND,
            StatusCode::TEMPORARY_REDIRECT,
        ];
        if passing.contains(&status) || status.is_server_error() {
            return End::Retry(message);
        }
        // The last word, heard or not.
        let _ = self.tell(News::Event(Box::new(error_event(message)))).await;
        End::Final
    }

    /// Passes events on until the stream ends or falls silent.
    async fn listen(&mut self, master: Url, stream_id: String, mut body: Body) -> End {
        let mut decoder = Decoder::with_limit(MAX_EVENT_BYTES);
        let mut patience: Option<Duration> = None;
        loop {
            let data = match patience {
                None => body.next().await,
                Some(limit) => match self.clock.timeout(limit, body.next()).await {
                    Ok(data) => data,
                    Err(_) => return End::Retry(format!("no heartbeat for {limit:?}")),
                },
            };
            let data = match data {
                Some(Ok(data)) => data,
                Some(Err(error)) => return End::Retry(format!("the connection broke: {error}")),
                None => return End::Retry("the master closed the connection".to_owned()),
            };
            let records = match decoder.feed(&data) {
                Ok(records) => records,
                Err(error) => return End::Retry(format!("garbled events: {error}")),
            };
            for record in records {
                let event: Event = match self.shared.content_type.decode(&record) {
                    Ok(event) => event,
                    Err(error) => return End::Retry(format!("garbled event: {error}")),
                };
                if let Some(subscribed) = &event.subscribed {
                    patience = subscribed.heartbeat_interval_seconds.and_then(|interval| {
                        Duration::try_from_secs_f64(interval * HEARTBEATS_MISSED_MAX).ok()
                    });
                    self.on_subscribed(&master, &stream_id, subscribed);
                }
                let last = event.r#type() == event::Type::Error;
                if self.tell(News::Event(Box::new(event))).await.is_break() || last {
                    return End::Final;
                }
            }
        }
    }

    fn on_subscribed(&mut self, master: &Url, stream_id: &str, event: &event::Subscribed) {
        self.backoff = BACKOFF_MIN;
        self.framework.id = Some(event.framework_id.clone());
        self.shared.set_session(Some(Session {
            master: master.clone(),
            stream_id: stream_id.to_owned(),
            framework_id: event.framework_id.clone(),
        }));
    }

    fn subscribe_call(&self) -> Call {
        Call {
            r#type: Some(call::Type::Subscribe.into()),
            framework_id: self.framework.id.clone(),
            subscribe: Some(call::Subscribe {
                framework_info: self.framework.clone(),
                suppressed_roles: self.suppressed_roles.clone(),
                offer_constraints: self.offer_constraints.clone(),
            }),
            ..Call::default()
        }
    }

    /// Breaks when nobody listens.
    async fn tell(&self, news: News) -> ControlFlow<()> {
        match self.news.send(news).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

fn error_event(message: String) -> Event {
    Event {
        r#type: Some(event::Type::Error.into()),
        error: Some(event::Error { message }),
        ..Event::default()
    }
}

fn authority(info: &MasterInfo) -> Option<String> {
    let address = info.address.as_ref();
    let ip = match address.and_then(|address| address.ip.clone()) {
        Some(ip) => ip,
        // The number is the address in network order, read by a little-endian machine.
        None => std::net::Ipv4Addr::from(info.ip.to_le_bytes()).to_string(),
    };
    (info.port != 0).then(|| format!("{ip}:{}", info.port))
}
