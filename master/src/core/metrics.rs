//! Names of what the master counts. Upstream: `src/master/metrics.cpp`, `src/master/framework.cpp`.

use mesos::proto::TaskState;
use mesos::proto::offer::operation::Type as OperationType;
use mesos::proto::scheduler::call::Type as CallType;

macro_rules! named {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl $name {
            /// Every value, in declaration order, so that `ALL[value as usize] == value`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name of the metric, or its last part.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

named! {
    /// A counter of the master.
    pub enum Counter {
        DroppedMessages = "master/dropped_messages",
        HttpCacheHits = "master/http_cache_hits",
        MessagesRegisterFramework = "master/messages_register_framework",
        MessagesReregisterFramework = "master/messages_reregister_framework",
        MessagesUnregisterFramework = "master/messages_unregister_framework",
        MessagesDeactivateFramework = "master/messages_deactivate_framework",
        MessagesKillTask = "master/messages_kill_task",
        MessagesStatusUpdateAcknowledgement = "master/messages_status_update_acknowledgement",
        MessagesOperationStatusUpdateAcknowledgement = "master/messages_operation_status_update_acknowledgement",
        MessagesResourceRequest = "master/messages_resource_request",
        MessagesLaunchTasks = "master/messages_launch_tasks",
        MessagesDeclineOffers = "master/messages_decline_offers",
        MessagesReviveOffers = "master/messages_revive_offers",
        MessagesSuppressOffers = "master/messages_suppress_offers",
        MessagesReconcileOperations = "master/messages_reconcile_operations",
        MessagesReconcileTasks = "master/messages_reconcile_tasks",
        MessagesFrameworkToExecutor = "master/messages_framework_to_executor",
        MessagesExecutorToFramework = "master/messages_executor_to_framework",
        MessagesRegisterSlave = "master/messages_register_slave",
        MessagesReregisterSlave = "master/messages_reregister_slave",
        MessagesUnregisterSlave = "master/messages_unregister_slave",
        MessagesStatusUpdate = "master/messages_status_update",
        MessagesOperationStatusUpdate = "master/messages_operation_status_update",
        MessagesExitedExecutor = "master/messages_exited_executor",
        MessagesUpdateSlave = "master/messages_update_slave",
        MessagesAuthenticate = "master/messages_authenticate",
        ValidFrameworkToExecutor = "master/valid_framework_to_executor_messages",
        InvalidFrameworkToExecutor = "master/invalid_framework_to_executor_messages",
        ValidExecutorToFramework = "master/valid_executor_to_framework_messages",
        InvalidExecutorToFramework = "master/invalid_executor_to_framework_messages",
        ValidStatusUpdates = "master/valid_status_updates",
        InvalidStatusUpdates = "master/invalid_status_updates",
        ValidStatusUpdateAcknowledgements = "master/valid_status_update_acknowledgements",
        InvalidStatusUpdateAcknowledgements = "master/invalid_status_update_acknowledgements",
        ValidOperationStatusUpdates = "master/valid_operation_status_updates",
        InvalidOperationStatusUpdates = "master/invalid_operation_status_updates",
        ValidOperationStatusUpdateAcknowledgements = "master/valid_operation_status_update_acknowledgements",
        InvalidOperationStatusUpdateAcknowledgements = "master/invalid_operation_status_update_acknowledgements",
        TasksFinished = "master/tasks_finished",
        TasksFailed = "master/tasks_failed",
        TasksKilled = "master/tasks_killed",
        TasksLost = "master/tasks_lost",
        TasksError = "master/tasks_error",
        TasksDropped = "master/tasks_dropped",
        TasksGone = "master/tasks_gone",
        TasksGoneByOperator = "master/tasks_gone_by_operator",
        RecoverySlaveRemovals = "master/recovery_slave_removals",
        SlaveRegistrations = "master/slave_registrations",
        SlaveReregistrations = "master/slave_reregistrations",
        SlaveRemovals = "master/slave_removals",
        SlaveRemovalsUnhealthy = "master/slave_removals/reason_unhealthy",
        SlaveRemovalsUnregistered = "master/slave_removals/reason_unregistered",
        SlaveRemovalsRegistered = "master/slave_removals/reason_registered",
        SlaveShutdownsScheduled = "master/slave_shutdowns_scheduled",
        SlaveShutdownsCompleted = "master/slave_shutdowns_completed",
        SlaveShutdownsCanceled = "master/slave_shutdowns_canceled",
        SlaveUnreachableScheduled = "master/slave_unreachable_scheduled",
        SlaveUnreachableCompleted = "master/slave_unreachable_completed",
        SlaveUnreachableCanceled = "master/slave_unreachable_canceled",
        StreamsDropped = "master/event_streams_dropped",
        InvalidMessages = "master/invalid_messages",
    }
}

named! {
    /// A value of the master that goes up and down.
    pub enum Gauge {
        Elected = "master/elected",
        SlavesConnected = "master/slaves_connected",
        SlavesDisconnected = "master/slaves_disconnected",
        SlavesActive = "master/slaves_active",
        SlavesInactive = "master/slaves_inactive",
        SlavesUnreachable = "master/slaves_unreachable",
        FrameworksConnected = "master/frameworks_connected",
        FrameworksDisconnected = "master/frameworks_disconnected",
        FrameworksActive = "master/frameworks_active",
        FrameworksInactive = "master/frameworks_inactive",
        OutstandingOffers = "master/outstanding_offers",
        TasksStaging = "master/tasks_staging",
        TasksStarting = "master/tasks_starting",
        TasksRunning = "master/tasks_running",
        TasksKilling = "master/tasks_killing",
        TasksUnreachable = "master/tasks_unreachable",
    }
}

named! {
    /// Kinds of events in the metrics of a framework.
    pub enum EventKind {
        Subscribed = "subscribed",
        Offers = "offers",
        Rescind = "rescind",
        Update = "update",
        Message = "message",
        Failure = "failure",
        Error = "error",
        Heartbeat = "heartbeat",
        InverseOffers = "inverse_offers",
        RescindInverseOffer = "rescind_inverse_offer",
        UpdateOperationStatus = "update_operation_status",
    }
}

named! {
    /// States of an operation in `master/operations/...`.
    pub enum OperationGauge {
        Total = "total",
        Pending = "pending",
        Recovering = "recovering",
        Unreachable = "unreachable",
        Finished = "finished",
        Failed = "failed",
        Error = "error",
        Dropped = "dropped",
        GoneByOperator = "gone_by_operator",
    }
}

/// A counter or gauge of one framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameworkCounter {
    /// A call was received.
    Call(CallType),
    /// An event was sent.
    Event(EventKind),
    /// Offers were sent.
    OffersSent(u64),
    /// Offers were accepted.
    OffersAccepted(u64),
    /// Offers were declined.
    OffersDeclined(u64),
    /// An offer was rescinded.
    OfferRescinded,
    /// An operation was accepted.
    Operation(OperationType),
    /// A task entered this state for the first time.
    TaskEntered(TaskState),
    /// A task left this state, which is not terminal.
    TaskLeft(TaskState),
    /// Whether the framework is subscribed.
    Subscribed(bool),
}

/// The call types in the metrics of a framework, with their names.
pub const CALL_NAMES: &[(CallType, &str)] = &[
    (CallType::Subscribe, "subscribe"),
    (CallType::Teardown, "teardown"),
    (CallType::Accept, "accept"),
    (CallType::Decline, "decline"),
    (CallType::AcceptInverseOffers, "accept_inverse_offers"),
    (CallType::DeclineInverseOffers, "decline_inverse_offers"),
    (CallType::Revive, "revive"),
    (CallType::Kill, "kill"),
    (CallType::Shutdown, "shutdown"),
    (CallType::Acknowledge, "acknowledge"),
    (
        CallType::AcknowledgeOperationStatus,
        "acknowledge_operation_status",
    ),
    (CallType::Reconcile, "reconcile"),
    (CallType::ReconcileOperations, "reconcile_operations"),
    (CallType::Message, "message"),
    (CallType::Request, "request"),
    (CallType::Suppress, "suppress"),
    (CallType::UpdateFramework, "update_framework"),
];

/// The operation types in the metrics, with their names.
pub const OPERATION_NAMES: &[(OperationType, &str)] = &[
    (OperationType::Launch, "launch"),
    (OperationType::LaunchGroup, "launch_group"),
    (OperationType::Reserve, "reserve"),
    (OperationType::Unreserve, "unreserve"),
    (OperationType::Create, "create"),
    (OperationType::Destroy, "destroy"),
    (OperationType::GrowVolume, "grow_volume"),
    (OperationType::ShrinkVolume, "shrink_volume"),
    (OperationType::CreateDisk, "create_disk"),
    (OperationType::DestroyDisk, "destroy_disk"),
];

/// The counter that a task entering a terminal state adds to.
#[must_use]
pub fn terminal_counter(state: TaskState) -> Option<Counter> {
    Some(match state {
        TaskState::TaskFinished => Counter::TasksFinished,
        TaskState::TaskFailed => Counter::TasksFailed,
        TaskState::TaskKilled => Counter::TasksKilled,
        TaskState::TaskLost => Counter::TasksLost,
        TaskState::TaskError => Counter::TasksError,
        TaskState::TaskDropped => Counter::TasksDropped,
        TaskState::TaskGone => Counter::TasksGone,
        TaskState::TaskGoneByOperator => Counter::TasksGoneByOperator,
        _ => return None,
    })
}
