//! The stream that actix-http reads: a connection whose first bytes have been read already.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ByteStream;
use super::pipeline::Pipeline;
use super::watchdog::Watchdog;
use crate::runtime::Inner;

/// Bytes of requests that must wait; beyond that the client has to.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// Gives what was read ahead first, then the rest of the stream, as far as [`Pipeline`] lets it, and tells [`Exchange`] when
/// the client has closed its side.
pub(super) struct Rewind {
    /// Read, and not given to actix-http.
    ahead: BytesMut,
    /// How much of that may go on.
    admitted: usize,
    /// The client has said all it will.
    ended: bool,
    stream: Box<dyn ByteStream>,
    pipeline: Pipeline,
    watchdog: Watchdog,
    exchange: Exchange,
}

/// What reading and answering on one connection know of each other.
#[derive(Clone, Default)]
pub(super) struct Exchange(Rc<RefCell<ExchangeState>>);

#[derive(Default)]
struct ExchangeState {
    /// The client has closed its side or vanished.
    gone: bool,
    streaming: Option<Waker>,
    /// Requests that actix-http has got and not answered.
    unanswered: usize,
    reading: Option<Waker>,
}

impl Exchange {
    fn set_gone(&self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.gone = true;
            state.streaming.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready when the client has gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.gone {
            return Poll::Ready(());
        }
        state.streaming = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A request has been answered.
    pub(super) fn answered(&self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.unanswered = state.unanswered.saturating_sub(1);
            state.reading.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Rewind {
    pub(super) fn new(inner: &Inner, ahead: BytesMut, stream: Box<dyn ByteStream>) -> Self {
        Self {
            ahead,
            admitted: 0,
            ended: false,
            stream,
            pipeline: Pipeline::new(inner.limits.head_bytes),
            watchdog: Watchdog::new(inner.clock.clone(), inner.header_timeout),
            exchange: Exchange::default(),
        }
    }

    pub(super) fn exchange(&self) -> Exchange {
        self.exchange.clone()
    }

    /// Gives as much as may go on of what was read ahead; true if that is something.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.admitted == 0 {
            let unanswered = &mut self.exchange.0.borrow_mut().unanswered;
            self.admitted = self.pipeline.admit(&self.ahead, unanswered);
        }
        let given = self.admitted.min(buf.remaining());
        buf.put_slice(self.ahead.get(..given).unwrap_or_default());
        self.ahead.advance(given);
        self.admitted -= given;
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        given > 0
    }

    /// Reads straight into the buffer of actix-http, and takes back what must wait. Ready with true if something is left.
    fn poll_straight(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let start = buf.filled().len();
        std::task::ready!(self.poll_stream(cx, buf))?;
        let new = buf.filled().get(start..).unwrap_or_default();
        let unanswered = &mut self.exchange.0.borrow_mut().unanswered;
        let passed = self.pipeline.admit(new, unanswered);
        self.ahead
            .extend_from_slice(new.get(passed..).unwrap_or_default());
        buf.set_filled(start + passed);
        Poll::Ready(Ok(passed > 0))
    }

    /// Reads from the stream, and notices its end.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() == before && buf.remaining() > 0 => {
                self.ended = true;
                self.exchange.set_gone();
            }
            Poll::Ready(Err(_)) => self.exchange.set_gone(),
            _ => {}
        }
        polled
    }

    /// Reads what cannot go on yet.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        let mut scratch = ReadBuf::new(&mut scratch);
        std::task::ready!(self.poll_stream(cx, &mut scratch))?;
        self.ahead.extend_from_slice(scratch.filled());
        Poll::Ready(Ok(()))
    }

    /// The end may be told unless requests wait, or are being answered: actix-http would forget what it has not parsed.
    fn may_end(&self) -> bool {
        let busy = self.exchange.0.borrow().unanswered > 0;
        self.ended && !(self.pipeline.is_between() && busy)
    }

    fn poll_watchdog(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.pipeline.is_in_head() {
            true => self.watchdog.watch(false),
            false => self.watchdog.rest(),
        }
        let expired = pin!(self.watchdog.expired()).poll(cx);
        expired.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.ahead.is_empty() && !this.ended {
                match this.poll_straight(cx, buf) {
                    Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(false)) => continue,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return this.poll_watchdog(cx),
                }
            }
            if this.give(buf) {
                return Poll::Ready(Ok(()));
            }
            if this.ended {
                if this.may_end() {
                    // The beginning of a request that will not be completed is of no use to anybody.
                    return Poll::Ready(Ok(()));
                }
                this.exchange.0.borrow_mut().reading = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if this.pipeline.is_held() {
                this.exchange.0.borrow_mut().reading = Some(cx.waker().clone());
                if this.ahead.len() >= MAX_HELD_BYTES {
                    return Poll::Pending;
                }
            }
            match this.poll_ahead(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return this.poll_watchdog(cx),
            }
        }
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
