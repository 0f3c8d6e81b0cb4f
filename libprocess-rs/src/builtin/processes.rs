//! `/__processes__`.

use serde_json::json;

use crate::{Context, Process, Reply, Request, Response, RouteOptions};

pub(super) struct ProcessesEndpoint;

impl Process for ProcessesEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/", RouteOptions::default(), list);
    }
}

/// Reads the queues from outside, so that one stuck actor does not keep the others from being shown.
fn list(_: &mut ProcessesEndpoint, ctx: &mut Context<ProcessesEndpoint>, _: Request) -> Reply {
    let actors = ctx.runtime().inner().registry.all();
    let list: Vec<_> = actors
        .iter()
        .map(|actor| {
            json!({
                "events": actor.mailbox.describe(&actor.upid),
                "id": actor.upid.id(),
            })
        })
        .collect();
    Response::json(list).into()
}
