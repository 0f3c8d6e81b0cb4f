//! Descriptors of the kernel's event sources in tokio's event loop.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor, to wait until it is readable, with the event loop of the current tokio runtime.
#[expect(
    deprecated,
    reason = "sound for an OwnedFd, which always stands for the same descriptor; the successor is unsafe for the sake of other types"
)]
pub(crate) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
