use super::*;
use mesos::proto;
use mesos::proto::TaskState;

const SECOND: Duration = Duration::from_secs(1);

fn update(task: &str, state: TaskState, uuid: u8) -> StatusUpdate {
    StatusUpdate {
        framework_id: proto::FrameworkId {
            value: "f".to_owned(),
        },
        status: proto::TaskStatus {
            task_id: proto::TaskId {
                value: task.to_owned(),
            },
            state: state.into(),
            ..Default::default()
        },
        uuid: Some(vec![uuid; 16].into()),
        ..Default::default()
    }
}

fn open() -> TaskStatusUpdateManager {
    let mut manager = TaskStatusUpdateManager::paused();
    assert_eq!(manager.resume(), []);
    manager
}

fn acknowledge(
    manager: &mut TaskStatusUpdateManager,
    task: &str,
    uuid: u8,
) -> Result<Acknowledged, StatusUpdateError> {
    let result = manager.acknowledge(
        &FrameworkId::from("f"),
        &TaskId::from(task),
        &vec![uuid; 16].into(),
    );
    manager.sanity_check().unwrap();
    result
}

fn forwarded(forward: Option<Forward>) -> Option<(u8, u64)> {
    let forward = forward?;
    Some((
        forward.update.uuid?.first().copied()?,
        forward.retry_after.as_secs(),
    ))
}

#[test]
fn retries_take_longer_and_longer() {
    let mut manager = open();
    manager
        .update(update("t", TaskState::TaskRunning, 1))
        .unwrap();
    let waits: Vec<u64> = std::iter::from_fn(|| manager.retry(&"f".into(), &"t".into()))
        .take(8)
        .map(|forward| forward.retry_after / u32::try_from(SECOND.as_secs()).unwrap())
        .map(|wait| wait.as_secs())
        .collect();
    assert_eq!(waits, [20, 40, 80, 160, 320, 600, 600, 600]);
    // The next update starts again at the shortest.
    manager
        .update(update("t", TaskState::TaskFinished, 2))
        .unwrap();
    let next = acknowledge(&mut manager, "t", 1).unwrap().next;
    assert_eq!(forwarded(next), Some((2, 10)));
}

#[test]
fn the_order_of_a_task_is_kept_and_others_are_free() {
    let mut manager = open();
    let forward = |accepted| match accepted {
        Ok(Accepted::Forward(forward)) => forwarded(Some(forward)),
        _ => None,
    };
    assert_eq!(
        forward(manager.update(update("a", TaskState::TaskStarting, 1))),
        Some((1, 10))
    );
    assert_eq!(
        manager.update(update("a", TaskState::TaskRunning, 2)),
        Ok(Accepted::Queued)
    );
    assert_eq!(
        forward(manager.update(update("b", TaskState::TaskRunning, 3))),
        Some((3, 10))
    );
    assert_eq!(manager.pending(), 3);
    assert_eq!(
        acknowledge(&mut manager, "a", 2),
        Err(StatusUpdateError::UnexpectedAcknowledgement("a".into()))
    );
    assert_eq!(
        forwarded(acknowledge(&mut manager, "a", 1).unwrap().next),
        Some((2, 10))
    );
    assert_eq!(
        acknowledge(&mut manager, "a", 1),
        Err(StatusUpdateError::DuplicateAcknowledgement("a".into()))
    );
    assert_eq!(
        acknowledge(&mut manager, "a", 2).unwrap(),
        Acknowledged {
            terminal: false,
            next: None
        }
    );
}

#[test]
fn duplicates_have_no_effect() {
    let mut manager = open();
    manager
        .update(update("t", TaskState::TaskRunning, 1))
        .unwrap();
    assert_eq!(
        manager.update(update("t", TaskState::TaskRunning, 1)),
        Ok(Accepted::Duplicate)
    );
    acknowledge(&mut manager, "t", 1).unwrap();
    assert_eq!(
        manager.update(update("t", TaskState::TaskRunning, 1)),
        Ok(Accepted::Duplicate)
    );
    let mut anonymous = update("t", TaskState::TaskRunning, 2);
    anonymous.uuid = None;
    assert_eq!(
        manager.update(anonymous),
        Err(StatusUpdateError::MissingUuid("t".into()))
    );
}

#[test]
fn the_acknowledged_end_ends_the_stream() {
    let mut manager = open();
    manager
        .update(update("t", TaskState::TaskFinished, 1))
        .unwrap();
    manager
        .update(update("t", TaskState::TaskFailed, 2))
        .unwrap();
    assert!(acknowledge(&mut manager, "t", 1).unwrap().terminal);
    assert_eq!(manager.pending(), 0, "what came behind the end is dropped");
    assert!(!manager.has_streams(&"f".into()));
    assert!(matches!(
        acknowledge(&mut manager, "t", 2),
        Err(StatusUpdateError::UnknownTask { .. })
    ));
}

#[test]
fn a_paused_manager_holds_everything_back() {
    let mut manager = TaskStatusUpdateManager::paused();
    assert_eq!(
        manager.update(update("a", TaskState::TaskRunning, 1)),
        Ok(Accepted::Queued)
    );
    assert_eq!(manager.retry(&"f".into(), &"a".into()), None);
    assert_eq!(manager.resume().len(), 1);
    manager
        .update(update("a", TaskState::TaskFinished, 2))
        .unwrap();
    manager.retry(&"f".into(), &"a".into()).unwrap();
    manager.pause();
    assert_eq!(acknowledge(&mut manager, "a", 1).unwrap().next, None);
    let resumed = manager.resume().pop();
    assert_eq!(forwarded(resumed), Some((2, 10)));
}

#[test]
fn a_framework_takes_its_streams_with_it() {
    let mut manager = open();
    manager
        .update(update("t", TaskState::TaskRunning, 1))
        .unwrap();
    assert_eq!(manager.remove_framework(&"f".into()), [TaskId::from("t")]);
    assert_eq!(manager.retry(&"f".into(), &"t".into()), None);
    assert_eq!(manager.remove_framework(&"f".into()), []);
}
