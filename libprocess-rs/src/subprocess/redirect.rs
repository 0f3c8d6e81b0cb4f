//! Carries output on.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Read at most at once: the size of a pipe of Linux.
const CHUNK_BYTES: usize = 64 * 1024;

/// Copies `from` to `to` until its end, in portions of at most 64 KiB, each of which `hook` sees before it is written. Returns
/// the number of bytes.
///
/// The next portion is read when the one before it has been written, so that a slow target slows the source. To discard what
/// comes, write to [`tokio::io::sink`].
///
/// # Errors
/// What reading or writing gives; what was read before has been written.
///
/// Upstream: `process::io::redirect`.
pub async fn redirect<R, W>(
    from: &mut R,
    to: &mut W,
    mut hook: impl FnMut(&[u8]),
) -> io::Result<u64>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let mut copied = 0;
    while from.read_buf(&mut chunk).await? > 0 {
        hook(&chunk);
        to.write_all(&chunk).await?;
        copied += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        chunk.clear();
    }
    to.flush().await?;
    Ok(copied)
}
