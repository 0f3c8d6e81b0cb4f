//! Decoding with the proto2 checks that prost leaves out.

use libprocess::{Context, Process, Upid};

pub use mesos_protos::{DecodeError, Described, check_initialized, decode};

/// The counter of messages that do not parse or lack what proto2 requires.
const UNDECODABLE_MESSAGES: &str = "libprocess/messages_undecodable";

/// Handlers of protobuf messages that are checked before they are seen.
pub trait ContextExt<P: Process> {
    /// Installs the handler for messages of type `M`. One that does not parse or lacks a required field is logged,
    /// counted in `libprocess/messages_undecodable` and dropped: its sender may be anybody.
    fn handle<M: Described + prost::Name>(
        &mut self,
        handler: impl Fn(&mut P, &mut Context<P>, &Upid, M) + 'static,
    );
}

impl<P: Process> ContextExt<P> for Context<P> {
    fn handle<M: Described + prost::Name>(
        &mut self,
        handler: impl Fn(&mut P, &mut Context<P>, &Upid, M) + 'static,
    ) {
        let undecodable = self.runtime().metrics().counter(UNDECODABLE_MESSAGES);
        self.install_raw(
            M::full_name(),
            move |process, ctx, from, body| match decode::<M>(&body) {
                Ok(message) => handler(process, ctx, from, message),
                Err(error) => {
                    tracing::warn!("Dropped {} from {from}: {error}", M::full_name());
                    undecodable.inc();
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use bytes::Bytes;
    use libprocess::{Runtime, RuntimeConfig};
    use prost::{Message, Name};

    use super::*;
    use crate::proto::FrameworkId;

    struct Reporter(Sender<String>);

    impl Process for Reporter {
        fn initialize(&mut self, context: &mut Context<Self>) {
            context.handle::<FrameworkId>(|reporter, _, _, id| {
                reporter.0.send(id.value).unwrap();
            });
        }
    }

    #[test]
    fn messages_that_do_not_parse_are_counted_and_dropped() {
        let runtime = Runtime::start(RuntimeConfig {
            ip: Ipv4Addr::LOCALHOST.into(),
            ..RuntimeConfig::default()
        })
        .unwrap();
        let (sender, received) = channel();
        let reporter = runtime.spawn("reporter", Reporter(sender)).unwrap();
        let id = FrameworkId { value: "f".into() };
        // Nothing required, no protobuf, and at last a message.
        for body in [Bytes::new(), "nonsense".into(), id.encode_to_vec().into()] {
            let upid = reporter.upid();
            runtime.send(upid, upid, FrameworkId::full_name(), body);
        }
        let deadline = Duration::from_secs(10);
        assert_eq!(received.recv_timeout(deadline), Ok("f".into()));
        assert_eq!(runtime.metrics().counter(UNDECODABLE_MESSAGES).get(), 2);
        runtime.shutdown();
    }
}
