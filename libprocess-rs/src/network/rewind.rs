//! A stream whose first bytes have been read already.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ByteStream;

/// Gives what was read ahead first, then the rest of the stream, and tells [`Hangup`] when the client has closed its side.
pub(super) struct Rewind {
    ahead: BytesMut,
    stream: Box<dyn ByteStream>,
    hangup: Hangup,
}

/// Knows whether the client of a connection has closed its side or vanished.
#[derive(Clone, Default)]
pub(super) struct Hangup(Rc<RefCell<HangupState>>);

#[derive(Default)]
struct HangupState {
    gone: bool,
    waker: Option<Waker>,
}

impl Hangup {
    fn set(&self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.gone = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready when the client has gone.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.gone {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Rewind {
    pub(super) fn new(ahead: BytesMut, stream: Box<dyn ByteStream>) -> Self {
        Self {
            ahead,
            stream,
            hangup: Hangup::default(),
        }
    }

    pub(super) fn hangup(&self) -> Hangup {
        self.hangup.clone()
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            let len = this.ahead.len().min(buf.remaining());
            buf.put_slice(this.ahead.get(..len).unwrap_or_default());
            this.ahead.advance(len);
            if this.ahead.is_empty() {
                this.ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() == before && buf.remaining() > 0 => {
                this.hangup.set();
            }
            Poll::Ready(Err(_)) => this.hangup.set(),
            _ => {}
        }
        polled
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
