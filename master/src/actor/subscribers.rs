//! Streams of operators that subscribed to events.

use bytes::Bytes;
use indexmap::IndexMap;
use libprocess::{Context, PushGauge, Runtime, StreamWriter};
use mesos::media::ContentType;
use mesos::proto::master::{Event, event};
use mesos::proto::v1;
use mesos::{convert, recordio};
use prost::Message;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::MasterProcess;
use super::schedulers::closed;
use crate::constants::{HEARTBEAT_INTERVAL, STREAM_BACKLOG};
use crate::core::metrics::Counter;
use crate::core::operator_event::OperatorEvent;
use crate::core::state::ClusterState;
use crate::http::describe;

/// All subscribed operators, oldest first.
pub(super) struct Subscribers {
    streams: IndexMap<Uuid, Subscriber>,
    max: usize,
    gauge: PushGauge,
    dropped: libprocess::Counter,
}

struct Subscriber {
    content_type: ContentType,
    writer: StreamWriter,
    /// Events that happened while the first one, the whole state, is being rendered.
    backlog: Option<Vec<Bytes>>,
    _open: oneshot::Sender<()>,
}

impl Subscriber {
    /// Appends a record; false if the reader is gone or too slow.
    fn push(&mut self, record: &Bytes) -> bool {
        match &mut self.backlog {
            Some(backlog) if backlog.len() >= STREAM_BACKLOG => false,
            Some(backlog) => {
                backlog.push(record.clone());
                true
            }
            None => self.writer.write(record.clone()).is_ok(),
        }
    }
}

impl Subscribers {
    pub(super) fn new(runtime: &Runtime, max: usize) -> Self {
        let metrics = runtime.metrics();
        Self {
            streams: IndexMap::new(),
            max,
            gauge: metrics.push_gauge("master/operator_event_stream_subscribers"),
            dropped: metrics.counter(Counter::StreamsDropped.name()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    fn insert(&mut self, id: Uuid, subscriber: Subscriber) {
        while !self.streams.is_empty() && self.streams.len() >= self.max {
            tracing::info!("Ending the oldest operator stream: too many subscribers");
            self.streams.shift_remove_index(0);
        }
        if self.max > 0 {
            self.streams.insert(id, subscriber);
        }
        self.show();
    }

    fn remove(&mut self, id: Uuid) {
        self.streams.shift_remove(&id);
        self.show();
    }

    fn show(&self) {
        self.gauge.set(self.streams.len() as f64);
    }

    /// Sends an event to everybody, encoding it once for each media type in use.
    pub(super) fn send(&mut self, event: &OperatorEvent) {
        let event = to_event(event);
        let mut encoded: [Option<Bytes>; 2] = [None, None];
        let mut slow = Vec::new();
        for (id, subscriber) in &mut self.streams {
            let content_type = subscriber.content_type;
            let slot = match content_type {
                ContentType::Json => &mut encoded[0],
                ContentType::Protobuf => &mut encoded[1],
            };
            let record = slot.get_or_insert_with(|| encode(content_type, &event));
            if !subscriber.push(record) {
                slow.push(*id);
            }
        }
        for id in slow {
            tracing::warn!("Dropping operator stream {id}: its reader is gone or too slow");
            self.dropped.inc();
            self.remove(id);
        }
    }

    fn heartbeat(&mut self, id: Uuid) -> bool {
        let Some(subscriber) = self.streams.get_mut(&id) else {
            return false;
        };
        let heartbeat = Event {
            r#type: Some(event::Type::Heartbeat as i32),
            ..Default::default()
        };
        let record = encode(subscriber.content_type, &heartbeat);
        let sent = subscriber.push(&record);
        if !sent {
            self.dropped.inc();
            self.remove(id);
        }
        sent
    }

    /// Sends the first event and what happened since it was begun.
    fn begin(&mut self, id: Uuid, first: Bytes) {
        let Some(subscriber) = self.streams.get_mut(&id) else {
            return;
        };
        let backlog = subscriber.backlog.take().unwrap_or_default();
        let sent = std::iter::once(first)
            .chain(backlog)
            .all(|record| subscriber.writer.write(record).is_ok());
        if !sent {
            self.dropped.inc();
            self.remove(id);
        }
    }
}

impl MasterProcess {
    /// Subscribes an operator. The first event, the state at this moment, is rendered off the
    /// turn; events that happen meanwhile follow it.
    pub(crate) fn subscribe_operator(
        &mut self,
        content_type: ContentType,
        writer: StreamWriter,
        ctx: &mut Context<Self>,
    ) {
        let id = Uuid::new_v4();
        let (open, ended) = oneshot::channel();
        ctx.spawn(closed(writer.clone(), ended), move |master, _, gone| {
            if gone {
                master.around.subscribers.remove(id);
            }
        });
        self.around.subscribers.insert(
            id,
            Subscriber {
                content_type,
                writer,
                backlog: Some(Vec::new()),
                _open: open,
            },
        );
        let state = self.snapshot();
        ctx.blocking(
            move || first_event(content_type, &state),
            move |master: &mut Self, ctx, first| {
                master.around.subscribers.begin(id, first);
                master.beat(id, ctx);
            },
        );
    }

    fn beat(&mut self, id: Uuid, ctx: &mut Context<Self>) {
        if self.around.subscribers.heartbeat(id) {
            ctx.delay(HEARTBEAT_INTERVAL, move |master: &mut Self, ctx| {
                master.beat(id, ctx);
            });
        }
    }
}

fn first_event(content_type: ContentType, state: &ClusterState) -> Bytes {
    let interval = HEARTBEAT_INTERVAL.as_secs_f64();
    match content_type {
        ContentType::Json => {
            let json = crate::http::operator_json::subscribed(state, interval);
            recordio::encode(json.as_bytes())
        }
        ContentType::Protobuf => encode(
            content_type,
            &Event {
                r#type: Some(event::Type::Subscribed as i32),
                subscribed: Some(event::Subscribed {
                    get_state: Some(describe::state(state)),
                    heartbeat_interval_seconds: Some(interval),
                }),
                ..Default::default()
            },
        ),
    }
}

fn encode(content_type: ContentType, event: &Event) -> Bytes {
    let record = match content_type {
        // The same bytes in both dialects.
        ContentType::Protobuf => event.encode_to_vec().into(),
        ContentType::Json => match convert::v0_to_v1::<_, v1::master::Event>(event) {
            Ok(event) => ContentType::Json.encode(&event),
            Err(error) => {
                tracing::error!("Cannot convert an operator event: {error}");
                Bytes::new()
            }
        },
    };
    recordio::encode(&record)
}

fn to_event(operator_event: &OperatorEvent) -> Event {
    let mut event = Event::default();
    let kind = match operator_event {
        OperatorEvent::TaskAdded(task) => {
            event.task_added = Some(event::TaskAdded {
                task: task.info.clone(),
            });
            event::Type::TaskAdded
        }
        OperatorEvent::TaskUpdated {
            framework_id,
            status,
            state,
        } => {
            event.task_updated = Some(event::TaskUpdated {
                framework_id: framework_id.into(),
                status: status.as_ref().clone(),
                state: *state as i32,
            });
            event::Type::TaskUpdated
        }
        OperatorEvent::AgentAdded(agent) => {
            event.agent_added = Some(event::AgentAdded {
                agent: describe::agent(agent),
            });
            event::Type::AgentAdded
        }
        OperatorEvent::AgentRemoved(id) => {
            event.agent_removed = Some(event::AgentRemoved {
                agent_id: id.into(),
            });
            event::Type::AgentRemoved
        }
        OperatorEvent::FrameworkAdded(framework) => {
            event.framework_added = Some(event::FrameworkAdded {
                framework: describe::framework(framework, &[]),
            });
            event::Type::FrameworkAdded
        }
        OperatorEvent::FrameworkUpdated(framework) => {
            event.framework_updated = Some(event::FrameworkUpdated {
                framework: describe::framework(framework, &[]),
            });
            event::Type::FrameworkUpdated
        }
        OperatorEvent::FrameworkRemoved(info) => {
            event.framework_removed = Some(event::FrameworkRemoved {
                framework_info: info.as_ref().clone(),
            });
            event::Type::FrameworkRemoved
        }
    };
    event.r#type = Some(kind as i32);
    event
}
