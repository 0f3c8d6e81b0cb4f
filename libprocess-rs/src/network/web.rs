//! Ordinary HTTP connections, served by actix-web.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::AppConfig;
use actix_web::http::header as header02;
use actix_web::{App, HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use http::header::{CONTENT_ENCODING, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::connection::deliver;
use super::files::{self, OpenFile, Opened};
use super::rewind::{Hangup, Rewind};
use crate::http::{
    BodyError, BodySender, BodyStream, Query, Request, Response, StreamReader, Target, answer,
    reason, target,
};
use crate::runtime::Inner;
use crate::wire::{Message, ReadError, gunzip, parse_sender, parse_target};

/// Serves one connection until it is closed.
pub(super) type WebService = Rc<dyn Fn(Rewind, Option<SocketAddr>) -> LocalBoxFuture<'static, ()>>;

/// Sets actix-web up on the current worker.
pub(super) async fn service(inner: Arc<Inner>) -> io::Result<WebService> {
    let handler = {
        let inner = inner.clone();
        move |request: HttpRequest, payload: web::Payload| {
            let inner = inner.clone();
            async move { handle(inner, request, payload).await }
        }
    };
    let app = App::new()
        .default_service(web::route().to(handler))
        .into_factory()
        .map_err(|error: actix_web::Error| error.error_response());
    let service = HttpService::build()
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(inner.header_timeout)
        .on_connect_ext(|stream: &Rewind, extensions| {
            extensions.insert(stream.hangup());
        })
        .finish(map_config(app, |()| AppConfig::default()))
        .new_service(())
        .await
        .map_err(|()| io::Error::other("the application could not be built"))?;
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

async fn handle(inner: Arc<Inner>, web: HttpRequest, payload: web::Payload) -> HttpResponse {
    let hangup = web.conn_data::<Hangup>().cloned().unwrap_or_default();
    let response = match respond(&inner, &web, payload).await {
        Ok(response) | Err(response) => response,
    };
    let (status, headers, body) = files::open(response).await;
    into_actix(status, &headers, body, hangup)
}

/// The `Err` side is a response too, to a request that is not served.
async fn respond(
    inner: &Arc<Inner>,
    web: &HttpRequest,
    payload: web::Payload,
) -> Result<Response, Response> {
    let headers = convert_headers(web);
    let is_post = web.method() == actix_web::http::Method::POST;
    if is_post && let Some(sender) = message_sender(&headers) {
        let body = whole_body(inner, &headers, payload).await?;
        return Ok(receive(inner, web, &sender, body).await);
    }
    let path = web.uri().path();
    let bad_request = || Response::status(StatusCode::BAD_REQUEST);
    let method = Method::from_bytes(web.method().as_str().as_bytes()).map_err(|_| bad_request())?;
    let query = web.uri().query();
    let mut request = Request::new(method, path);
    request.query = Query::parse(query.unwrap_or_default()).map_err(|_| bad_request())?;
    request.raw_query = query.map(str::to_owned);
    request.peer = web.peer_addr();
    let target = target(inner, path).await;
    if let Target::Route {
        streaming: true, ..
    } = target
    {
        let (sender, stream) = BodyStream::channel();
        request.stream = Some(stream);
        actix_rt::spawn(pump(payload, sender));
    } else {
        request.body = whole_body(inner, &headers, payload).await?;
    }
    request.headers = headers;
    Ok(answer(target, request).await)
}

/// The sender if this is a message; it may well come by a connection that began with something else.
fn message_sender(headers: &HeaderMap) -> Option<Vec<u8>> {
    let last = |name: &str| {
        let value = headers.get_all(name).iter().next_back()?;
        Some(value.as_bytes().to_vec())
    };
    let from_agent = || {
        let agent = last("User-Agent")?;
        Some(agent.strip_prefix(b"libprocess/")?.to_vec())
    };
    last("Libprocess-From").or_else(from_agent)
}

async fn receive(inner: &Inner, web: &HttpRequest, sender: &[u8], body: Bytes) -> Response {
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
    deliver(inner, message, web.peer_addr())
        .await
        .into_response()
}

async fn whole_body(
    inner: &Inner,
    headers: &HeaderMap,
    mut payload: web::Payload,
) -> Result<Bytes, Response> {
    let refused = |error: ReadError| {
        match error {
            ReadError::Malformed(_) => inner.counters.malformed.inc(),
            _ => inner.counters.oversized.inc(),
        }
        Response::status(error.status())
    };
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| refused(ReadError::Malformed("broken body")))?;
        if body.len() + chunk.len() > inner.limits.body_bytes {
            return Err(refused(ReadError::BodyTooLarge));
        }
        body.extend_from_slice(&chunk);
    }
    let gzip = headers.get(CONTENT_ENCODING).is_some_and(|v| v == "gzip");
    match gzip && !body.is_empty() {
        true => gunzip(&body, inner.limits.body_bytes).map_err(refused),
        false => Ok(body.freeze()),
    }
}

/// Feeds a streaming request body to its handler.
async fn pump(mut payload: web::Payload, sender: BodySender) {
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| BodyError(error.to_string()));
        let broken = chunk.is_err();
        if sender.send(chunk).await.is_err() || broken {
            return;
        }
    }
}

/// actix-web is on version 0.2 of `http`, everything else on 1.
fn convert_headers(web: &HttpRequest) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(web.headers().len());
    for (name, value) in web.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn into_actix(
    status: StatusCode,
    headers: &HeaderMap,
    body: Opened,
    hangup: Hangup,
) -> HttpResponse {
    let status02 = actix_web::http::StatusCode::from_u16(status.as_u16())
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let body = match body {
        Opened::Bytes(bytes) => BoxBody::new(bytes),
        Opened::Stream(stream) => BoxBody::new(StreamBody { stream, hangup }),
        Opened::File(file) => BoxBody::new(FileBody::new(file)),
    };
    let mut response = HttpResponse::with_body(status02, body);
    response.head_mut().reason = Some(reason(status));
    for (name, value) in headers {
        let name = header02::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = header02::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A streamed response. It breaks off when the client closes its side, so that the writer learns of it at once and not by the
/// failure of a later write.
struct StreamBody {
    stream: StreamReader,
    hangup: Hangup,
}

impl MessageBody for StreamBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if let Poll::Ready(piece) = self.stream.poll_recv(cx) {
            return Poll::Ready(piece.map(Ok));
        }
        self.hangup
            .poll(cx)
            .map(|()| Some(Err(io::ErrorKind::UnexpectedEof.into())))
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
}

impl MessageBody for FileBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let (file, chunk) = std::task::ready!(self.reading.as_mut().poll(cx));
        self.reading = Self::read(file);
        Poll::Ready(chunk.transpose())
    }
}
