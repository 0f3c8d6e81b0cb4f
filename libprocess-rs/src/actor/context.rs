//! What an actor can do in its turns.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{AnyMailbox, HttpEvent, Mailbox, Pid, Process};
use crate::http::{Reply, ReplyKind, Request, Response, RouteOptions, RouteTable};
use crate::{Instant, Runtime, Timer, Upid};

type MessageHandler<P> = Rc<dyn Fn(&mut P, &mut Context<P>, &Upid, Bytes)>;
type RouteHandler<P> = Rc<dyn Fn(&mut P, &mut Context<P>, Request) -> Reply>;
type Continuation<P> = Box<dyn FnOnce(&mut P, &mut Context<P>)>;
type ActorTask<P> = Pin<Box<dyn Future<Output = Option<Continuation<P>>>>>;

/// The runtime as one actor sees it during its turns.
///
/// It stays on the thread of the actor, so futures and handlers given to it need not be `Send`.
pub struct Context<P: Process> {
    pid: Pid<P>,
    runtime: Runtime,
    routes: Arc<RouteTable>,
    messages: HashMap<String, MessageHandler<P>>,
    delegates: HashMap<String, Upid>,
    handlers: HashMap<String, RouteHandler<P>>,
    tasks: FuturesUnordered<ActorTask<P>>,
}

impl<P: Process> Context<P> {
    pub(crate) fn new(pid: Pid<P>, runtime: Runtime, routes: Arc<RouteTable>) -> Self {
        Self {
            pid,
            runtime,
            routes,
            messages: HashMap::new(),
            delegates: HashMap::new(),
            handlers: HashMap::new(),
            tasks: FuturesUnordered::new(),
        }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<P>> {
        self.pid.mailbox()
    }

    pub(crate) fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The handle of this actor.
    pub fn pid(&self) -> Pid<P> {
        self.pid.clone()
    }

    /// The address of this actor.
    pub fn upid(&self) -> &Upid {
        self.pid.upid()
    }

    /// The runtime that hosts this actor.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The time of the runtime's clock.
    pub fn now(&self) -> Instant {
        self.runtime.clock().now()
    }

    /// Installs the handler for protobuf messages of type `M`, known by their full name. A message that does not parse is
    /// logged, counted in `libprocess/messages_undecodable` and dropped. Installing again replaces.
    ///
    /// prost does not enforce required fields.
    pub fn install<M: prost::Message + prost::Name + Default>(
        &mut self,
        handler: impl Fn(&mut P, &mut Context<P>, &Upid, M) + 'static,
    ) {
        let name = M::full_name();
        self.install_raw(&name, move |process, ctx, from, body| {
            match M::decode(body) {
                Ok(message) => handler(process, ctx, from, message),
                Err(error) => {
                    let (name, upid) = (M::full_name(), ctx.upid());
                    tracing::error!("{upid} dropped '{name}' from {from}: {error}");
                    ctx.runtime.inner().counters.undecodable.inc();
                }
            }
        });
    }

    /// Installs the handler for messages of any form with the given name. Installing again replaces.
    pub fn install_raw(
        &mut self,
        name: &str,
        handler: impl Fn(&mut P, &mut Context<P>, &Upid, Bytes) + 'static,
    ) {
        self.messages.insert(name.to_owned(), Rc::new(handler));
    }

    /// Passes messages with this name that have no handler on to another actor; the sender stays the original one.
    pub fn delegate(&mut self, name: &str, to: Upid) {
        self.delegates.insert(name.to_owned(), to);
    }

    /// Sends a protobuf message by its full name. It is delivered at most once and in order; to a runtime that this one is not
    /// linked to, order holds while the connection is in use.
    pub fn send<M: prost::Message + prost::Name>(&self, to: &Upid, message: &M) {
        self.runtime.send_message(self.upid(), to, message);
    }

    /// Sends a message of any form.
    pub fn send_raw(&self, to: &Upid, name: &str, body: Bytes) {
        self.runtime.send(self.upid(), to, name, body);
    }

    /// Asks for one [`Process::exited`] when the actor ends or, if it is in another runtime, when the connection to that
    /// runtime breaks or cannot be made. Linking twice is linking once.
    pub fn link(&self, to: &Upid) {
        self.runtime.inner().link(self.upid(), to, false);
    }

    /// Like [`link`](Self::link), but over a new connection that replaces the one in use, to escape one that is half open.
    /// Queued messages move over; nobody gets an exited event for the exchange.
    pub fn relink(&self, to: &Upid) {
        self.runtime.inner().link(self.upid(), to, true);
    }

    /// Runs `turn` as a turn of this actor once `after` has passed. Dropping the timer does not cancel it; the end of the actor
    /// does.
    pub fn delay(
        &self,
        after: Duration,
        turn: impl FnOnce(&mut P, &mut Context<P>) + Send + 'static,
    ) -> Timer {
        let cancelled = Arc::new(AtomicBool::new(false));
        let (flag, mailbox) = (cancelled.clone(), Arc::downgrade(self.mailbox()));
        let fire = move || {
            let Some(mailbox) = mailbox.upgrade() else {
                return;
            };
            let turn = move |process: &mut P, ctx: &mut Context<P>| {
                if !flag.load(Ordering::Acquire) {
                    turn(process, ctx);
                }
            };
            // An actor that has ended has lost its timers.
            let _ = mailbox.push(super::Event::Dispatch(Box::new(turn)));
        };
        self.runtime.clock().delay_with(after, cancelled, fire)
    }

    /// Runs `future` on the thread of this actor, between its turns, then `then` with its output as a turn. Both are dropped
    /// if the actor ends first.
    pub fn spawn<F: Future + 'static>(
        &self,
        future: F,
        then: impl FnOnce(&mut P, &mut Context<P>, F::Output) + 'static,
    ) {
        self.tasks.push(Box::pin(async move {
            let output = future.await;
            let then: Continuation<P> = Box::new(move |process, ctx| then(process, ctx, output));
            Some(then)
        }));
    }

    /// Runs `work` on a thread where it may block, then `then` with its output as a turn. If `work` panics the panic is logged
    /// and `then` is not run.
    pub fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce(&mut P, &mut Context<P>, R) + 'static,
    ) {
        let busy = self.runtime.inner().busy();
        let job = self.runtime.handle().spawn_blocking(work);
        self.tasks.push(Box::pin(async move {
            let result = job.await;
            let then: Option<Continuation<P>> = match result {
                Ok(output) => Some(Box::new(move |process, ctx| {
                    then(process, ctx, output);
                    drop(busy);
                })),
                Err(error) => {
                    tracing::error!("Blocking work failed: {error}");
                    None
                }
            };
            then
        }));
    }

    /// Installs the handler of an HTTP route, such as `/state` for `/<actor id>/state`. The route `/` is the bare actor path.
    /// Requests go to the route with the longest matching prefix of whole path segments. Installing again replaces.
    ///
    /// A name that does not start with `/`, or ends with one, is normalized.
    pub fn route(
        &mut self,
        name: &str,
        options: RouteOptions,
        handler: impl Fn(&mut P, &mut Context<P>, Request) -> Reply + 'static,
    ) {
        let name = self.routes.add(name, options);
        self.handlers.insert(name, Rc::new(handler));
    }

    /// Serves a file, or the files below a directory, at `/<actor id>/<name>`. The empty name serves the actor's own path. Routes
    /// come first.
    pub fn provide(&mut self, name: &str, path: impl Into<PathBuf>) {
        self.routes.provide(name, path.into());
    }

    /// Ends this actor after the current turn: queued events are discarded, then it is finalized.
    pub fn terminate(&self) {
        self.pid.terminate();
    }

    pub(crate) fn poll_futures(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Continuation<P>>> {
        loop {
            match self.tasks.poll_next_unpin(task) {
                Poll::Ready(Some(Some(continuation))) => return Poll::Ready(Some(continuation)),
                Poll::Ready(Some(None)) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(crate) fn on_message(&mut self, process: &mut P, from: &Upid, name: &str, body: Bytes) {
        if let Some(handler) = self.messages.get(name).cloned() {
            handler(process, self, from, body);
        } else if let Some(to) = self.delegates.get(name) {
            self.runtime.send(from, to, name, body);
        } else {
            let upid = self.upid();
            tracing::debug!("{upid} has no handler for '{name}' from {from}");
        }
    }

    pub(crate) fn on_http(&mut self, process: &mut P, event: HttpEvent) {
        let HttpEvent {
            request,
            route,
            reply,
        } = event;
        // The client has gone; nothing can depend on the answer.
        if reply.is_closed() && request.method.is_safe() {
            return;
        }
        let Some(handler) = self.handlers.get(&route).cloned() else {
            let _ = reply.send(Response::status(http::StatusCode::NOT_FOUND));
            return;
        };
        match handler(process, self, request).into_kind() {
            ReplyKind::Now(response) => {
                let _ = reply.send(response);
            }
            ReplyKind::Later(future) => self.tasks.push(Box::pin(async move {
                let _ = reply.send(future.await);
                None
            })),
        }
    }

    /// Removes the actor from the runtime once its last turn is over.
    pub(crate) fn end(&mut self) {
        self.tasks = FuturesUnordered::new();
        self.mailbox().shut();
        let turns = self.mailbox().turns();
        self.runtime.inner().remove(self.upid(), turns);
        self.mailbox().set_ended();
    }
}
