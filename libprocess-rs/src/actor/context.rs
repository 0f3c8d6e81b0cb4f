//! What an actor can do in its turns.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::task::JoinError;

use super::mailbox::report_discarded;
use super::{AnyMailbox, Delayed, Envelope, Event, HttpEvent, Mailbox, Pid, Process};
use crate::http::{Reply, ReplyKind, Request, Response, RouteOptions, RouteTable};
use crate::panics::{Panic, drop_each};
use crate::runtime::Inner;
use crate::{Instant, MessageName, Runtime, Timer, Upid};

type MessageHandler<P> = Rc<dyn Fn(&mut P, &mut Context<P>, &Upid, Bytes)>;
type RouteHandler<P> = Rc<dyn Fn(&mut P, &mut Context<P>, Request) -> Reply>;
type Continuation<P> = Box<dyn FnOnce(&mut P, &mut Context<P>)>;
type ActorTask<P> = Pin<Box<dyn Future<Output = Option<Continuation<P>>>>>;

/// The runtime as one actor sees it during its turns.
///
/// It stays on the thread of the actor, so futures and handlers given to it need not be `Send`.
pub struct Context<P: Process> {
    pid: Own<P>,
    runtime: Runtime,
    routes: Arc<RouteTable>,
    messages: HashMap<MessageName, MessageHandler<P>, RandomState>,
    names: OnceCell<Box<Names<P>>>,
    /// Made when first needed, as the names: many actors do without.
    pending: OnceCell<Box<Pending<P>>>,
}

/// What an actor has begun and what ends with it.
struct Pending<P: Process> {
    tasks: FuturesUnordered<ActorTask<P>>,
    timers: RefCell<Timers>,
}

impl<P: Process> Default for Pending<P> {
    fn default() -> Self {
        Self {
            tasks: FuturesUnordered::new(),
            timers: RefCell::default(),
        }
    }
}

/// The timers of an actor, with some that have fired. They are removed from the clock when this is dropped.
#[derive(Default)]
struct Timers {
    all: Vec<OwnTimer>,
    /// With this many it is time to forget those that have fired.
    enough: usize,
}

struct OwnTimer(Timer);

impl Drop for OwnTimer {
    fn drop(&mut self) {
        // One that has fired already may still get its turn.
        self.0.remove();
    }
}

/// Fewer timers than this are not looked through.
const FEW_TIMERS: usize = 16;

impl Timers {
    fn add(&mut self, timer: Timer) {
        if self.all.len() >= self.enough {
            self.all.retain(|timer| timer.0.is_pending());
            self.enough = (2 * self.all.len()).max(FEW_TIMERS);
        }
        self.all.push(OwnTimer(timer));
    }
}

/// The handle that an actor has of itself. When it is dropped nobody serves the mailbox any more: the actor has ended, or it never
/// began, or its thread has gone in the middle of it.
pub(crate) struct Own<P: Process>(Pid<P>);

impl<P: Process> Own<P> {
    pub(crate) fn new(pid: Pid<P>) -> Self {
        Self(pid)
    }
}

impl<P: Process> Drop for Own<P> {
    fn drop(&mut self) {
        let mailbox = self.0.mailbox();
        drop_each(mailbox.shut(), report_discarded);
        mailbox.set_ended();
    }
}

/// What an actor knows by name, besides its handlers of messages.
struct Names<P: Process> {
    routes: HashMap<Arc<str>, RouteHandler<P>, RandomState>,
    delegates: HashMap<MessageName, Upid, RandomState>,
    /// Names of protobuf types by the function that makes them, which takes an allocation each time.
    types: RefCell<HashMap<usize, MessageName, RandomState>>,
    /// The last receiver whose address was text, and the address by which the runtime knows it.
    receiver: RefCell<Option<(Upid, Upid)>>,
}

impl<P: Process> Default for Names<P> {
    fn default() -> Self {
        Self {
            routes: HashMap::default(),
            delegates: HashMap::default(),
            types: RefCell::default(),
            receiver: RefCell::default(),
        }
    }
}

impl<P: Process> Context<P> {
    pub(crate) fn new(pid: Own<P>, runtime: Runtime, routes: Arc<RouteTable>) -> Self {
        Self {
            pid,
            runtime,
            routes,
            messages: HashMap::default(),
            names: OnceCell::new(),
            pending: OnceCell::new(),
        }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<P>> {
        self.pid.0.mailbox()
    }

    pub(crate) fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The handle of this actor.
    pub fn pid(&self) -> Pid<P> {
        self.pid.0.clone()
    }

    /// The address of this actor.
    pub fn upid(&self) -> &Upid {
        self.pid.0.upid()
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
        self.install_raw(
            MessageName::of::<M>(),
            move |process, ctx, from, body| match M::decode(&*body) {
                Ok(message) => handler(process, ctx, from, message),
                Err(error) => {
                    let (name, upid) = (M::full_name(), ctx.upid());
                    tracing::error!("{upid} dropped '{name}' from {from}: {error}");
                    ctx.runtime.inner().counters.undecodable.inc();
                }
            },
        );
    }

    /// Installs the handler for messages of any form with the given name. Installing again replaces.
    pub fn install_raw(
        &mut self,
        name: impl Into<MessageName>,
        handler: impl Fn(&mut P, &mut Context<P>, &Upid, Bytes) + 'static,
    ) {
        self.messages.insert(name.into(), Rc::new(handler));
    }

    /// Passes messages with this name that have no handler on to another actor; the sender stays the original one.
    pub fn delegate(&mut self, name: impl Into<MessageName>, to: Upid) {
        self.change_names(|names| names.delegates.insert(name.into(), to));
    }

    /// Sends a protobuf message by its full name. It is delivered at most once and in order; to a runtime that this one is not
    /// linked to, order holds while the connection is in use.
    pub fn send<M: prost::Message + prost::Name>(&self, to: &Upid, message: &M) {
        let name = self.name_of::<M>();
        self.with_known(to, |inner, to| {
            inner.send_proto(self.upid(), to, name, message)
        });
    }

    /// Calls `send` with the address by which the runtime itself knows the actor, if it is one of this runtime.
    ///
    /// An actor that got the address of another one as text, such as that of its master, would else look for it by its id with
    /// each message. Should the actor have ended since, the runtime looks for it then.
    fn with_known(&self, to: &Upid, send: impl FnOnce(&Arc<Inner>, &Upid)) {
        let inner = self.runtime.inner();
        if to.mailbox(inner.id()).is_some() || !inner.is_local(to) {
            return send(inner, to);
        }
        let mut known = self.names().receiver.borrow_mut();
        match &*known {
            Some((text, found)) if text.is_same(to) => send(inner, found),
            _ => match inner.registry.get(to.id()) {
                Some(actor) => {
                    send(inner, &actor.upid);
                    *known = Some((to.clone(), actor.upid.clone()));
                }
                None => send(inner, to),
            },
        }
    }

    fn names(&self) -> &Names<P> {
        self.names.get_or_init(Box::default)
    }

    fn change_names<R>(&mut self, change: impl FnOnce(&mut Names<P>) -> R) {
        let mut names = self.names.take().unwrap_or_default();
        change(&mut names);
        self.names = OnceCell::from(names);
    }

    fn name_of<M: prost::Name>(&self) -> MessageName {
        // If two types have one such function, it makes the same name for both.
        let key = M::full_name as fn() -> String as usize;
        let mut types = self.names().types.borrow_mut();
        types
            .entry(key)
            .or_insert_with(MessageName::of::<M>)
            .clone()
    }

    /// Sends a message of any form.
    pub fn send_raw(&self, to: &Upid, name: impl Into<MessageName> + AsRef<str>, body: Bytes) {
        self.with_known(to, |inner, to| inner.send(self.upid(), to, name, body));
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
        let delayed = Delayed {
            cancelled: cancelled.clone(),
            turn,
        };
        let mailbox = Arc::downgrade(self.mailbox());
        let fire = move || {
            if let Some(mailbox) = mailbox.upgrade() {
                // An actor that has ended has lost its timers.
                let _ = mailbox.push(Event::Dispatch(Box::new(delayed)));
            }
        };
        let timer = self.runtime.clock().delay_with(after, cancelled, fire);
        self.pending().timers.borrow_mut().add(timer.clone());
        timer
    }

    /// Runs `future` on the thread of this actor, between its turns, then `then` with its output as a turn. Both are dropped
    /// if the actor ends first.
    pub fn spawn<F: Future + 'static>(
        &self,
        future: F,
        then: impl FnOnce(&mut P, &mut Context<P>, F::Output) + 'static,
    ) {
        self.tasks().push(Box::pin(async move {
            let output = future.await;
            let then: Continuation<P> = Box::new(move |process, ctx| then(process, ctx, output));
            Some(then)
        }));
    }

    /// Runs `work` on a thread where it may block, then `then` with its output as a turn. If the actor ends first, `work` goes on
    /// but `then` is dropped. A panic in `work` ends the actor, as one in a turn does.
    pub fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce(&mut P, &mut Context<P>, R) + 'static,
    ) {
        let busy = self.runtime.inner().busy();
        let job = self.runtime.handle().spawn_blocking(work);
        self.tasks().push(Box::pin(async move {
            let output = match job.await.map_err(JoinError::try_into_panic) {
                Ok(output) => output,
                Err(Ok(panic)) => resume_unwind(panic),
                // The threads of the runtime are ending.
                Err(Err(_)) => return None,
            };
            let then: Continuation<P> = Box::new(move |process, ctx| {
                then(process, ctx, output);
                drop(busy);
            });
            Some(then)
        }));
    }

    /// Installs the handler of an HTTP route, such as `/state` for `/<actor id>/state`. The route `/` is the bare actor path.
    /// Requests go to the route with the longest matching prefix of whole path segments. Installing again replaces.
    ///
    /// A segment `{name}` of the name stands for any one; [`Request::path_params`] has what it stood for. A route that names the
    /// segment goes first: of `/tasks/{id}` and `/tasks/new` the latter gets `/tasks/new`.
    ///
    /// A name that does not start with `/`, or ends with one, is normalized.
    pub fn route(
        &mut self,
        name: &str,
        options: RouteOptions,
        handler: impl Fn(&mut P, &mut Context<P>, Request) -> Reply + 'static,
    ) {
        let name = self.routes.add(name, options);
        self.change_names(|names| names.routes.insert(name, Rc::new(handler)));
    }

    /// Serves a file, or the files below a directory, at `/<actor id>/<name>`. The empty name serves the actor's own path. Routes
    /// come first.
    pub fn provide(&mut self, name: &str, path: impl Into<PathBuf>) {
        self.routes.provide(name, path.into());
    }

    /// Ends this actor after the current turn: queued events are discarded, then it is finalized.
    pub fn terminate(&self) {
        self.pid.0.terminate();
    }

    fn pending(&self) -> &Pending<P> {
        self.pending.get_or_init(Box::default)
    }

    fn tasks(&self) -> &FuturesUnordered<ActorTask<P>> {
        &self.pending().tasks
    }

    pub(crate) fn poll_futures(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Continuation<P>>> {
        let Some(pending) = self.pending.get_mut() else {
            return Poll::Ready(None);
        };
        loop {
            match pending.tasks.poll_next_unpin(task) {
                Poll::Ready(Some(Some(continuation))) => return Poll::Ready(Some(continuation)),
                Poll::Ready(Some(None)) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Serves a message and returns its sender.
    pub(crate) fn on_message(&mut self, process: &mut P, envelope: Envelope) -> Upid {
        let Envelope { from, name, body } = envelope;
        // Cloned because the handler may install others in its place.
        if let Some(handler) = self.messages.get(&name).cloned() {
            handler(process, self, &from, body);
        } else if let Some(to) = self.delegate_of(&name) {
            self.runtime.send(&from, to, name, body);
        } else {
            let upid = self.upid();
            tracing::debug!("{upid} has no handler for '{name}' from {from}");
        }
        from
    }

    fn delegate_of(&self, name: &MessageName) -> Option<&Upid> {
        self.names.get()?.delegates.get(name)
    }

    pub(crate) fn on_http(&mut self, process: &mut P, event: HttpEvent) {
        let HttpEvent {
            request,
            route,
            reply,
        } = event;
        // Nothing depends on the answer but the client.
        let for_client = request.method.is_safe();
        if for_client && reply.is_closed() {
            return;
        }
        let names = self.names.get();
        let handler = names.and_then(|names| names.routes.get(&route.name).cloned());
        let Some(handler) = handler else {
            let _ = reply.send(Response::status(http::StatusCode::NOT_FOUND));
            return;
        };
        match handler(process, self, *request).into_kind() {
            ReplyKind::Now(response) => {
                let _ = reply.send(response);
            }
            ReplyKind::Later(future) => self.tasks().push(Box::pin(async move {
                answer_later(reply, future, for_client).await;
                None
            })),
        }
    }

    /// Notes a panic that ends the actor, or comes at its end.
    pub(crate) fn report(&self, panic: &Panic) {
        tracing::error!("Actor {} panicked and is terminated: {panic}", self.upid());
        self.runtime.inner().counters.panics.inc();
    }

    /// Removes the actor from the runtime once its last turn is over.
    pub(crate) fn end(&mut self) {
        if let Some(pending) = self.pending.take() {
            let Pending { tasks, timers } = *pending;
            drop_each(tasks, |panic| self.report(panic));
            drop_each(timers.into_inner().all, |panic| self.report(panic));
        }
        self.routes.set_ready();
        drop_each(self.mailbox().shut(), |panic| self.report(panic));
        let turns = self.mailbox().turns();
        self.runtime.inner().remove(self.upid(), turns);
        self.mailbox().set_ended();
    }
}

/// Sends what `future` gives. With `for_client` the future is dropped when the client has gone.
async fn answer_later(
    mut reply: oneshot::Sender<Response>,
    future: impl Future<Output = Response>,
    for_client: bool,
) {
    let response = tokio::select! {
        biased;
        response = future => response,
        () = reply.closed(), if for_client => return,
    };
    // A client that has gone needs no answer.
    let _ = reply.send(response);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};

    use http::Method;

    use super::*;
    use crate::RuntimeConfig;
    use crate::http::Found;

    const DEADLINE: Duration = Duration::from_secs(60);

    /// Never answers. The senders are kept by one request each.
    struct Slow(Vec<Sender<()>>);

    impl Process for Slow {
        fn initialize(&mut self, ctx: &mut Context<Self>) {
            ctx.route("/x", RouteOptions::default(), |slow: &mut Self, _, _| {
                let kept = slow.0.pop();
                Reply::later(async move {
                    let _kept = kept;
                    std::future::pending().await
                })
            });
        }
    }

    fn sync(pid: &Pid<Slow>) {
        let (done, wait) = channel();
        pid.dispatch(move |_, _| done.send(()).unwrap());
        wait.recv_timeout(DEADLINE).unwrap();
    }

    #[test]
    fn what_is_answered_later_ends_with_its_client_if_it_is_for_it_alone() {
        let runtime = Runtime::start(RuntimeConfig::loopback()).unwrap();
        let (for_get, get): (_, Receiver<()>) = channel();
        let (for_post, post) = channel();
        let pid = runtime.spawn("slow", Slow(vec![for_get, for_post]));
        let pid = pid.unwrap();
        sync(&pid);
        let actor = runtime.inner().registry.get("slow").unwrap();
        let request = |method| {
            let Some(Found::Route(route)) = actor.routes.find("/x") else {
                panic!("no route");
            };
            let (reply, answer) = oneshot::channel();
            let request = Box::new(Request::new(method, "/slow/x"));
            let event = HttpEvent {
                request,
                route,
                reply,
            };
            actor.mailbox.http(event).unwrap();
            answer
        };
        let clients = [Method::POST, Method::GET].map(request);
        sync(&pid);
        drop(clients);
        let ended = get.recv_timeout(DEADLINE);
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
        assert_eq!(post.try_recv(), Err(TryRecvError::Empty));
        runtime.shutdown();
    }
}
