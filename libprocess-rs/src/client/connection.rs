//! The handle of a connection.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use tokio::sync::oneshot;

use super::driver::Driver;
use super::exchange::{Reply, Shared};
use super::{Body, Disconnect, Disconnected, Endpoint, Error, Request};

/// A connection to a server, which is used for many requests.
///
/// Clones are handles to the same connection. When all are dropped it ends, as soon as nobody waits for a response to one of the
/// requests made so far: a request whose future is dropped too is given up, even before it is sent.
///
/// Requests are sent in the order in which [`send`](Self::send) and [`stream`](Self::stream) are called, at once and without
/// waiting for the responses to those before; responses come in the same order. When the connection ends, each request without a
/// response fails with an error that says why, and whether it was sent. It ends when the server closes it, or says in a response
/// that it will, when a request was the [last](Request::close), when the server sends something that it was not asked for or that
/// is no HTTP, and when a response takes too long or is abandoned half way: a response whose future or [`Body`] is dropped is
/// read and thrown away for the sake of those behind it, but not if it has no end in sight.
///
/// Upstream: `process::http::Connection`.
#[derive(Clone, Debug)]
pub struct Connection {
    handle: Arc<Handle>,
}

struct Handle {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.release();
    }
}

/// The caller's end of a response.
struct Waiting<T> {
    response: oneshot::Receiver<Result<Response<T>, Error>>,
    shared: Arc<Shared>,
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.response.close();
        self.shared.on_dropped();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The handle and the task of a new connection.
pub(super) fn pair(endpoint: Endpoint, shared: Arc<Shared>) -> (Connection, Driver) {
    let driver = Driver::new(shared.clone());
    let handle = Arc::new(Handle { endpoint, shared });
    (Connection { handle }, driver)
}

impl Connection {
    /// The server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.handle.endpoint
    }

    /// Sends a request, now, and reads the whole response when the future is awaited. Its URL gives the path and the `Host`
    /// header; that it is of this server is not checked.
    ///
    /// # Errors
    /// See [`Error`]. A response is not one, whatever its status.
    pub fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<Bytes>, Error>> + Send + use<> {
        let shared = &self.handle.shared;
        let limit = request.max_body_bytes;
        let limit = limit.unwrap_or(shared.config.max_body_bytes);
        let (to, response) = oneshot::channel();
        self.begin(request, Reply::Whole(to, limit), response)
    }

    /// Sends a request, now, and gives the response when its head has come, with the body to be read. As long as that has not
    /// been read or dropped, responses behind it wait.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn stream(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + Send + use<> {
        let (to, response) = oneshot::channel();
        self.begin(request, Reply::Stream(to), response)
    }

    /// Queues a request; the future gives the response.
    fn begin<T>(
        &self,
        request: Request,
        reply: Reply,
        response: oneshot::Receiver<Result<Response<T>, Error>>,
    ) -> impl Future<Output = Result<Response<T>, Error>> + use<T> {
        let (shared, line) = (self.handle.shared.clone(), request.line());
        shared.push(request, &line, reply);
        let mut waiting = Waiting { response, shared };
        async move {
            let response = (&mut waiting.response).await;
            response.unwrap_or_else(|_| {
                Err(Error::BrokeOff {
                    request: line,
                    reason: waiting.shared.reason(),
                })
            })
        }
    }

    /// Ends the connection now. Requests without a complete response fail.
    pub fn disconnect(&self) {
        self.handle.shared.stop(Disconnect::Requested);
    }

    /// Completes when the connection has ended, with the reason and the requests that have no response.
    pub fn disconnected(&self) -> impl Future<Output = Disconnected> + Send + use<> {
        let shared = self.handle.shared.clone();
        async move { shared.ended().await }
    }
}
