//! The v1 client against a scripted master, over real sockets.

#![allow(clippy::unwrap_used, reason = "a failing test shall panic")]

use std::future::Future;
use std::time::Duration;

use http::StatusCode;
use libprocess::{Clock, StreamWriter};
use libprocess::{
    Context, Process, Reply, Request, Response, RouteOptions, Runtime, RuntimeConfig,
};
use mesos::media::ContentType;
use mesos::recordio;
use mesos_driver::proto::v1::scheduler::{Call, Event, call, event};
use mesos_driver::proto::v1::{
    FrameworkId, FrameworkInfo, InverseOffer, OfferId, TimeInfo, Unavailability,
};
use mesos_driver::v1::{CallError, Client, Config, Events, News, connect};
use tokio::sync::mpsc;

const DEADLINE: Duration = Duration::from_secs(20);

/// How the master answers the calls that are made, in order.
enum Answer {
    Stream,
    Status(StatusCode),
    Redirect(String),
}

/// A request as the master saw it.
struct Seen {
    call: Call,
    stream_id: Option<String>,
    /// For a subscription: what its events are written to.
    events: Option<StreamWriter>,
}

struct Script {
    content_type: ContentType,
    answers: Vec<Answer>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl Script {
    fn answer(&mut self, request: &Request) -> Response {
        assert_eq!(
            request.header("Content-Type"),
            Some(self.content_type.as_str())
        );
        assert_eq!(request.header("Accept"), Some(self.content_type.as_str()));
        let call = self.content_type.decode(&request.body).unwrap();
        let stream_id = request.header("Mesos-Stream-Id").map(str::to_owned);
        let mut events = None;
        let response = match self.answers.remove(0) {
            Answer::Stream => {
                let (response, writer) = Response::stream(self.content_type.as_str());
                events = Some(writer);
                response.header("Mesos-Stream-Id", "stream")
            }
            Answer::Status(status) => Response::text(status, "as scripted"),
            Answer::Redirect(location) => Response::redirect(location),
        };
        let seen = Seen {
            call,
            stream_id,
            events,
        };
        self.seen.send(seen).ok().unwrap();
        response
    }
}

impl Process for Script {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let options = RouteOptions::default();
        ctx.route(
            "/api/v1/scheduler",
            options,
            |script: &mut Script, _, request| Reply::from(script.answer(&request)),
        );
    }
}

struct Master {
    runtime: Runtime,
    seen: mpsc::UnboundedReceiver<Seen>,
    content_type: ContentType,
}

impl Master {
    fn start(content_type: ContentType, answers: Vec<Answer>) -> Self {
        let config = RuntimeConfig {
            workers: 1,
            ..RuntimeConfig::loopback()
        };
        let runtime = Runtime::start(config).unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let script = Script {
            content_type,
            answers,
            seen: sender,
        };
        runtime.spawn("master", script).unwrap();
        Master {
            runtime,
            seen,
            content_type,
        }
    }

    fn connect(&self, clock: Clock) -> (Client, Events) {
        let framework = FrameworkInfo {
            name: "f".into(),
            user: "u".into(),
            ..FrameworkInfo::default()
        };
        let mut config = Config::new(self.runtime.address().to_string(), framework);
        config.content_type = self.content_type;
        config.clock = clock;
        connect(config).unwrap()
    }

    async fn seen(&mut self, kind: call::Type) -> Seen {
        let seen = within(self.seen.recv()).await.unwrap();
        assert_eq!(seen.call.r#type(), kind);
        seen
    }

    /// Answers a subscription by SUBSCRIBED.
    async fn subscribe(&mut self) -> (Call, StreamWriter) {
        let seen = self.seen(call::Type::Subscribe).await;
        assert_eq!(seen.stream_id, None);
        let events = seen.events.unwrap();
        self.send(&events, subscribed());
        (seen.call, events)
    }

    fn send(&self, events: &StreamWriter, event: Event) {
        let record = recordio::encode(&self.content_type.encode(&event));
        // In two pieces, which need not be events.
        let (first, second) = record.split_at(record.len() / 2);
        events.write(first.to_vec()).unwrap();
        events.write(second.to_vec()).unwrap();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.runtime.shutdown();
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap()
}

fn framework_id() -> FrameworkId {
    FrameworkId { value: "F".into() }
}

fn of_type(kind: event::Type) -> Event {
    Event {
        r#type: Some(kind.into()),
        ..Event::default()
    }
}

fn subscribed() -> Event {
    Event {
        subscribed: Some(event::Subscribed {
            framework_id: framework_id(),
            heartbeat_interval_seconds: Some(15.0),
            ..event::Subscribed::default()
        }),
        ..of_type(event::Type::Subscribed)
    }
}

async fn next_event(events: &mut Events) -> Event {
    match within(events.next()).await {
        Some(News::Event(event)) => *event,
        other => panic!("{other:?} is no event"),
    }
}

async fn disconnected(events: &mut Events) -> String {
    match within(events.next()).await {
        Some(News::Disconnected(why)) => why,
        other => panic!("{other:?} is no disconnection"),
    }
}

fn revive() -> Call {
    Call {
        r#type: Some(call::Type::Revive.into()),
        ..Call::default()
    }
}

#[tokio::test]
async fn subscribes_takes_events_and_makes_calls() {
    async fn check(content_type: ContentType) {
        let answers = vec![
            Answer::Stream,
            Answer::Status(StatusCode::ACCEPTED),
            Answer::Status(StatusCode::BAD_REQUEST),
        ];
        let mut master = Master::start(content_type, answers);
        let (client, mut events) = master.connect(Clock::system());
        let (subscribe, writer) = master.subscribe().await;
        assert_eq!(subscribe.subscribe.unwrap().framework_info.name, "f");
        assert_eq!(next_event(&mut events).await, subscribed());
        master.send(&writer, of_type(event::Type::Heartbeat));
        assert_eq!(
            next_event(&mut events).await,
            of_type(event::Type::Heartbeat)
        );

        within(client.call(revive())).await.unwrap();
        let seen = master.seen(call::Type::Revive).await;
        assert_eq!(seen.stream_id.as_deref(), Some("stream"));
        assert_eq!(seen.call.framework_id, Some(framework_id()));
        match within(client.call(revive())).await.unwrap_err() {
            CallError::Refused { status, reason } => {
                assert_eq!((status.as_u16(), reason.as_str()), (400, "as scripted"));
            }
            error => panic!("{error}"),
        }
    }
    check(ContentType::Json).await;
    check(ContentType::Protobuf).await;
}

#[tokio::test]
async fn subscribes_again_under_its_id_when_the_stream_ends() {
    let answers = vec![Answer::Stream, Answer::Stream];
    let mut master = Master::start(ContentType::Protobuf, answers);
    let (client, mut events) = master.connect(Clock::system());
    let (first, writer) = master.subscribe().await;
    assert_eq!(first.framework_id, None);
    next_event(&mut events).await;
    drop(writer);
    disconnected(&mut events).await;
    assert!(matches!(
        client.call(revive()).await,
        Err(CallError::NotSubscribed)
    ));
    let (again, _writer) = master.subscribe().await;
    assert_eq!(again.framework_id, Some(framework_id()));
    assert_eq!(
        again.subscribe.unwrap().framework_info.id,
        Some(framework_id())
    );
    assert_eq!(next_event(&mut events).await, subscribed());
}

#[tokio::test]
async fn silence_counts_as_a_lost_connection() {
    let answers = vec![Answer::Stream, Answer::Stream];
    let mut master = Master::start(ContentType::Protobuf, answers);
    let clock = Clock::paused();
    let (_client, mut events) = master.connect(clock.clone());
    let (_, _writer) = master.subscribe().await;
    next_event(&mut events).await;
    // The client may begin to wait only after time was advanced, so it is advanced again.
    let silence = async {
        let mut steps = tokio::time::interval(Duration::from_millis(10));
        loop {
            steps.tick().await;
            clock.advance(Duration::from_secs(46));
        }
    };
    let why = tokio::select! {
        why = disconnected(&mut events) => why,
        () = silence => unreachable!(),
    };
    assert_eq!(why, "no heartbeat for 45s");
    clock.resume();
    master.subscribe().await;
}

#[tokio::test]
async fn follows_redirects_to_the_leader() {
    let mut leader = Master::start(ContentType::Protobuf, vec![Answer::Stream]);
    let location = format!("//{}/master/api/v1/scheduler", leader.runtime.address());
    let mut other = Master::start(ContentType::Protobuf, vec![Answer::Redirect(location)]);
    let (_client, mut events) = other.connect(Clock::system());
    other.seen(call::Type::Subscribe).await;
    let (_, _writer) = leader.subscribe().await;
    assert_eq!(next_event(&mut events).await, subscribed());
}

#[tokio::test]
async fn waits_for_a_master_that_is_not_ready() {
    let answers = vec![
        Answer::Status(StatusCode::SERVICE_UNAVAILABLE),
        Answer::Stream,
    ];
    let mut master = Master::start(ContentType::Protobuf, answers);
    let (_client, mut events) = master.connect(Clock::system());
    master.seen(call::Type::Subscribe).await;
    let (_, _writer) = master.subscribe().await;
    assert_eq!(next_event(&mut events).await, subscribed());
}

#[tokio::test]
async fn a_refusal_is_the_end() {
    async fn check(answer: Answer, expected: &str) {
        let mut master = Master::start(ContentType::Json, vec![answer]);
        let (_client, mut events) = master.connect(Clock::system());
        let seen = master.seen(call::Type::Subscribe).await;
        if let Some(writer) = seen.events {
            let error = event::Error {
                message: "Framework has been removed".into(),
            };
            let event = Event {
                error: Some(error),
                ..of_type(event::Type::Error)
            };
            master.send(&writer, event);
        }
        let message = next_event(&mut events).await.error.unwrap().message;
        assert_eq!(message, expected);
        assert_eq!(within(events.next()).await, None);
    }
    check(
        Answer::Status(StatusCode::FORBIDDEN),
        "the master refuses the subscription by 403 Forbidden: as scripted",
    )
    .await;
    check(Answer::Stream, "Framework has been removed").await;
}

#[tokio::test]
async fn a_bad_address_is_told_at_once() {
    let config = Config::new("nowhere at all", FrameworkInfo::default());
    assert!(connect(config).is_err());
}

#[tokio::test]
async fn inverse_offers_arrive_and_are_answered() {
    let answers = vec![Answer::Stream, Answer::Status(StatusCode::ACCEPTED)];
    let mut master = Master::start(ContentType::Json, answers);
    let (client, mut events) = master.connect(Clock::system());
    let (_, writer) = master.subscribe().await;
    next_event(&mut events).await;
    let id = OfferId { value: "O".into() };
    let asked = Event {
        inverse_offers: Some(event::InverseOffers {
            inverse_offers: vec![InverseOffer {
                id: id.clone(),
                framework_id: framework_id(),
                unavailability: Unavailability {
                    start: TimeInfo { nanoseconds: 1 },
                    duration: None,
                },
                ..InverseOffer::default()
            }],
        }),
        ..of_type(event::Type::InverseOffers)
    };
    master.send(&writer, asked.clone());
    assert_eq!(next_event(&mut events).await, asked);
    let decline = call::DeclineInverseOffers {
        inverse_offer_ids: vec![id.clone()],
        filters: None,
    };
    let call = Call {
        r#type: Some(call::Type::DeclineInverseOffers.into()),
        decline_inverse_offers: Some(decline.clone()),
        ..Call::default()
    };
    within(client.call(call)).await.unwrap();
    let seen = master.seen(call::Type::DeclineInverseOffers).await;
    assert_eq!(seen.call.decline_inverse_offers, Some(decline));
    let rescinded = Event {
        rescind_inverse_offer: Some(event::RescindInverseOffer {
            inverse_offer_id: id,
        }),
        ..of_type(event::Type::RescindInverseOffer)
    };
    master.send(&writer, rescinded.clone());
    assert_eq!(next_event(&mut events).await, rescinded);
}
