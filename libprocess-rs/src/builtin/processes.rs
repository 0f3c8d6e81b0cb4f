//! `/__processes__`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::off_the_actor;
use crate::actor::{Actor, Envelope, GLIMPSE_BYTES, Glimpse};
use crate::{Context, Process, Reply, Request, Response, RouteOptions, Upid};

/// So many events of one actor are shown.
const MAX_EVENTS: usize = 1000;

/// Once the answer is this long, no more events are shown. Those of one actor may take it beyond that.
const ENOUGH_BYTES: usize = 32 * 1024 * 1024;

pub(super) struct ProcessesEndpoint;

impl Process for ProcessesEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/", RouteOptions::default(), list);
    }
}

/// Reads the queues from outside, so that one stuck actor does not keep the others from being shown.
fn list(_: &mut ProcessesEndpoint, ctx: &mut Context<ProcessesEndpoint>, _: Request) -> Reply {
    let runtime = ctx.runtime().clone();
    let actors = runtime.inner().registry.all();
    Reply::later(off_the_actor(runtime, move || {
        let mut text = String::new();
        for actor in &actors {
            let comma = if text.is_empty() { "" } else { "," };
            let limit = if text.len() < ENOUGH_BYTES {
                MAX_EVENTS
            } else {
                0
            };
            // Writing to memory cannot fail.
            let _ = write!(text, "{comma}{}", show(actor, limit));
        }
        Response::json_text(format!("[{text}]"))
    }))
}

fn show(actor: &Actor, limit: usize) -> Value {
    let (events, all) = actor.mailbox.peek(limit);
    let events: Vec<Value> = events
        .iter()
        .map(|event| show_event(event, &actor.upid))
        .collect();
    let left_out = all.saturating_sub(events.len());
    let mut shown = json!({"events": events, "id": actor.upid.id()});
    if left_out > 0 {
        shown["events_left_out"] = left_out.into();
    }
    shown
}

/// The keys are in the order of upstream.
fn show_event(event: &Glimpse, to: &Upid) -> Value {
    match event {
        Glimpse::Message(Envelope { from, name, body }) => {
            let start = body.get(..GLIMPSE_BYTES).unwrap_or(body);
            let mut shown = json!({
                "body": String::from_utf8_lossy(start),
                "from": from.to_string(),
                "name": name.as_str(),
                "to": to.to_string(),
                "type": "MESSAGE",
            });
            if start.len() < body.len() {
                shown["body_bytes"] = body.len().into();
            }
            shown
        }
        Glimpse::Dispatch => json!({"type": "DISPATCH"}),
        Glimpse::Http(method, path, query) => {
            let query = query.as_ref().map(|query| format!("?{query}"));
            json!({
                "method": method.as_str(),
                "type": "HTTP",
                "url": format!("{path}{}", query.unwrap_or_default()),
            })
        }
        Glimpse::Exited => json!({"type": "EXITED"}),
        Glimpse::Terminate => json!({"type": "TERMINATE"}),
    }
}
