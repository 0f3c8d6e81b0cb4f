//! Against real servers.

use std::io;
use std::sync::Arc;

use futures::{StreamExt, stream};
use http::{Method, StatusCode};
use libprocess::client::{Client, Request, Url};
use libprocess::subprocess::{Command, Stdio};
use libprocess::{Clock, Context, Process, Reply, Response, RouteOptions, Runtime, RuntimeConfig};
use tokio::io::AsyncReadExt;

use crate::certificates::Authority;
use crate::common::{block_on, loopback, start, sync};
use crate::fixture::body;

/// An actor with routes to ask.
struct Web;

impl Process for Web {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/echo", RouteOptions::default(), |_, _, request| {
            let text = format!(
                "{} {} {}",
                request.method,
                request.url(),
                String::from_utf8_lossy(&request.body)
            );
            Response::text(StatusCode::OK, text).into()
        });
        ctx.route("/count", RouteOptions::default(), |_, _, _| {
            let (response, writer) = Response::stream("text/plain");
            tokio::spawn(async move {
                for number in 0..100_000 {
                    let line = format!("{number}\n");
                    if writer.write_waiting(line).await.is_err() {
                        return;
                    }
                }
            });
            response.into()
        });
        ctx.route(
            "/upload",
            RouteOptions::default().streaming(),
            |_, _, mut request| {
                let mut stream = request.take_stream().unwrap();
                Reply::later(async move {
                    let mut bytes = 0;
                    while let Some(Ok(chunk)) = stream.next().await {
                        bytes += chunk.len();
                    }
                    Response::text(StatusCode::OK, bytes.to_string())
                })
            },
        );
        ctx.route("/never", RouteOptions::default(), |_, _, _| {
            Reply::later(std::future::pending())
        });
    }
}

#[test]
fn talks_to_a_runtime() {
    let runtime = start(loopback());
    sync(&runtime.spawn("web", Web).unwrap());
    let client = Client::new(&runtime);
    let base: Url = format!("http://{}/web", runtime.address()).parse().unwrap();
    let at = |target: &str| base.at(target).unwrap();
    block_on(async {
        let response = client.get(&at("/web/echo?a=b%20c")).await;
        assert_eq!(body(response), "GET /web/echo?a=b%20c ");
        let response = client.post(&at("/web/echo"), "text/plain", "hello").await;
        assert_eq!(body(response), "POST /web/echo hello");
        let response = client.delete(&at("/web/echo")).await;
        assert_eq!(body(response), "DELETE /web/echo ");
        assert_eq!(client.get(&at("/none")).await.unwrap().status(), 404);

        let connection = client.connect(&base).await.unwrap();
        let asked: Vec<_> = (0..1000)
            .map(|n| connection.send(Request::post(&at("/web/echo"), n.to_string())))
            .collect();
        for (number, response) in asked.into_iter().enumerate() {
            assert_eq!(body(response.await), format!("POST /web/echo {number}"));
        }

        let counted = connection.stream(Request::get(&at("/web/count")));
        let after = connection.send(Request::get(&at("/web/echo")));
        let counted = counted.await.unwrap().into_body();
        let counted = counted.collect(1_000_000).await.unwrap();
        assert_eq!(
            counted.iter().filter(|byte| **byte == b'\n').count(),
            100_000
        );
        assert_eq!(body(after.await), "GET /web/echo ");

        let pieces = stream::iter((0..1000).map(|_| Ok::<_, io::Error>(vec![0; 1000])));
        let upload = Request::new(Method::POST, &at("/web/upload")).stream(pieces);
        assert_eq!(body(connection.send(upload).await), "1000000");

        let zipped = connection.send(Request::get(&at("/metrics/snapshot")).accept_gzip());
        let metrics = zipped.await.unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(metrics.body()).is_ok());
    });
}

#[test]
fn connections_end_with_their_runtime() {
    let server = start(loopback());
    sync(&server.spawn("web", Web).unwrap());
    let runtime = start(loopback());
    let client = Client::new(&runtime);
    let url: Url = format!("http://{}/web/never", server.address())
        .parse()
        .unwrap();
    block_on(async {
        let connection = client.connect(&url).await.unwrap();
        let counted = connection.stream(Request::get(&url.at("/web/count").unwrap()));
        let never = connection.send(Request::get(&url));
        let mut counted = counted.await.unwrap().into_body();
        counted.next().await.unwrap().unwrap();
        let ended = connection.disconnected();
        runtime.shutdown();
        let reason = "the runtime of the connection has ended";
        let expected = format!("GET /web/never not answered: {reason}");
        assert_eq!(body(never.await), expected);
        let expected = format!("the response to GET /web/count broke off: {reason}");
        let broken = counted.collect(usize::MAX).await.unwrap_err();
        assert_eq!(broken.to_string(), expected);
        let unanswered = ended.await.unanswered;
        assert_eq!(
            unanswered,
            ["GET /web/count".into(), "GET /web/never".into()]
        );
        let late = body(client.get(&url).await);
        assert!(late.starts_with("no runtime for the connection to http://127.0.0.1:"));
    });
}

#[test]
fn speaks_tls_to_whom_it_trusts() {
    let ca = Authority::new("ca");
    let config = |host: &str| {
        let mut config = ca.sign("web", &[host]).config();
        config.verify_server_cert = true;
        config.ca_file = Some(ca.file());
        config
    };
    let serve = |host: &str| {
        start(RuntimeConfig {
            tls: Some(config(host)),
            ..loopback()
        })
    };
    let (right, wrong) = (serve("localhost"), serve("elsewhere"));
    let transport = Arc::new(libprocess::TcpTransport::default());
    let client = Client::standalone(transport, Clock::system());
    let client = client.with_tls(&config("client")).unwrap();
    let url = |server: &Runtime| -> Url {
        let port = server.address().port();
        format!("https://localhost:{port}/system/stats.json")
            .parse()
            .unwrap()
    };
    block_on(async {
        let url = url(&right);
        assert_eq!(client.get(&url).await.unwrap().status(), StatusCode::OK);
        let connection = Client::new(&right).connect(&url).await.unwrap();
        let asked: Vec<_> = (0..100)
            .map(|_| connection.send(Request::get(&url)))
            .collect();
        for response in asked {
            assert_eq!(response.await.unwrap().status(), StatusCode::OK);
        }
    });
    let url = url(&wrong);
    let error = body(block_on(client.get(&url)));
    let expected = format!(
        "failed to connect to https://localhost:{}: ",
        wrong.address().port()
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn talks_to_pythons_server() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a file"), "x".repeat(1_000_000)).unwrap();
    block_on(async {
        let mut python = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .current_dir(directory.path())
            .stdout(Stdio::Pipe)
            .stderr(Stdio::Null)
            .kill_on_drop()
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = python.stdout.take().unwrap();
        while !said.contains("port ") || !said.ends_with(' ') || said.ends_with("port ") {
            said.push(char::from(stdout.read_u8().await.unwrap()));
        }
        let port = said.trim().rsplit(' ').next().unwrap();
        let url: Url = format!("http://localhost:{port}/a%20file").parse().unwrap();
        let transport = Arc::new(libprocess::TcpTransport::default());
        let client = Client::standalone(transport, Clock::system());
        assert_eq!(body(client.get(&url).await).len(), 1_000_000);
        let head = client
            .request(Request::new(Method::HEAD, &url))
            .await
            .unwrap();
        assert_eq!(head.headers()["content-length"], "1000000");
        assert!(head.body().is_empty());
        let streamed = client.stream(Request::get(&url)).await.unwrap().into_body();
        let pieces: Vec<_> = streamed.map(|piece| piece.unwrap().len()).collect().await;
        assert_eq!(pieces.iter().sum::<usize>(), 1_000_000);
        let missing = client.get(&url.at("/none").unwrap()).await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        let refused = client.post(&url, "text/plain", "x").await.unwrap();
        assert_eq!(refused.status(), StatusCode::NOT_IMPLEMENTED);
    });
}
