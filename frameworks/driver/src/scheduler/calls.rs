//! Building the calls that go to the master.

use libprocess::Upid;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, FrameworkInfo, Offer, offer};

use super::event::Acknowledgement;

/// A call that has nothing but its type.
pub(crate) fn of_type(kind: call::Type) -> Call {
    Call {
        r#type: Some(kind.into()),
        ..Call::default()
    }
}

pub(crate) fn accept(
    offer_ids: Vec<proto::OfferId>,
    operations: Vec<offer::Operation>,
    filters: proto::Filters,
) -> Call {
    Call {
        accept: Some(call::Accept {
            offer_ids,
            operations,
            filters: Some(filters),
        }),
        ..of_type(call::Type::Accept)
    }
}

/// The operation that launches `tasks`.
pub(crate) fn launch(tasks: Vec<proto::TaskInfo>) -> offer::Operation {
    offer::Operation {
        r#type: Some(offer::operation::Type::Launch.into()),
        launch: (!tasks.is_empty()).then_some(offer::operation::Launch { task_infos: tasks }),
        ..offer::Operation::default()
    }
}

pub(crate) fn decline(offer_id: proto::OfferId, filters: proto::Filters) -> Call {
    Call {
        decline: Some(call::Decline {
            offer_ids: vec![offer_id],
            filters: Some(filters),
        }),
        ..of_type(call::Type::Decline)
    }
}

/// An empty list of roles means all of them, and is sent without a body as upstream does.
pub(crate) fn revive(roles: Vec<String>) -> Call {
    Call {
        revive: (!roles.is_empty()).then_some(call::Revive { roles }),
        ..of_type(call::Type::Revive)
    }
}

pub(crate) fn suppress(roles: Vec<String>) -> Call {
    Call {
        suppress: (!roles.is_empty()).then_some(call::Suppress { roles }),
        ..of_type(call::Type::Suppress)
    }
}

pub(crate) fn kill(task_id: proto::TaskId) -> Call {
    Call {
        kill: Some(call::Kill {
            task_id,
            ..call::Kill::default()
        }),
        ..of_type(call::Type::Kill)
    }
}

pub(crate) fn acknowledge(ack: Acknowledgement) -> Call {
    Call {
        acknowledge: Some(call::Acknowledge {
            slave_id: ack.agent_id,
            task_id: ack.task_id,
            uuid: ack.uuid,
        }),
        ..of_type(call::Type::Acknowledge)
    }
}

pub(crate) fn reconcile(statuses: Vec<proto::TaskStatus>) -> Call {
    let task = |status: proto::TaskStatus| call::reconcile::Task {
        task_id: status.task_id,
        slave_id: status.slave_id,
    };
    Call {
        reconcile: Some(call::Reconcile {
            tasks: statuses.into_iter().map(task).collect(),
        }),
        ..of_type(call::Type::Reconcile)
    }
}

pub(crate) fn message(
    executor_id: proto::ExecutorId,
    slave_id: proto::SlaveId,
    data: bytes::Bytes,
) -> Call {
    Call {
        message: Some(call::Message {
            slave_id,
            executor_id,
            data,
        }),
        ..of_type(call::Type::Message)
    }
}

pub(crate) fn request(requests: Vec<proto::Request>) -> Call {
    Call {
        request: Some(call::Request { requests }),
        ..of_type(call::Type::Request)
    }
}

/// The roles of a framework in either form: `roles`, or the single old `role`.
pub(crate) fn roles(framework: &FrameworkInfo) -> Vec<String> {
    if framework.roles.is_empty() {
        vec![framework.role().to_owned()]
    } else {
        framework.roles.clone()
    }
}

/// All tasks that `operations` launch.
pub(crate) fn tasks(operations: &[offer::Operation]) -> impl Iterator<Item = &proto::TaskInfo> {
    operations.iter().flat_map(|operation| {
        let launch = operation
            .launch
            .iter()
            .flat_map(|launch| &launch.task_infos);
        let group = operation
            .launch_group
            .iter()
            .flat_map(|group| &group.task_group.tasks);
        launch.chain(group)
    })
}

/// The agent's address in the `url` of an offer: the path is the id of its process.
pub(crate) fn agent_pid_of_offer(offer: &Offer) -> Option<Upid> {
    let url = offer.url.as_ref()?;
    let id = url.path.as_deref()?.trim_matches('/');
    let ip = url.address.ip.as_deref()?.parse().ok()?;
    let port = u16::try_from(url.address.port).ok()?;
    (!id.is_empty()).then(|| Upid::new(id, std::net::SocketAddrV4::new(ip, port)))
}
