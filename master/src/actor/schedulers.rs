//! Streams of schedulers that use the HTTP API.

use futures::future::{Either, select};
use libprocess::{Context, StreamWriter, WriteError};
use mesos::convert::{ConvertError, v0_to_v1};
use mesos::media::ContentType;
use mesos::proto::v1;
use mesos::recordio;
use prost::Message;
use tokio::sync::oneshot;

use super::MasterProcess;
use crate::core::effects::StreamId;
use crate::core::event::SchedulerEvent;

/// Why an event was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// An open stream. Dropping it ends the response.
pub(super) struct SchedulerStream {
    content_type: ContentType,
    writer: StreamWriter,
    /// Dropped with the stream, so that nobody waits for its end any more.
    _open: oneshot::Sender<()>,
}

impl SchedulerStream {
    /// Appends an event.
    pub(super) fn send(&self, event: &SchedulerEvent) -> Result<(), SendError> {
        let event = event.to_event();
        let record = match self.content_type {
            // The same bytes in both dialects.
            ContentType::Protobuf => event.encode_to_vec().into(),
            ContentType::Json => {
                let event: v1::scheduler::Event = v0_to_v1(&event)?;
                ContentType::Json.encode(&event)
            }
        };
        Ok(self.writer.write(recordio::encode(&record))?)
    }
}

impl MasterProcess {
    /// Opens a stream to a scheduler that is about to subscribe.
    pub(crate) fn open_stream(
        &mut self,
        stream: StreamId,
        content_type: ContentType,
        writer: StreamWriter,
        ctx: &mut Context<Self>,
    ) {
        let (open, ended) = oneshot::channel();
        let closed = closed(writer.clone(), ended);
        ctx.spawn(closed, move |master, ctx, gone| {
            if gone && master.around.streams.remove(&stream).is_some() {
                master.turn(ctx, |core, fx| core.on_stream_closed(stream, fx));
            }
        });
        self.around.streams.insert(
            stream,
            SchedulerStream {
                content_type,
                writer,
                _open: open,
            },
        );
    }
}

/// Waits until the reader has gone (true) or the stream was dropped (false). The writer is let go
/// in either case, which lets the response end.
pub(super) async fn closed(writer: StreamWriter, ended: oneshot::Receiver<()>) -> bool {
    let closed = std::pin::pin!(writer.closed());
    matches!(select(closed, ended).await, Either::Left(_))
}

#[cfg(test)]
mod tests {
    use libprocess::Response;

    use super::*;

    fn stream() -> (Response, SchedulerStream) {
        let (response, writer) = Response::stream("application/json");
        let (open, _) = oneshot::channel();
        let stream = SchedulerStream {
            content_type: ContentType::Json,
            writer,
            _open: open,
        };
        (response, stream)
    }

    #[test]
    fn a_reader_that_does_not_read_is_given_up() {
        let (_response, stream) = stream();
        let sent = (0..)
            .take_while(|_| stream.send(&SchedulerEvent::Heartbeat).is_ok())
            .count();
        assert!((100..100_000).contains(&sent), "{sent}");
        assert!(matches!(
            stream.send(&SchedulerEvent::Heartbeat),
            Err(SendError::Write(WriteError::Full))
        ));
    }

    #[test]
    fn a_reader_that_is_gone_is_noticed() {
        let (response, stream) = stream();
        drop(response);
        assert!(matches!(
            stream.send(&SchedulerEvent::Heartbeat),
            Err(SendError::Write(WriteError::Closed))
        ));
    }
}
