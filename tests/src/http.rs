//! A small HTTP client: one connection for each request, nothing hidden.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub use hyper::{HeaderMap, Method, StatusCode};

/// How long a request that is answered at once may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Response {
    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none; the message has the status and the body.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON: {} {}", self.status, self.text()))
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends a request and returns while the body of the answer is still coming.
///
/// # Errors
/// When there is no connection or no answer.
pub async fn open(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<hyper::Response<Incoming>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = hyper::Request::builder()
        .method(method.clone())
        .uri(path)
        .header(HOST, address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into()))?;
    sender
        .send_request(request)
        .await
        .with_context(|| format!("{method} {path} got no answer from {address}"))
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// When there is no connection or no complete answer in time.
pub async fn request(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response> {
    let answer = async {
        let response = open(address, method, path, headers, body).await?;
        let (parts, body) = response.into_parts();
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(response) => response,
        Err(_) => bail!("{path} at {address}: no complete answer within {REQUEST_TIMEOUT:?}"),
    }
}

/// `GET path`.
///
/// # Errors
/// As [`request`].
pub async fn get(address: SocketAddr, path: &str) -> Result<Response> {
    request(address, Method::GET, path, &[], Bytes::new()).await
}

/// `GET path`, of which a JSON answer with status 200 is expected.
///
/// # Errors
/// As [`request`], and for any other answer.
pub async fn get_json(address: SocketAddr, path: &str) -> Result<Value> {
    let response = get(address, path).await?;
    if response.status != StatusCode::OK {
        bail!(
            "{path} at {address}: {} {}",
            response.status,
            response.text()
        );
    }
    response.json()
}

/// Posts a JSON body and accepts JSON.
///
/// # Errors
/// As [`request`].
pub async fn post_json(address: SocketAddr, path: &str, body: &Value) -> Result<Response> {
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
    ];
    request(address, Method::POST, path, &headers, body.to_string()).await
}
