//! Ordinary HTTP connections, served by the HTTP server of actix-web.
//!
//! Which actor serves a path is for [`target`] to say, so that actix-web's own routing would only cost time.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::body::{BodySize, MessageBody};
use actix_http::error::PayloadError;
use actix_http::{HttpMessage as _, HttpService, KeepAlive, Protocol};
use actix_service::{Service, ServiceFactory, fn_service};
use actix_web::http::header as header02;
use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName};
use http::{HeaderValue, Method, StatusCode};

use super::answers::REFUSAL_LINGER;
use super::connection::deliver;
use super::files::OpenFile;
use super::ready::{Framing, Payload, Ready};
use super::rewind::{Exchange, Rewind};
use crate::http::{
    Answer, BodyError, BodySender, BodyStream, Headers, JSON_TYPE, Preferences, Request, Response,
    StreamReader, TEXT_TYPE, Target, answer, answer_or_error, ask, reason, target, target_at_once,
};
use crate::runtime::Inner;
use crate::wire::{Message, ReadError, gunzip, parse_sender, parse_target};

type WebRequest = actix_http::Request;
type WebPayload = actix_http::Payload;
type WebResponse = actix_http::Response<WebBody>;

/// Serves one connection until it is closed.
pub(super) type WebService = Rc<dyn Fn(Rewind, Option<SocketAddr>) -> LocalBoxFuture<'static, ()>>;

/// Sets actix-web up on the current worker.
pub(super) async fn service(inner: Arc<Inner>) -> io::Result<WebService> {
    let handler = move |request: WebRequest| handle(&inner, request);
    let service = HttpService::build()
        .keep_alive(KeepAlive::Os)
        // The first head has been read, and `Rewind` watches the others.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(REFUSAL_LINGER)
        .on_connect_ext(|stream: &Rewind, extensions| {
            extensions.insert(stream.exchange());
        })
        .finish(fn_service(handler))
        .new_service(())
        .await
        .map_err(|()| io::Error::other("the service could not be built"))?;
    let service = Rc::new(service);
    Ok(Rc::new(move |stream, peer| {
        let service = service.clone();
        Box::pin(async move {
            if let Err(error) = service.call((stream, Protocol::Http1, peer)).await {
                tracing::debug!("An HTTP connection broke: {error}");
            }
        })
    }))
}

/// A request on its way to its response.
enum Handling {
    /// An actor has been asked, and nothing else is to be waited for.
    Asked {
        answer: Answer,
        preferences: Preferences,
        answered: Answered,
    },
    /// Anything else. Boxed, so that a connection without a request needs no memory for it.
    Waiting(LocalBoxFuture<'static, WebResponse>),
    /// The response has been given.
    Done,
}

impl Future for Handling {
    type Output = Result<WebResponse, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut *self {
            Self::Asked { answer, .. } => ready!(answer.poll_unpin(cx)),
            Self::Waiting(future) => return future.as_mut().poll(cx).map(Ok),
            Self::Done => return Poll::Pending,
        };
        let Self::Asked {
            preferences,
            answered,
            ..
        } = std::mem::replace(&mut *self, Self::Done)
        else {
            return Poll::Pending;
        };
        match Ready::at_once(answer_or_error(answer), &preferences) {
            Ok(ready) => Poll::Ready(Ok(into_actix(ready, answered))),
            Err(response) => {
                *self = Self::finish(*response, preferences, answered);
                self.poll(cx)
            }
        }
    }
}

impl Handling {
    /// Anything that takes more than an actor.
    fn waiting(
        response: impl Future<Output = Response> + 'static,
        preferences: Preferences,
        answered: Answered,
    ) -> Self {
        let waiting = async move {
            let response = response.await;
            into_actix(Ready::new(response, &preferences).await, answered)
        };
        Self::Waiting(waiting.boxed_local())
    }

    fn finish(response: Response, preferences: Preferences, answered: Answered) -> Self {
        Self::waiting(std::future::ready(response), preferences, answered)
    }
}

fn handle(inner: &Arc<Inner>, mut web: WebRequest) -> Handling {
    let payload = web.take_payload();
    let exchange = web.conn_data::<Exchange>().cloned().unwrap_or_default();
    let answered = Answered(exchange);
    let headers = convert_headers(&web);
    let head_only = web.method() == actix_web::http::Method::HEAD;
    if web.method() == actix_web::http::Method::POST
        && let Some(sender) = message_sender(&headers)
    {
        let response = receive(inner.clone(), web, sender, headers, payload);
        return Handling::waiting(response, Preferences::none(false), answered);
    }
    let Some(mut request) = received(&web, headers) else {
        let response = Response::status(StatusCode::BAD_REQUEST);
        return Handling::finish(response, Preferences::none(head_only), answered);
    };
    let preferences = Preferences::of(&request.method, &request.headers);
    match target_at_once(inner, &mut request) {
        Some(Target::Route { actor, route })
            if matches!(payload, WebPayload::None)
                && !route.options.streaming
                && inner.gatekeeper.is_open(actor.upid.id(), &route) =>
        {
            match ask(&actor, route, request) {
                Ok(answer) => Handling::Asked {
                    answer,
                    preferences,
                    answered,
                },
                Err(status) => Handling::finish(Response::status(status), preferences, answered),
            }
        }
        target => {
            let response = serve(inner.clone(), request, target, payload);
            Handling::waiting(response, preferences, answered)
        }
    }
}

/// The request without its body; `None` if it cannot be understood.
fn received(web: &WebRequest, headers: Headers) -> Option<Box<Request>> {
    let method = Method::from_bytes(web.method().as_str().as_bytes()).ok()?;
    let (path, query) = (web.uri().path(), web.uri().query());
    Request::received(method, path, query, headers, web.peer_addr()).ok()
}

/// Serves a request that has a body, whose target is not known yet, or that must be let pass.
async fn serve(
    inner: Arc<Inner>,
    mut request: Box<Request>,
    known: Option<Target>,
    payload: WebPayload,
) -> Response {
    let target = match known {
        Some(target) => target,
        None => target(&inner, &mut request).await,
    };
    if target.is_streaming() {
        let (sender, stream) = BodyStream::channel();
        request.stream = Some(stream);
        actix_rt::spawn(pump(payload, is_gzip(&request.headers), sender));
    } else {
        request.body = match whole_body(&inner, &request.headers, payload).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
    }
    answer(&inner, target, request).await
}

/// The sender if this is a message; it may well come by a connection that began with something else.
fn message_sender(headers: &Headers) -> Option<Vec<u8>> {
    let last = |name: &str| {
        let value = headers.get_all(name).next_back()?;
        Some(value.as_bytes().to_vec())
    };
    let from_agent = || {
        let agent = last("User-Agent")?;
        Some(agent.strip_prefix(b"libprocess/")?.to_vec())
    };
    last("Libprocess-From").or_else(from_agent)
}

async fn receive(
    inner: Arc<Inner>,
    web: WebRequest,
    sender: Vec<u8>,
    headers: Headers,
    payload: WebPayload,
) -> Response {
    let body = match whole_body(&inner, &headers, payload).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let (to, name) = match parse_target(web.uri().path()) {
        Ok(target) => target,
        Err(rejection) => return Response::text(rejection.status, rejection.text),
    };
    let message = Message {
        from: parse_sender(sender.trim_ascii()),
        to,
        name,
        body,
    };
    deliver(&inner, message, web.peer_addr())
        .await
        .into_response()
}

async fn whole_body(
    inner: &Inner,
    headers: &Headers,
    mut payload: WebPayload,
) -> Result<Bytes, Response> {
    let refused = |error: ReadError| {
        match error {
            ReadError::Malformed(_) => inner.counters.malformed.inc(),
            _ => inner.counters.oversized.inc(),
        }
        Response::status(error.status())
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > inner.limits.body_bytes) {
        return Err(refused(ReadError::BodyTooLarge));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = next_chunk(inner, &mut payload).await? {
        let chunk = chunk.map_err(|_| refused(ReadError::Malformed("broken body")))?;
        if body.len() + chunk.len() > inner.limits.body_bytes {
            return Err(refused(ReadError::BodyTooLarge));
        }
        body.extend_from_slice(&chunk);
    }
    match is_gzip(headers) && !body.is_empty() {
        true => gunzip(&body, inner.limits.body_bytes).map_err(refused),
        false => Ok(body.freeze()),
    }
}

/// The next part of a body, or 408 if it does not come in time.
async fn next_chunk(
    inner: &Inner,
    payload: &mut WebPayload,
) -> Result<Option<Result<Bytes, PayloadError>>, Response> {
    if let Some(ready) = payload.next().now_or_never() {
        return Ok(ready);
    }
    let next = inner.clock.timeout(inner.header_timeout, payload.next());
    next.await.map_err(|_| {
        inner.counters.timed_out.inc();
        Response::status(StatusCode::REQUEST_TIMEOUT)
    })
}

fn is_gzip(headers: &Headers) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|v| v == "gzip")
}

/// Feeds a streaming request body to its handler, until the handler does not want more.
async fn pump(mut payload: WebPayload, gzip: bool, sender: BodySender) {
    let mut inflater = gzip.then(|| GzDecoder::new(Vec::new()));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| BodyError(error.to_string()));
        let chunk = match &mut inflater {
            Some(inflater) => chunk.and_then(|chunk| inflate(inflater, &chunk)),
            None => chunk,
        };
        if !feed(&sender, chunk).await {
            return;
        }
    }
    if let Some(mut inflater) = inflater {
        let rest = inflater.try_finish().map(|()| inflated(&mut inflater));
        feed(
            &sender,
            rest.map_err(|_| BodyError("truncated gzip".to_owned())),
        )
        .await;
    }
}

/// False if nothing may follow.
async fn feed(sender: &BodySender, chunk: Result<Bytes, BodyError>) -> bool {
    if chunk.as_ref().is_ok_and(Bytes::is_empty) {
        return true;
    }
    let broken = chunk.is_err();
    sender.send(chunk).await.is_ok() && !broken
}

fn inflate(inflater: &mut GzDecoder<Vec<u8>>, chunk: &[u8]) -> Result<Bytes, BodyError> {
    let written = inflater.write_all(chunk).and_then(|()| inflater.flush());
    written.map_err(|_| BodyError("malformed gzip".to_owned()))?;
    Ok(inflated(inflater))
}

fn inflated(inflater: &mut GzDecoder<Vec<u8>>) -> Bytes {
    Bytes::from(std::mem::take(inflater.get_mut()))
}

/// actix-web is on version 0.2 of `http`, everything else on 1.
fn convert_headers(web: &WebRequest) -> Headers {
    let found = web.headers();
    let length = found.iter().map(|(_, value)| value.len()).sum();
    let mut values = Vec::with_capacity(length);
    for (_, value) in found {
        values.extend_from_slice(value.as_bytes());
    }
    // One copy of all values takes one allocation, or two.
    let mut values = Bytes::from(values);
    let mut headers = Headers::with_capacity(found.len());
    for (name, value) in found {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_maybe_shared(values.split_to(value.len()));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn into_actix(ready: Ready, answered: Answered) -> WebResponse {
    let status = actix_web::http::StatusCode::from_u16(ready.status.as_u16())
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let content = match ready.body {
        Payload::Bytes(bytes) => Content::Bytes(bytes),
        Payload::Stream(stream) => Content::Stream(stream),
        Payload::File(file) => Content::File(FileBody::new(file)),
        Payload::Unsent(framing) => Content::Unsent(framing),
    };
    let body = WebBody { content, answered };
    let mut response = WebResponse::with_body(status, body);
    response.head_mut().reason = Some(reason(ready.status));
    for (name, value) in ready.headers.iter() {
        let name = header02::HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Some(value)) = (name, convert_value(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn convert_value(value: &HeaderValue) -> Option<header02::HeaderValue> {
    let common = COMMON_VALUES
        .iter()
        .find(|common| common.as_bytes() == value.as_bytes());
    match common {
        Some(common) => Some(common.clone()),
        None => header02::HeaderValue::from_bytes(value.as_bytes()).ok(),
    }
}

/// Values that most responses have. Others take an allocation.
static COMMON_VALUES: [header02::HeaderValue; 2] = [
    header02::HeaderValue::from_static(JSON_TYPE),
    header02::HeaderValue::from_static(TEXT_TYPE),
];

/// Says that a request has been answered when its body, or what was to become one, is dropped.
struct Answered(Exchange);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The body of a response.
struct WebBody {
    content: Content,
    answered: Answered,
}

enum Content {
    Bytes(Bytes),
    /// It breaks off when the client closes its side, so that the writer learns of it at once and not by the failure of a later
    /// write.
    Stream(StreamReader),
    File(FileBody),
    Unsent(Framing),
}

impl MessageBody for WebBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        match &self.content {
            Content::Bytes(bytes) => BodySize::Sized(bytes.len() as u64),
            Content::File(file) => BodySize::Sized(file.length),
            Content::Stream(_) | Content::Unsent(Framing::Chunked) => BodySize::Stream,
            Content::Unsent(Framing::Length(length)) => BodySize::Sized(*length),
            Content::Unsent(Framing::None) => BodySize::None,
        }
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let WebBody { content, answered } = &mut *self;
        match content {
            Content::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Bytes(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Content::File(file) => file.poll_next(cx),
            Content::Unsent(_) => Poll::Ready(None),
            Content::Stream(stream) => match stream.poll_recv(cx) {
                Poll::Ready(piece) => Poll::Ready(piece.map(Ok)),
                Poll::Pending => answered
                    .0
                    .poll_gone(cx)
                    .map(|()| Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            },
        }
    }
}

type Reading = LocalBoxFuture<'static, (OpenFile, io::Result<Option<Bytes>>)>;

/// A file as a response.
struct FileBody {
    length: u64,
    reading: Reading,
}

impl FileBody {
    fn new(file: OpenFile) -> Self {
        Self {
            length: file.left(),
            reading: Self::read(file),
        }
    }

    fn read(mut file: OpenFile) -> Reading {
        Box::pin(async move {
            let chunk = file.next().await;
            (file, chunk)
        })
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let (file, chunk) = ready!(self.reading.as_mut().poll(cx));
        self.reading = Self::read(file);
        Poll::Ready(chunk.transpose())
    }
}
