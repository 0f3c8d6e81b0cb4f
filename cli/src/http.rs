//! GET from one server, over one kept connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use libprocess::client::{
    self, ClientConfig, Connection, EnvironmentError, Request, Url, UrlError,
};
use libprocess::{Clock, TcpTransport};

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take to answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a request is redirected.
const MAX_REDIRECTS: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The server cannot be asked, or does not answer.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The server has no such name, or the path cannot be asked for.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The server sends us on for ever.
    #[error("{server} redirects too often")]
    Redirects { server: String },
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Asks the servers of a cluster: by HTTPS if the environment says that it speaks TLS.
#[derive(Debug, Clone)]
pub(crate) struct Http(client::Client);

impl Http {
    /// As the `LIBPROCESS_SSL_*` environment variables say.
    pub(crate) fn from_env() -> Result<Self, EnvironmentError> {
        client::Client::from_env(Clock::system()).map(Self::new)
    }

    /// By HTTP, whatever the environment says: for the cluster inside this process.
    pub(crate) fn plain() -> Self {
        let transport = Arc::new(TcpTransport::default());
        Self::new(client::Client::standalone(transport, Clock::system()))
    }

    fn new(client: client::Client) -> Self {
        Self(client.with_config(ClientConfig {
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: Some(RESPONSE_TIMEOUT),
            idle_timeout: Some(RESPONSE_TIMEOUT),
            ..ClientConfig::default()
        }))
    }

    /// A client of the server at `authority`, `host:port`. It connects when it is used.
    pub(crate) fn at(&self, authority: &str) -> Result<Client, HttpError> {
        Ok(Client {
            server: self.0.url(authority, "/")?,
            http: self.clone(),
            connection: None,
        })
    }
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    server: Url,
    connection: Option<Connection>,
}

impl Client {
    /// The server that is asked, `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.server.endpoint().host_header()
    }

    /// The means to ask other servers.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Asks for `path`, which may have a query; follows redirects, to other servers too.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, HttpError> {
        let mut url = self.server.at(path)?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get_once(&url).await?;
            let location = answer.headers.get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            match (answer.status.is_redirection(), location) {
                (true, Some(location)) => url = self.follow(&url, location)?,
                _ => return Ok(answer),
            }
        }
        Err(HttpError::Redirects {
            server: self.authority(),
        })
    }

    /// Turns to the server that `location` names; what to ask it for, which is the same if only the server is named.
    fn follow(&mut self, url: &Url, location: &str) -> Result<Url, UrlError> {
        let next = url.redirected(location)?;
        if next.endpoint() != self.server.endpoint() {
            self.server = next.at("/")?;
            self.connection = None;
        }
        match next.target() {
            "/" => next.at(url.target()),
            _ => Ok(next),
        }
    }

    async fn get_once(&mut self, url: &Url) -> Result<Answer, HttpError> {
        let kept = match &self.connection {
            Some(kept) => Some(kept.send(Request::get(url)).await),
            None => None,
        };
        let answer = match kept {
            // Reading again does no harm, whether or not the server saw the request before it closed the connection.
            Some(Err(client::Error::NotAnswered { .. })) | None => {
                let connection = self.http.0.connect(url).await?;
                let answer = connection.send(Request::get(url)).await;
                self.connection = Some(connection);
                answer?
            }
            Some(answer) => answer?,
        };
        let (head, body) = answer.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
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

    fn client(authority: &str) -> Client {
        Http::plain().at(authority).unwrap()
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
        let mut client = client(&authority);
        assert_eq!(client.get("/a").await.unwrap().body, "one");
        assert_eq!(client.get("/b").await.unwrap().body, "two");
    }

    #[tokio::test]
    async fn follows_redirects_to_another_server() {
        async fn check(location: impl Fn(&str) -> String) {
            let leader = serve(vec![ok("leader")]).await;
            let other = serve(vec![moved(&location(&leader))]).await;
            let mut client = client(&other);
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
        let error = client(&authority).get("/x").await.unwrap_err();
        assert!(matches!(error, HttpError::Redirects { .. }), "{error}");
    }

    #[tokio::test]
    async fn says_who_does_not_answer() {
        let error = client("127.0.0.1:1").get("/").await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("failed to connect to http://127.0.0.1:1: "),
            "{error}"
        );
        let authority = serve(vec!["SSH-2.0-server\r\n".to_owned()]).await;
        let error = client(&authority).get("/").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "GET / not answered: the server sent a bad response: incomplete head"
        );
    }
}
