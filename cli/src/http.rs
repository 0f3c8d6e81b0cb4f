//! A small HTTP client: GET over one kept connection.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take to answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read: the state of a very large cluster.
const MAX_BODY_BYTES: usize = 1 << 30;

/// How often a request is redirected.
const MAX_REDIRECTS: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Nothing listens there, or the name is unknown.
    #[error("cannot connect to {authority}: {source}")]
    Connect {
        authority: String,
        source: std::io::Error,
    },
    /// The server took too long.
    #[error("{authority} does not answer within {} seconds", .after.as_secs())]
    Timeout { authority: String, after: Duration },
    /// What listens there does not speak HTTP, or hung up.
    #[error("{authority} does not answer over HTTP: {source}")]
    Protocol {
        authority: String,
        source: hyper::Error,
    },
    /// The answer breaks off, or is too large.
    #[error("cannot read the answer of {authority}: {reason}")]
    Body { authority: String, reason: String },
    /// The path cannot be asked for.
    #[error("cannot ask {authority} for '{path}': {source}")]
    Path {
        authority: String,
        path: String,
        source: http::Error,
    },
    /// The server sends us on for ever.
    #[error("{authority} redirects too often")]
    Redirects { authority: String },
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A client of one server.
pub(crate) struct Client {
    authority: String,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// A client of the server at `authority`, `host:port`. It connects when it is used.
    pub(crate) fn new(authority: impl Into<String>) -> Self {
        Client {
            authority: authority.into(),
            connection: None,
        }
    }

    /// The server that is asked.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Asks for `path`, which may have a query; follows redirects, to other servers too.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, HttpError> {
        let mut path = path.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get_once(&path).await?;
            let location = answer.headers.get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            match (answer.status.is_redirection(), location) {
                (true, Some(location)) => path = self.follow(location, &path),
                _ => return Ok(answer),
            }
        }
        Err(HttpError::Redirects {
            authority: self.authority.clone(),
        })
    }

    /// Turns to the server that `location` names; the path to ask it for.
    fn follow(&mut self, location: &str, path: &str) -> String {
        let without_scheme = location.trim_start_matches("http:");
        let Some(rest) = without_scheme.strip_prefix("//") else {
            return location.to_owned();
        };
        let (authority, new_path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, path),
        };
        if authority != self.authority {
            *self = Client::new(authority);
        }
        new_path.to_owned()
    }

    async fn get_once(&mut self, path: &str) -> Result<Answer, HttpError> {
        let work = self.exchange(path);
        match tokio::time::timeout(RESPONSE_TIMEOUT, work).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connection = None;
                Err(HttpError::Timeout {
                    authority: self.authority.clone(),
                    after: RESPONSE_TIMEOUT,
                })
            }
        }
    }

    async fn exchange(&mut self, path: &str) -> Result<Answer, HttpError> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await?,
        };
        let response = match connection.send_request(self.request(path)?).await {
            // The server closed a connection that it had kept open for us: ask once more.
            Err(error) if error.is_canceled() || error.is_closed() => {
                connection = self.connect().await?;
                connection.send_request(self.request(path)?).await
            }
            response => response,
        };
        let response = response.map_err(|source| self.protocol(source))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| HttpError::Body {
            authority: self.authority.clone(),
            reason: if error.is::<LengthLimitError>() {
                format!("it has more than {MAX_BODY_BYTES} bytes")
            } else {
                error.to_string()
            },
        })?;
        // Ready again once the body is read to its end.
        self.connection = Some(connection);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, HttpError> {
        Request::get(path)
            .header(header::HOST, &self.authority)
            .body(Empty::new())
            .map_err(|source| HttpError::Path {
                authority: self.authority.clone(),
                path: path.to_owned(),
                source,
            })
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, HttpError> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority));
        let stream = match connected.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => {
                return Err(HttpError::Connect {
                    authority: self.authority.clone(),
                    source,
                });
            }
            Err(_) => {
                return Err(HttpError::Timeout {
                    authority: self.authority.clone(),
                    after: CONNECT_TIMEOUT,
                });
            }
        };
        let handshake = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|source| self.protocol(source))?;
        tokio::spawn(async move {
            // An error of the connection is also that of the request on it.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn protocol(&self, source: hyper::Error) -> HttpError {
        HttpError::Protocol {
            authority: self.authority.clone(),
            source,
        }
    }
}

/// `text` as the value of a query parameter.
pub(crate) fn query_value(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers each connection with the next of `answers`, whatever is asked.
    async fn serve(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        authority
    }

    fn ok(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn moved(location: &str) -> String {
        format!("HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
    }

    #[tokio::test]
    async fn asks_again_when_a_kept_connection_was_closed() {
        let authority = serve(vec![ok("one"), ok("two")]).await;
        let mut client = Client::new(authority);
        assert_eq!(client.get("/a").await.unwrap().body, "one");
        assert_eq!(client.get("/b").await.unwrap().body, "two");
    }

    #[tokio::test]
    async fn follows_redirects_to_another_server() {
        async fn check(location: impl Fn(&str) -> String) {
            let leader = serve(vec![ok("leader")]).await;
            let other = serve(vec![moved(&location(&leader))]).await;
            let mut client = Client::new(other);
            assert_eq!(client.get("/state").await.unwrap().body, "leader");
            assert_eq!(client.authority(), leader);
        }
        check(|leader| format!("//{leader}/state")).await;
        check(|leader| format!("http://{leader}/state")).await;
        check(|leader| format!("//{leader}")).await;
    }

    #[tokio::test]
    async fn gives_up_on_circles() {
        let authority = serve(vec![moved("/x"); 9]).await;
        let error = Client::new(authority).get("/x").await.unwrap_err();
        assert!(matches!(error, HttpError::Redirects { .. }), "{error}");
    }

    #[tokio::test]
    async fn says_who_does_not_answer() {
        let error = Client::new("127.0.0.1:1").get("/").await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot connect to 127.0.0.1:1: "),
            "{error}"
        );
        let authority = serve(vec!["SSH-2.0-server\r\n".to_owned()]).await;
        let error = Client::new(authority.clone()).get("/").await.unwrap_err();
        let expected = format!("{authority} does not answer over HTTP: ");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    #[test]
    fn encodes_queries() {
        let check = |text: &str, expected: &str| assert_eq!(query_value(text), expected);
        check("/a-b_c.d~0", "/a-b_c.d~0");
        check("a b&c=d?", "a%20b%26c%3Dd%3F");
        check("ü", "%C3%BC");
    }
}
