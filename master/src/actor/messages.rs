//! Messages from agents and v0 schedulers.

use bytes::Bytes;
use libprocess::{Context, Upid};
use mesos::decode::{Described, decode};
use mesos::ids::{AgentId, FrameworkId};
use mesos::proto::internal;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::{self, offer};

use super::MasterProcess;
use super::effects::Turn;
use crate::core::effects::Outgoing;
use crate::core::metrics::Counter;
use crate::core::state::Connection;
use crate::core::{Effects, Leadership, Master};

/// Installs the handlers of all messages.
pub(super) fn install(ctx: &mut Context<MasterProcess>) {
    install_agent_messages(ctx);
    install_driver_calls(ctx);
    install_offer_messages(ctx);
    install_task_messages(ctx);
    on(ctx, |_, fx, from, _: internal::AuthenticateMessage| {
        fx.count(Counter::MessagesAuthenticate);
        fx.send(
            from,
            Outgoing::new(&internal::AuthenticationErrorMessage {
                error: Some("No authenticator loaded".to_owned()),
            }),
        );
    });
    on(ctx, |_, fx, from, _: internal::SubmitSchedulerRequest| {
        fx.send(
            from,
            Outgoing::new(&internal::SubmitSchedulerResponse { okay: false }),
        );
    });
}

/// Installs a handler that only runs while the master leads, for messages with all required
/// fields. Others are dropped and counted.
fn on<M: Described>(
    ctx: &mut Context<MasterProcess>,
    handler: impl Fn(&mut Master, &mut Turn<'_>, &Upid, M) + 'static,
) {
    ctx.install_raw(
        M::full_name(),
        move |master: &mut MasterProcess, ctx, from, body: Bytes| {
            let principal = master
                .core
                .framework_of(from)
                .and_then(|id| master.core.state().frameworks.get(id))
                .and_then(|framework| framework.info.principal.clone());
            master.around.metrics.message_received(principal.as_deref());
            if master.leadership() != Leadership::Leading {
                tracing::debug!("Dropping '{}' from {from}: not leading", M::NAME);
                master.around.metrics.count(Counter::DroppedMessages);
                return;
            }
            match decode::<M>(&body) {
                Ok(message) => master.turn(ctx, |core, fx| handler(core, fx, from, message)),
                Err(error) => {
                    tracing::warn!("Dropping '{}' from {from}: {error}", M::NAME);
                    master.around.metrics.count(Counter::InvalidMessages);
                }
            }
            master
                .around
                .metrics
                .message_processed(principal.as_deref());
        },
    );
}

fn install_agent_messages(ctx: &mut Context<MasterProcess>) {
    on(ctx, |core, fx, from, message| {
        core.on_register_agent(from, message, fx);
    });
    on(ctx, |core, fx, from, message| {
        core.on_reregister_agent(from, message, fx);
    });
    on(
        ctx,
        |core, fx, from, message: internal::UnregisterSlaveMessage| {
            core.on_unregister_agent(from, &AgentId::from(&message.slave_id), fx);
        },
    );
    on(ctx, |core, fx, _, message| {
        core.on_update_agent(message, fx)
    });
    on(ctx, |core, fx, _, message| {
        core.on_status_update(message, fx);
    });
    on(ctx, |core, fx, _, message| {
        core.on_executor_message(message, fx);
    });
    on(
        ctx,
        |core, fx, _, message: internal::ExitedExecutorMessage| {
            core.on_exited_executor(&message, fx);
        },
    );
    on(ctx, |core, fx, _, message| {
        core.on_operation_update(message, fx);
    });
}

fn install_driver_calls(ctx: &mut Context<MasterProcess>) {
    on(ctx, |core, fx, from, call: Call| {
        core.on_driver_call(from, call, fx);
    });
    on(
        ctx,
        |core, fx, from, message: internal::RegisterFrameworkMessage| {
            let id = message.framework.id.as_ref();
            if id.is_some_and(|id| !id.value.is_empty()) {
                refuse(fx, from, "Registering with 'id' already set");
                return;
            }
            subscribe(core, fx, from, message.framework, false);
        },
    );
    on(
        ctx,
        |core, fx, from, message: internal::ReregisterFrameworkMessage| {
            let id = message.framework.id.as_ref();
            if id.is_none_or(|id| id.value.is_empty()) {
                refuse(fx, from, "Re-registering without an 'id'");
                return;
            }
            subscribe(core, fx, from, message.framework, message.failover);
        },
    );
    on(
        ctx,
        |core, fx, from, message: internal::UnregisterFrameworkMessage| {
            make_call(
                core,
                fx,
                from,
                message.framework_id,
                call::Type::Teardown,
                |_| {},
            );
        },
    );
    on(
        ctx,
        |core, fx, from, message: internal::DeactivateFrameworkMessage| {
            core.on_deactivate_framework(from, &FrameworkId::from(&message.framework_id), fx);
        },
    );
}

/// The messages about offers of drivers older than [`Call`], each of which means a call.
fn install_offer_messages(ctx: &mut Context<MasterProcess>) {
    on(
        ctx,
        |core, fx, from, message: internal::ResourceRequestMessage| {
            let requests = message.requests;
            make_call(
                core,
                fx,
                from,
                message.framework_id,
                call::Type::Request,
                |call| {
                    call.request = Some(call::Request { requests });
                },
            );
        },
    );
    on(
        ctx,
        |core, fx, from, message: internal::LaunchTasksMessage| {
            launch_tasks(core, fx, from, message);
        },
    );
    on(
        ctx,
        |core, fx, from, message: internal::ReviveOffersMessage| {
            let roles = message.roles;
            make_call(
                core,
                fx,
                from,
                message.framework_id,
                call::Type::Revive,
                |call| {
                    call.revive = Some(call::Revive { roles });
                },
            );
        },
    );
}

/// The messages about tasks of drivers older than [`Call`], each of which means a call.
fn install_task_messages(ctx: &mut Context<MasterProcess>) {
    on(ctx, |core, fx, from, message: internal::KillTaskMessage| {
        let kill = call::Kill {
            task_id: message.task_id,
            slave_id: None,
            kill_policy: None,
        };
        make_call(
            core,
            fx,
            from,
            message.framework_id,
            call::Type::Kill,
            |call| {
                call.kill = Some(kill);
            },
        );
    });
    on(
        ctx,
        |core, fx, from, message: internal::StatusUpdateAcknowledgementMessage| {
            let acknowledge = call::Acknowledge {
                slave_id: message.slave_id,
                task_id: message.task_id,
                uuid: message.uuid,
            };
            make_call(
                core,
                fx,
                from,
                message.framework_id,
                call::Type::Acknowledge,
                |call| {
                    call.acknowledge = Some(acknowledge);
                },
            );
        },
    );
    on(
        ctx,
        |core, fx, from, message: internal::FrameworkToExecutorMessage| {
            let forwarded = call::Message {
                slave_id: message.slave_id,
                executor_id: message.executor_id,
                data: message.data,
            };
            make_call(
                core,
                fx,
                from,
                message.framework_id,
                call::Type::Message,
                |call| {
                    call.message = Some(forwarded);
                },
            );
        },
    );
    on(
        ctx,
        |core, fx, from, message: internal::ReconcileTasksMessage| {
            let tasks = message
                .statuses
                .into_iter()
                .map(|status| call::reconcile::Task {
                    task_id: status.task_id,
                    slave_id: status.slave_id,
                })
                .collect();
            make_call(
                core,
                fx,
                from,
                message.framework_id,
                call::Type::Reconcile,
                |call| {
                    call.reconcile = Some(call::Reconcile { tasks });
                },
            );
        },
    );
}

fn refuse(fx: &mut Turn<'_>, to: &Upid, message: &str) {
    let message = internal::FrameworkErrorMessage {
        message: message.to_owned(),
    };
    fx.send(to, Outgoing::new(&message));
}

fn subscribe(
    core: &mut Master,
    fx: &mut Turn<'_>,
    from: &Upid,
    framework_info: proto::FrameworkInfo,
    force: bool,
) {
    let subscribe = call::Subscribe {
        framework_info,
        force: Some(force),
        suppressed_roles: Vec::new(),
        offer_constraints: None,
    };
    core.on_subscribe(Connection::Pid(from.clone()), subscribe, fx);
}

fn make_call(
    core: &mut Master,
    fx: &mut Turn<'_>,
    from: &Upid,
    framework_id: proto::FrameworkId,
    kind: call::Type,
    fill: impl FnOnce(&mut Call),
) {
    let mut call = Call {
        framework_id: Some(framework_id),
        r#type: Some(kind as i32),
        ..Default::default()
    };
    fill(&mut call);
    core.on_driver_call(from, call, fx);
}

/// Launching no tasks declines the offers.
fn launch_tasks(
    core: &mut Master,
    fx: &mut Turn<'_>,
    from: &Upid,
    message: internal::LaunchTasksMessage,
) {
    let (offer_ids, filters) = (message.offer_ids, Some(message.filters));
    if message.tasks.is_empty() {
        make_call(
            core,
            fx,
            from,
            message.framework_id,
            call::Type::Decline,
            |call| {
                call.decline = Some(call::Decline { offer_ids, filters });
            },
        );
        return;
    }
    let launch = offer::Operation {
        r#type: Some(offer::operation::Type::Launch as i32),
        launch: Some(offer::operation::Launch {
            task_infos: message.tasks,
        }),
        ..Default::default()
    };
    make_call(
        core,
        fx,
        from,
        message.framework_id,
        call::Type::Accept,
        |call| {
            call.accept = Some(call::Accept {
                offer_ids,
                operations: vec![launch],
                filters,
            });
        },
    );
}
