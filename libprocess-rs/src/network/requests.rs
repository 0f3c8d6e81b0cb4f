//! What arrives on a connection, on its way to the actors: messages to their mailboxes, requests to their routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{Fuse, FusedFuture, LocalBoxFuture};
use http::{Method, StatusCode};
use tokio_util::sync::PollSender;

use super::answers::{Answer, Answers};
use super::ready::Ready;
use crate::actor::{Envelope, wait_for};
use crate::http::{
    BodyError, BodySender, BodyStream, INFLATE_ELSEWHERE_BYTES, Inflate, Preferences, Request,
    Response, Target, answer, ask, target, target_at_once,
};
use crate::runtime::Inner;
use crate::wire::{
    BodyReader, Decoder, Framing, Item, Message, Piece, ReadError, Reader, RequestHead, gunzip,
};

/// Takes the requests of one connection, one after the other.
pub(super) struct Requests {
    inner: Arc<Inner>,
    peer: Option<SocketAddr>,
    reader: Reader,
    phase: Phase,
    /// The client wants no answers beyond that to the request which is being taken.
    last: bool,
}

enum Phase {
    /// Between requests, in a head, or in the body of a message.
    Reading,
    /// Nothing is taken until this is ready.
    Held(LocalBoxFuture<'static, Next>),
    /// In the body of a request.
    Body(Box<Body>),
    /// No request will be taken any more.
    Done,
}

/// How it goes on after something that took time.
enum Next {
    Answer(Answer),
    Deliver(Message),
    Begin(Box<Request>, Target, BodyHead),
    Ask(Box<Request>, Target),
    Refuse(Answer),
}

/// What the head of a request says about its body.
#[derive(Clone, Copy)]
struct BodyHead {
    framing: Framing,
    gzip: bool,
    expects_continue: bool,
}

/// Where a body goes.
enum Body {
    /// To memory, and then with the request to its route.
    Collect {
        request: Box<Request>,
        target: Target,
        body: BodyReader,
        gzip: bool,
    },
    /// To a handler that takes it as it arrives.
    Feed {
        decoder: Decoder,
        sender: PollSender<Result<Bytes, BodyError>>,
        /// Ready when the handler wants no more.
        unwanted: Fuse<LocalBoxFuture<'static, ()>>,
    },
    /// Nowhere: the request has been answered without it.
    Discard(Decoder),
}

/// How far one step has led.
enum Step {
    Taken,
    /// More bytes have to come.
    Short,
    /// Something else has to happen.
    Waiting,
}

/// What the client is expected to send without pausing for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Nothing,
    Head,
    Body,
}

impl Requests {
    pub(super) fn new(inner: Arc<Inner>, peer: Option<SocketAddr>, ahead: BytesMut) -> Self {
        Self {
            reader: Reader::new(inner.limits, ahead),
            inner,
            peer,
            phase: Phase::Reading,
            last: false,
        }
    }

    /// Where new bytes are appended.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        self.reader.buffer()
    }

    pub(super) fn are_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// True if bytes that arrive now can be taken.
    pub(super) fn want_more(&self, answers: &Answers) -> bool {
        match &self.phase {
            Phase::Reading => answers.has_room(),
            Phase::Body(body) => !matches!(**body, Body::Feed { .. }),
            Phase::Held(_) | Phase::Done => false,
        }
    }

    pub(super) fn awaited(&self, answers: &Answers) -> Awaited {
        match &self.phase {
            Phase::Reading if self.reader.in_body() => Awaited::Body,
            Phase::Reading if self.reader.is_partial() && answers.has_room() => Awaited::Head,
            // A handler that takes a body as it arrives may wait for its pieces as long as it likes.
            Phase::Body(body) if !matches!(**body, Body::Feed { .. }) => Awaited::Body,
            _ => Awaited::Nothing,
        }
    }

    /// Takes all that has arrived, as far as it can; true if a request or a body was completed. `ended` says that nothing more
    /// will come.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        answers: &mut Answers,
        ended: bool,
    ) -> bool {
        if answers.are_closing() && !self.last {
            // A handler has had the connection closed.
            self.phase = Phase::Done;
        }
        let mut progress = false;
        loop {
            match self.step(cx, answers, ended) {
                Step::Taken => progress = true,
                Step::Short if ended => {
                    self.phase = Phase::Done;
                    return progress;
                }
                Step::Short | Step::Waiting => return progress,
            }
        }
    }

    fn step(&mut self, cx: &mut Context<'_>, answers: &mut Answers, ended: bool) -> Step {
        match &mut self.phase {
            Phase::Reading if !answers.has_room() => Step::Waiting,
            Phase::Reading => match self.reader.next() {
                Ok(Some((item, keep_alive))) => {
                    self.last = !keep_alive;
                    self.item(item, answers);
                    Step::Taken
                }
                Ok(None) => Step::Short,
                Err(error) => {
                    self.refuse(error.into(), answers);
                    Step::Taken
                }
            },
            Phase::Held(future) => match future.poll_unpin(cx) {
                Poll::Ready(next) => {
                    self.phase = Phase::Reading;
                    self.go_on(next, answers);
                    Step::Taken
                }
                Poll::Pending => Step::Waiting,
            },
            Phase::Body(_) => self.body(cx, answers, ended),
            Phase::Done => Step::Waiting,
        }
    }

    fn item(&mut self, item: Item, answers: &mut Answers) {
        match item {
            Item::Message(message) => self.deliver(message, answers),
            Item::Compressed(message) => {
                let body = message.body.clone();
                let deliver = |body| Next::Deliver(Message { body, ..message });
                self.inflate(body, deliver, answers);
            }
            Item::Rejected(rejection) => self.answer(rejection.into(), answers),
            Item::Request(head) => self.request(*head, answers),
        }
    }

    fn go_on(&mut self, next: Next, answers: &mut Answers) {
        match next {
            Next::Answer(answer) => self.answer(answer, answers),
            Next::Deliver(message) => self.deliver(message, answers),
            Next::Begin(request, target, body) => self.begin(request, target, body, answers),
            Next::Ask(request, target) => {
                self.ask(request, target, answers);
                self.taken();
            }
            Next::Refuse(answer) => self.refuse(answer, answers),
        }
    }

    /// Hands a message to its receiver. The answer means no more than that it was queued.
    fn deliver(&mut self, message: Message, answers: &mut Answers) {
        let Message {
            from,
            to,
            name,
            body,
        } = message;
        let is_peer = |peer: SocketAddr| peer.ip() == from.address().ip();
        if self.inner.require_peer_match && !self.peer.is_some_and(is_peer) {
            return self.answer(Answer::PEER_MISMATCH, answers);
        }
        self.inner.counters.received.inc();
        let Some(actor) = self.inner.registry.get(&to) else {
            return self.answer(Answer::NOT_FOUND, answers);
        };
        let envelope = Envelope {
            from,
            name: name.into(),
            body,
        };
        if actor.mailbox.message(envelope).is_err() {
            return self.answer(Answer::NOT_FOUND, answers);
        }
        if !actor.mailbox.is_high() {
            return self.answer(Answer::ACCEPTED, answers);
        }
        // Holding the connection back makes the sender wait instead of this runtime's memory grow.
        self.inner.counters.held_back.inc();
        let low = async move {
            wait_for(&*actor.mailbox, |mailbox| !mailbox.is_high()).await;
            Next::Answer(Answer::ACCEPTED)
        };
        self.phase = Phase::Held(low.boxed_local());
    }

    /// Answers a message.
    fn answer(&mut self, answer: Answer, answers: &mut Answers) {
        answers.push(answer);
        self.answered(answers);
        self.taken();
    }

    /// An answer has been given, or promised.
    fn answered(&self, answers: &mut Answers) {
        if self.last {
            answers.close();
        }
    }

    /// The request has been taken, with its body.
    fn taken(&mut self) {
        self.phase = match self.last {
            true => Phase::Done,
            false => Phase::Reading,
        };
    }

    /// Answers what cannot be understood, after which the connection is closed.
    pub(super) fn refuse(&mut self, answer: Answer, answers: &mut Answers) {
        answer.count(&self.inner.counters);
        answers.push(answer);
        self.give_up(answers);
    }

    /// Closes the connection once all that was taken has been answered.
    fn give_up(&mut self, answers: &mut Answers) {
        answers.close();
        self.phase = Phase::Done;
    }

    fn request(&mut self, head: RequestHead, answers: &mut Answers) {
        let body = BodyHead {
            framing: head.framing,
            gzip: head.gzip,
            expects_continue: head.expects_continue,
        };
        let preferences = Preferences::none(head.method == Method::HEAD);
        let request = Request::received(head.method, head.target, head.headers, self.peer);
        let Ok(mut request) = request else {
            answers.respond(Response::status(StatusCode::BAD_REQUEST), preferences);
            self.answered(answers);
            return self.discard(body, answers);
        };
        match target_at_once(&self.inner, &mut request) {
            Some(target) => self.begin(request, target, body, answers),
            None => {
                let inner = self.inner.clone();
                let found = async move {
                    let target = target(&inner, &mut request).await;
                    Next::Begin(request, target, body)
                };
                self.phase = Phase::Held(found.boxed_local());
            }
        }
    }

    /// Serves a request whose body, if it has one, is still to come.
    fn begin(
        &mut self,
        mut request: Box<Request>,
        target: Target,
        body: BodyHead,
        answers: &mut Answers,
    ) {
        if target.is_fixed() {
            self.ask(request, target, answers);
            return self.discard(body, answers);
        }
        let streaming = target.is_streaming();
        if body.framing == Framing::Length(0) && !streaming {
            self.ask(request, target, answers);
            return self.taken();
        }
        let limit = match streaming {
            true => usize::MAX,
            false => self.inner.limits.body_bytes,
        };
        let decoder = match Decoder::new(body.framing, limit) {
            Ok(decoder) => decoder.skipping_trailers(),
            Err(error) => return self.refuse(error.into(), answers),
        };
        if body.expects_continue && self.buffer().is_empty() {
            answers.ask_for_body();
        }
        let body = if streaming {
            let (sender, stream) = body_channel(&self.inner, body.gzip);
            request.stream = Some(stream);
            self.ask(request, target, answers);
            let receiver = sender.clone();
            Body::Feed {
                decoder,
                sender: PollSender::new(sender),
                unwanted: async move { receiver.closed().await }.boxed_local().fuse(),
            }
        } else {
            Body::Collect {
                request,
                target,
                body: decoder.into(),
                gzip: body.gzip,
            }
        };
        self.phase = Phase::Body(Box::new(body));
    }

    /// Skips the body of a request that has been answered without it.
    fn discard(&mut self, body: BodyHead, answers: &mut Answers) {
        let decoder = Decoder::new(body.framing, self.inner.limits.body_bytes);
        match decoder {
            // One who has asked whether to send it will not, now that the answer is here.
            Ok(decoder) if !body.expects_continue => {
                let body = Body::Discard(decoder.skipping_trailers());
                self.phase = Phase::Body(Box::new(body));
            }
            _ => self.give_up(answers),
        }
    }

    /// Has the target answer.
    fn ask(&mut self, request: Box<Request>, target: Target, answers: &mut Answers) {
        let preferences = Preferences::of(&request.method, &request.headers);
        match target {
            Target::Fixed(response) => answers.respond(response, preferences),
            Target::Route { actor, route }
                if self.inner.gatekeeper.is_open(actor.upid.id(), &route) =>
            {
                match ask(&actor, route, request) {
                    Ok(answer) => answers.expect(answer, preferences),
                    Err(status) => answers.respond(Response::status(status), preferences),
                }
            }
            target => {
                let inner = self.inner.clone();
                answers.wait_for(async move {
                    let response = answer(&inner, target, request).await;
                    Ready::new(&inner, response, &preferences).await
                });
            }
        }
        self.answered(answers);
    }

    fn body(&mut self, cx: &mut Context<'_>, answers: &mut Answers, ended: bool) -> Step {
        let Phase::Body(body) = &mut self.phase else {
            return Step::Waiting;
        };
        let buffer = self.reader.buffer();
        match &mut **body {
            Body::Collect { body, .. } => match body.feed(buffer) {
                Ok(Some(body)) => self.collected(body, answers),
                Ok(None) => return Step::Short,
                Err(error) => self.refuse(error.into(), answers),
            },
            Body::Discard(decoder) => match decoder.next(buffer, false) {
                Ok(Piece::Data(_)) => {}
                Ok(Piece::Partial) => return Step::Short,
                Ok(Piece::End) => self.taken(),
                Err(error) => {
                    Answer::from(error).count(&self.inner.counters);
                    self.give_up(answers);
                }
            },
            Body::Feed {
                decoder,
                sender,
                unwanted,
            } => {
                let is_wanted = !unwanted.is_terminated() && unwanted.poll_unpin(cx).is_pending();
                match feed(cx, decoder, sender, buffer, is_wanted, ended) {
                    Ok(Fed::Piece) => {}
                    Ok(Fed::End) => self.taken(),
                    Ok(Fed::Short) => return Step::Short,
                    Ok(Fed::Full) => return Step::Waiting,
                    Ok(Fed::Unwanted) => self.give_up(answers),
                    Err(error) => self.refuse(error.into(), answers),
                }
            }
        }
        Step::Taken
    }

    /// The body of a request is complete.
    fn collected(&mut self, body: Bytes, answers: &mut Answers) {
        let phase = std::mem::replace(&mut self.phase, Phase::Reading);
        let Phase::Body(collecting) = phase else {
            return;
        };
        let Body::Collect {
            mut request,
            target,
            gzip,
            ..
        } = *collecting
        else {
            return;
        };
        let ask = move |body| {
            request.body = body;
            Next::Ask(request, target)
        };
        match gzip {
            true => self.inflate(body, ask, answers),
            false => self.go_on(ask(body), answers),
        }
    }

    /// Goes on with the decompressed body.
    fn inflate(
        &mut self,
        body: Bytes,
        next: impl FnOnce(Bytes) -> Next + 'static,
        answers: &mut Answers,
    ) {
        let limit = self.inner.limits.body_bytes;
        let next = |inflated: Result<Bytes, ReadError>| match inflated {
            Ok(body) => next(body),
            Err(error) => Next::Refuse(error.into()),
        };
        if body.is_empty() {
            return self.go_on(next(Ok(body)), answers);
        }
        if body.len() < INFLATE_ELSEWHERE_BYTES {
            return self.go_on(next(gunzip(&body, limit)), answers);
        }
        let busy = self.inner.busy();
        let inflated = tokio::task::spawn_blocking(move || {
            let _busy = busy;
            gunzip(&body, limit)
        });
        let inflated = inflated.map(|inflated| match inflated {
            Ok(inflated) => next(inflated),
            Err(error) => {
                tracing::error!("Failed to decompress a body: {error}");
                Next::Refuse(Answer::status(StatusCode::INTERNAL_SERVER_ERROR))
            }
        });
        self.phase = Phase::Held(inflated.boxed_local());
    }
}

/// What became of a step in a body that is taken as it arrives.
enum Fed {
    Piece,
    End,
    /// More bytes have to come.
    Short,
    /// The handler has to take what it has got.
    Full,
    /// The handler does not want the rest, and the rest is not here.
    Unwanted,
}

fn feed(
    cx: &mut Context<'_>,
    decoder: &mut Decoder,
    sender: &mut PollSender<Result<Bytes, BodyError>>,
    buffer: &mut BytesMut,
    is_wanted: bool,
    ended: bool,
) -> Result<Fed, ReadError> {
    if is_wanted && sender.poll_reserve(cx).is_pending() {
        return Ok(Fed::Full);
    }
    let (item, fed) = match decoder.next(buffer, false) {
        Ok(Piece::Partial) if !is_wanted => return Ok(Fed::Unwanted),
        Ok(Piece::Partial) if !ended => return Ok(Fed::Short),
        Ok(Piece::Partial) => (Err(BodyError::cut_off()), Ok(Fed::Unwanted)),
        Ok(Piece::Data(data)) => (Ok(data.freeze()), Ok(Fed::Piece)),
        Ok(Piece::End) => (Ok(BodyStream::END), Ok(Fed::End)),
        Err(error) => (Err(BodyError(error.to_string())), Err(error)),
    };
    if is_wanted {
        // Whether the handler still wants it, the next piece will tell.
        let _ = sender.send_item(item);
    }
    fed
}

/// A channel for a body on its way to its handler, decompressed on the way if it is compressed.
fn body_channel(inner: &Inner, gzip: bool) -> (BodySender, BodyStream) {
    let (sender, stream) = BodyStream::channel();
    if !gzip {
        return (sender, stream);
    }
    let (compressed, pieces) = BodyStream::channel();
    inner.workers.spawn_here(inflate_stream(pieces, sender));
    (compressed, stream)
}

/// Ends when the body does, or its receiver wants no more.
async fn inflate_stream(mut pieces: BodyStream, sender: BodySender) {
    let mut inflate = Inflate::new();
    let malformed = |_| BodyError("malformed gzip".to_owned());
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => inflate.feed(piece),
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
        while let Some(plain) = inflate.next().map_err(malformed).transpose() {
            let is_broken = plain.is_err();
            if sender.send(plain).await.is_err() || is_broken {
                return;
            }
        }
    }
    let rest = inflate.finish();
    let rest = rest.map_err(|_| BodyError("truncated gzip".to_owned()));
    let is_whole = rest.is_ok();
    if rest.as_ref().is_ok_and(Bytes::is_empty) || sender.send(rest).await.is_ok() && is_whole {
        let _ = sender.send(Ok(BodyStream::END)).await;
    }
}
