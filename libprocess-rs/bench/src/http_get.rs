//! Small GETs through our port, beside actix-web alone with the same handler in the same run.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use libprocess::{Context, Process, Response, RouteOptions, Runtime, RuntimeConfig};

use crate::Options;
use crate::http_client::Client;
use crate::report::{Report, Unit, median};

/// Requests of a round.
const REQUESTS: usize = 20_000;
const CONNECTIONS: usize = 32;

/// Client threads; each has its part of the connections and writes to all of them before it reads.
const CLIENTS: usize = 2;

/// Rounds, in each of which both are measured. The figures are medians of all, for a virtual machine stands still now and then.
const ROUNDS: usize = 25;

/// GET /health of C++, per second.
const CPP: f64 = 19e3;

struct Greeter;

impl Process for Greeter {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/hello", RouteOptions::default(), |_, _, _| {
            Response::text(http::StatusCode::OK, "hello").into()
        });
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let requests = options.scaled(REQUESTS).next_multiple_of(CONNECTIONS);
    // One thread for all, as actix-web alone gets.
    let runtime = Runtime::start(RuntimeConfig {
        workers: 1,
        ..RuntimeConfig::loopback()
    })?;
    runtime.spawn("greeter", Greeter)?;
    let ours = runtime.bound_address();
    let (plain, handle) = start_plain()?;
    let (mut our_rates, mut plain_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let theirs = load(plain, "/hello", requests)?;
        let our = load(ours, "/greeter/hello", requests)?;
        plain_rates.push(theirs);
        our_rates.push(our);
        ratios.push(our / theirs);
    }
    runtime.shutdown();
    options.block_on(handle.stop(false))?;
    let name = format!("HTTP GET of 5 bytes, {CONNECTIONS} connections, an actor answers");
    let unit = Unit::PerSecond("requests");
    report.add(name, median(&mut our_rates), unit, Some(CPP));
    let plain = median(&mut plain_rates);
    report.add("the same from actix-web alone", plain, unit, None);
    let ratio = median(&mut ratios);
    report.add(
        "through our port, of actix-web alone",
        ratio,
        Unit::Ratio,
        None,
    );
    Ok(())
}

/// actix-web on one thread.
fn start_plain() -> anyhow::Result<(SocketAddr, actix_web::dev::ServerHandle)> {
    let (tx, rx) = std::sync::mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = || App::new().route("/hello", web::get().to(hello));
            let server = HttpServer::new(app).workers(1).disable_signals();
            let started = server.bind("127.0.0.1:0").map(|server| {
                let address = server.addrs().first().copied();
                let running = server.run();
                (running, address)
            });
            match started {
                Ok((running, address)) => {
                    let _ = tx.send(Ok((address, running.handle())));
                    let _ = running.await;
                }
                Err(error) => {
                    let _ = tx.send(Err(error));
                }
            }
        });
    });
    let (address, handle) = rx.recv().context("actix-web ended early")??;
    Ok((address.context("no address")?, handle))
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("hello")
}

/// Requests per second.
fn load(address: SocketAddr, target: &'static str, requests: usize) -> anyhow::Result<f64> {
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| thread::spawn(move || client(address, target, requests / CLIENTS)))
        .collect();
    for client in clients {
        client.join().ok().context("a client panicked")??;
    }
    Ok(requests as f64 / start.elapsed().as_secs_f64())
}

fn client(address: SocketAddr, target: &str, requests: usize) -> anyhow::Result<()> {
    let mut connections = (0..CONNECTIONS / CLIENTS)
        .map(|_| Client::connect(address))
        .collect::<Result<Vec<_>, _>>()?;
    for _ in 0..requests / connections.len() {
        for connection in &mut connections {
            connection.ask(target)?;
        }
        for connection in &mut connections {
            let answer = connection.answer()?;
            anyhow::ensure!(answer.is_ok(), "{}", answer.status);
        }
    }
    Ok(())
}
