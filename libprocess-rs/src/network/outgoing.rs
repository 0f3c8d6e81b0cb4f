//! Sending: what the task of each socket does.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::sockets::{Next, Sockets, Writer};
use super::{ByteStream, Connector};
use crate::Clock;

/// A socket without links is closed after this long without a message.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a replaced or idle socket waits for the peer to close too.
const LINGER: Duration = Duration::from_secs(5);

/// A buffer that once held more than this is given back when it has been sent.
const KEPT_BUFFER_BYTES: usize = 256 * 1024;

/// Received bytes are discarded in portions of this size.
const DISCARD_BYTES: usize = 4096;

impl Writer {
    /// Connects and sends until the socket is no longer needed, because it was idle or has been replaced.
    ///
    /// # Errors
    /// The connection could not be made, it broke, or the peer closed it.
    pub(crate) async fn run(
        &self,
        connector: &Connector,
        clock: &Clock,
        sockets: &Sockets,
    ) -> io::Result<()> {
        let stream = connector.connect(self.to(), self.host()).await?;
        self.connected();
        let (mut reader, mut writer) = tokio::io::split(stream);
        tokio::select! {
            biased;
            error = discard(&mut reader) => return Err(error),
            end = self.write(&mut writer, clock, sockets) => end?,
            () = self.overdue(clock) => {}
        }
        // Closing at once would reset the connection if answers are still under way, and the peer could lose what it has not read
        // yet.
        let closing = async {
            let _ = writer.shutdown().await;
            discard(&mut reader).await
        };
        let _ = clock.timeout(LINGER, closing).await;
        Ok(())
    }

    /// Completes when the socket was replaced but could not send what it had taken: it is half open.
    async fn overdue(&self, clock: &Clock) {
        poll_fn(|cx| self.poll_left(cx)).await;
        clock.sleep(LINGER).await;
    }

    async fn write(
        &self,
        writer: &mut WriteHalf<Box<dyn ByteStream>>,
        clock: &Clock,
        sockets: &Sockets,
    ) -> io::Result<()> {
        let mut batch = BytesMut::new();
        loop {
            let changed = poll_fn(|cx| self.poll_changed(cx));
            match self.next(&mut batch) {
                Next::Send => {
                    send(writer, &batch).await?;
                    self.sent();
                    batch.clear();
                    if batch.capacity() > KEPT_BUFFER_BYTES {
                        batch = BytesMut::new();
                    }
                }
                Next::Wait => changed.await,
                Next::WaitBriefly => {
                    let idle = clock.timeout(IDLE_TIMEOUT, changed).await.is_err();
                    if idle && sockets.retire(self) {
                        return Ok(());
                    }
                }
                Next::Close => return Ok(()),
            }
        }
    }
}

async fn send(writer: &mut WriteHalf<Box<dyn ByteStream>>, batch: &[u8]) -> io::Result<()> {
    writer.write_all(batch).await?;
    writer.flush().await
}

/// Reads and discards until the peer closes or the connection breaks: nothing is expected but that.
async fn discard(reader: &mut ReadHalf<Box<dyn ByteStream>>) -> io::Error {
    let mut scratch = [0; DISCARD_BYTES];
    loop {
        match reader.read(&mut scratch).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
