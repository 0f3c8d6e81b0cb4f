//! Requests to the scheduler API of a master.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use mesos::media::ContentType;
use tokio::net::TcpStream;

/// Where masters have the scheduler API.
const PATH: &str = "/master/api/v1/scheduler";

/// Names the subscription that a call is made for.
pub(crate) const STREAM_ID: &str = "Mesos-Stream-Id";

/// How long a master may take to accept a connection, and to begin an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer to a call, or to a SUBSCRIBE that is refused.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why a master could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens, or the name is unknown.
    #[error("cannot connect to {authority}: {source}")]
    Connect {
        /// `host:port`.
        authority: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("{authority} does not answer in time")]
    Timeout {
        /// `host:port`.
        authority: String,
    },
    /// The connection broke, or the other side does not speak HTTP.
    #[error("no answer from {authority}: {source}")]
    Exchange {
        /// `host:port`.
        authority: String,
        /// What is wrong.
        source: hyper::Error,
    },
    /// A request cannot be made of it.
    #[error("cannot ask {authority}: {source}")]
    Request {
        /// `host:port`.
        authority: String,
        /// What is wrong.
        source: http::Error,
    },
}

/// The answer to a call, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// One kept connection for calls.
#[derive(Debug, Default)]
pub(crate) struct Requester {
    connection: Option<(String, SendRequest<Full<Bytes>>)>,
}

impl Requester {
    /// Posts a call to the master at `authority`.
    pub(crate) async fn post(
        &mut self,
        authority: &str,
        content_type: ContentType,
        stream_id: &str,
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let kept = self.connection.take();
        let kept = kept.filter(|(to, connection)| to == authority && !connection.is_closed());
        let mut connection = match kept {
            Some((_, connection)) => connection,
            None => connect(authority).await?,
        };
        let request = request(authority, content_type, Some(stream_id), body)?;
        let exchange = async {
            let response = connection.send_request(request).await?;
            let status = response.status();
            Ok((status, read(response).await))
        };
        let (status, body) = within(authority, exchange).await?;
        self.connection = Some((authority.to_owned(), connection));
        Ok(Answer { status, body })
    }
}

/// Posts a SUBSCRIBE on a connection of its own; the head of the answer, and its body to come.
pub(crate) async fn subscribe(
    authority: &str,
    content_type: ContentType,
    body: Bytes,
) -> Result<Response<Incoming>, HttpError> {
    let mut connection = connect(authority).await?;
    let request = request(authority, content_type, None, body)?;
    within(authority, connection.send_request(request)).await
}

/// The body of an answer that is not a stream, as far as it is any good.
pub(crate) async fn read(response: Response<Incoming>) -> Bytes {
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
    body.collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default()
}

/// The value of a header as text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn request(
    authority: &str,
    content_type: ContentType,
    stream_id: Option<&str>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut builder = Request::post(PATH)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, content_type.as_str())
        .header(header::ACCEPT, content_type.as_str());
    if let Some(id) = stream_id {
        builder = builder.header(STREAM_ID, id);
    }
    builder
        .body(Full::new(body))
        .map_err(|source| HttpError::Request {
            authority: authority.to_owned(),
            source,
        })
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let stream = match tokio::time::timeout(TIMEOUT, TcpStream::connect(authority)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => {
            return Err(HttpError::Connect {
                authority: authority.to_owned(),
                source,
            });
        }
        Err(_) => {
            return Err(HttpError::Timeout {
                authority: authority.to_owned(),
            });
        }
    };
    // A call is one small write that must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = within(authority, handshake(TokioIo::new(stream))).await?;
    tokio::spawn(async move {
        // An error of the connection is also that of the request on it.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn within<T>(
    authority: &str,
    work: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, HttpError> {
    match tokio::time::timeout(TIMEOUT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(HttpError::Exchange {
            authority: authority.to_owned(),
            source,
        }),
        Err(_) => Err(HttpError::Timeout {
            authority: authority.to_owned(),
        }),
    }
}
