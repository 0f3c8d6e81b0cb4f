//! The messages an agent sends.

use bytes::Bytes;
use mesos::proto::internal as wire;
use prost::{Message as _, Name as _};

macro_rules! messages {
    ($($(#[$doc:meta])* $variant:ident($message:ident),)*) => {
        /// One message on its way out of the agent, still in its typed form so that a test can look at it.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Message {
            $($(#[$doc])* $variant(Box<wire::$message>),)*
        }

        impl Message {
            /// The full protobuf name, which is also the last part of the request path.
            pub fn name(&self) -> String {
                match self {
                    $(Message::$variant(_) => wire::$message::full_name(),)*
                }
            }

            /// The protobuf encoding.
            pub fn encode(&self) -> Bytes {
                match self {
                    $(Message::$variant(message) => message.encode_to_vec().into(),)*
                }
            }
        }

        $(impl From<wire::$message> for Message {
            fn from(message: wire::$message) -> Self {
                Message::$variant(Box::new(message))
            }
        })*
    };
}

messages! {
    /// First registration, to the master.
    RegisterSlave(RegisterSlaveMessage),
    /// Registration with a known id, to the master.
    ReregisterSlave(ReregisterSlaveMessage),
    /// A graceful goodbye, to the master.
    UnregisterSlave(UnregisterSlaveMessage),
    /// Answer to a ping.
    PongSlave(PongSlaveMessage),
    /// Totals, operations and resource version, to the master.
    UpdateSlave(UpdateSlaveMessage),
    /// A task status, to the master.
    StatusUpdate(StatusUpdateMessage),
    /// An executor ended, to the master.
    ExitedExecutor(ExitedExecutorMessage),
    /// The state of an offer operation, to the master.
    UpdateOperationStatus(UpdateOperationStatusMessage),
    /// Bytes of an executor, to its scheduler or the master.
    ExecutorToFramework(ExecutorToFrameworkMessage),
    /// Bytes of a scheduler, to its executor.
    FrameworkToExecutor(FrameworkToExecutorMessage),
    /// Registration accepted, to an executor.
    ExecutorRegistered(ExecutorRegisteredMessage),
    /// Re-registration accepted, to an executor.
    ExecutorReregistered(ExecutorReregisteredMessage),
    /// A task to start, to an executor.
    RunTask(RunTaskMessage),
    /// A task to stop, to an executor.
    KillTask(KillTaskMessage),
    /// "The agent has this update", to an executor.
    StatusUpdateAcknowledgement(StatusUpdateAcknowledgementMessage),
    /// Time to stop, to an executor.
    ShutdownExecutor(ShutdownExecutorMessage),
}
