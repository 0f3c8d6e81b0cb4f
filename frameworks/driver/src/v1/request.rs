//! Requests to the scheduler API of a master.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, Response};
use libprocess::Clock;
use libprocess::client::{
    Body, Client, ClientConfig, Connection, EnvironmentError, Error, Request, Url,
};
use mesos::media::ContentType;

/// Where masters have the scheduler API.
pub(crate) const PATH: &str = "/master/api/v1/scheduler";

/// Names the subscription that a call is made for.
pub(crate) const STREAM_ID: &str = "Mesos-Stream-Id";

/// How long a master may take to accept a connection, and to begin an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer to a call, or to a SUBSCRIBE that is refused.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A client that asks masters, by HTTPS if the environment says that the cluster speaks TLS.
pub(crate) fn client(clock: Clock) -> Result<Client, EnvironmentError> {
    let config = ClientConfig {
        connect_timeout: TIMEOUT,
        response_timeout: Some(TIMEOUT),
        max_body_bytes: MAX_ANSWER_BYTES,
        ..ClientConfig::default()
    };
    Ok(Client::from_env(clock)?.with_config(config))
}

/// Makes calls over one connection that is kept.
#[derive(Debug)]
pub(crate) struct Requester {
    client: Client,
    connection: Option<Connection>,
}

impl Requester {
    pub(crate) fn new(client: Client) -> Self {
        Requester {
            client,
            connection: None,
        }
    }

    /// Posts a call to the master at `url`.
    pub(crate) async fn post(
        &mut self,
        url: &Url,
        content_type: ContentType,
        stream_id: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, Error> {
        let request = || request(url, content_type, body.clone()).header(STREAM_ID, stream_id);
        if let Some(kept) = &self.connection
            && kept.endpoint() == url.endpoint()
        {
            match kept.send(request()).await {
                // The master had closed it, and has seen nothing of the call.
                Err(Error::NotAnswered { sent: false, .. }) => {}
                answer => return answer,
            }
        }
        let connection = self.client.connect(url).await?;
        let answer = connection.send(request()).await;
        self.connection = Some(connection);
        answer
    }
}

/// Posts a SUBSCRIBE on a connection of its own; the head of the answer, and its body to come.
pub(crate) async fn subscribe(
    client: &Client,
    url: &Url,
    content_type: ContentType,
    body: Bytes,
) -> Result<Response<Body>, Error> {
    let connection = client.connect(url).await?;
    connection.stream(request(url, content_type, body)).await
}

/// The text of an answer that is not a stream, as far as it is any good.
pub(crate) async fn read(response: Response<Body>) -> String {
    let body = response.into_body().collect(MAX_ANSWER_BYTES).await;
    text(&body.unwrap_or_default())
}

/// The body of an answer as text.
pub(crate) fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().to_owned()
}

/// The value of a header as text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn request(url: &Url, content_type: ContentType, body: Bytes) -> Request {
    Request::post(url, body)
        .content_type(content_type.as_str())
        .header(ACCEPT, content_type.as_str())
}
