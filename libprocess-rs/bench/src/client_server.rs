//! Many clients against one server: upstream's `ClientServer`. As there, each client is started by an HTTP request, which it
//! answers when it is done.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use libprocess::{Context, Process, Reply, Request, Response, RouteOptions, Upid};
use tokio::sync::oneshot;

use crate::report::{Report, Unit, median};
use crate::{Options, http_client};

const CLIENTS: usize = 8;
const REQUESTS: usize = 10_000;
const CONCURRENCY: usize = 250;
const MESSAGE_BYTES: usize = 3;

/// What C++ does, in request and response pairs per second.
const CPP: f64 = 1.64e6;

#[derive(Default)]
struct Client {
    server: Upid,
    message: Bytes,
    total: usize,
    requests: usize,
    responses: usize,
    started: Option<Instant>,
    done: Option<oneshot::Sender<Duration>>,
}

impl Process for Client {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("pong", |client: &mut Self, ctx, _, _| client.pong(ctx));
        ctx.route("/run", RouteOptions::default(), |client, ctx, request| {
            client.run(ctx, &request)
        });
    }
}

impl Client {
    fn run(&mut self, ctx: &Context<Self>, request: &Request) -> Reply {
        let parameter = |name| request.query.get(name).unwrap_or_default();
        let number = |name| parameter(name).parse().unwrap_or_default();
        self.server = parameter("server").parse().unwrap_or_default();
        self.message = vec![b'1'; number("messageSize")].into();
        self.total = number("requests");
        self.started = Some(Instant::now());
        let (done, elapsed) = oneshot::channel();
        self.done = Some(done);
        ctx.link(&self.server);
        for _ in 0..number("concurrency").min(self.total) {
            self.ping(ctx);
        }
        Reply::later(async move {
            match elapsed.await {
                Ok(elapsed) => {
                    Response::text(http::StatusCode::OK, elapsed.as_secs_f64().to_string())
                }
                Err(_) => Response::status(http::StatusCode::SERVICE_UNAVAILABLE),
            }
        })
    }

    fn ping(&mut self, ctx: &Context<Self>) {
        ctx.send_raw(&self.server, "ping", self.message.clone());
        self.requests += 1;
    }

    fn pong(&mut self, ctx: &Context<Self>) {
        self.responses += 1;
        if self.requests < self.total {
            self.ping(ctx);
        } else if self.responses == self.total
            && let (Some(done), Some(started)) = (self.done.take(), self.started)
        {
            let _ = done.send(started.elapsed());
        }
    }
}

#[derive(Default)]
struct Server {
    links: HashSet<Upid>,
}

impl Process for Server {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("ping", |server: &mut Self, ctx, from, body| {
            if !server.links.contains(from) {
                ctx.link(from);
                server.links.insert(from.clone());
            }
            ctx.send_raw(from, "pong", body);
        });
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let runtime = options.runtime()?;
    let server = runtime.spawn("", Server::default())?;
    let requests = options.scaled(REQUESTS);
    let clients = (0..CLIENTS)
        .map(|_| runtime.spawn("", Client::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let runs: Vec<_> = clients
        .iter()
        .map(|client| {
            let (address, id) = (runtime.bound_address(), client.upid().id());
            let target = format!(
                "/{id}/run?server={}&requests={requests}&concurrency={CONCURRENCY}&messageSize={MESSAGE_BYTES}",
                server.upid()
            );
            thread::spawn(move || http_client::get(address, &target))
        })
        .collect();
    let mut rates = Vec::new();
    for run in runs {
        let answer = run.join().ok().context("a client panicked")??;
        anyhow::ensure!(answer.is_ok(), "a client answered {}", answer.status);
        let seconds: f64 = String::from_utf8(answer.body)?.parse()?;
        rates.push(requests as f64 / seconds);
    }
    let elapsed = start.elapsed();
    runtime.shutdown();
    report.rate(
        format!("client-server, {CLIENTS} clients, {CONCURRENCY} under way"),
        requests * CLIENTS,
        elapsed,
        "pairs",
        Some(CPP),
    );
    let unit = Unit::PerSecond("pairs");
    let name = "client-server, the client in the middle, from its start to its end";
    report.add(name, median(&mut rates), unit, None);
    Ok(())
}
