//! Unavailable agents and inverse offers.

use super::*;
use proto::allocator::{InverseOfferStatus, inverse_offer_status::Status};

fn unavailability(nanoseconds: i64) -> proto::Unavailability {
    proto::Unavailability {
        start: proto::TimeInfo { nanoseconds },
        duration: None,
    }
}

fn status(framework: &str, status: Status) -> InverseOfferStatus {
    InverseOfferStatus {
        status: status.into(),
        framework_id: proto::FrameworkId {
            value: framework.into(),
        },
        timestamp: proto::TimeInfo { nanoseconds: 1 },
    }
}

impl Env {
    /// Who is asked to leave in one run, one second later.
    fn asked(&mut self) -> Vec<String> {
        self.now += Duration::from_secs(1);
        let round = self.allocator.allocate(self.now);
        let inverse = round.inverse_offers.iter();
        inverse
            .map(|offer| format!("{} {}", offer.framework, offer.agent))
            .collect()
    }

    #[track_caller]
    fn answer(&mut self, answer: Option<Status>, refuse_seconds: Option<f64>) {
        let filters = refuse_seconds.map(|seconds| proto::Filters {
            refuse_seconds: Some(seconds),
        });
        let (now, answer) = (self.now, answer.map(|answer| status("f", answer)));
        self.tell(|a| {
            a.update_inverse_offer(&"one".into(), &"f".into(), answer, filters.as_ref(), now)
        });
    }

    fn statuses(&self) -> usize {
        self.allocator
            .inverse_offer_statuses()
            .values()
            .map(BTreeMap::len)
            .sum()
    }
}

/// Framework `f` holds agent `one`, which is to be unavailable; it has been asked to leave.
fn asked_to_leave() -> Env {
    let mut env = Env::new();
    env.framework("f", &["a"]);
    env.framework("idle", &["a"]);
    env.agent("one", "cpus:4");
    env.agent("two", "cpus:4");
    env.tell(|a| a.deactivate_framework(&"idle".into()));
    env.run();
    env.tell(|a| a.update_unavailability(&"one".into(), Some(unavailability(5))));
    assert!(env.allocator.run_requested());
    assert_eq!(env.asked(), ["f one"]);
    env
}

#[test]
fn inverse_offers_are_made_once() {
    let mut env = asked_to_leave();
    assert!(env.asked().is_empty());
    // Taken back without an answer: asked again, nothing noted.
    env.answer(None, None);
    assert_eq!((env.asked().len(), env.statuses()), (1, 0));
    env.answer(Some(Status::Accept), None);
    assert_eq!((env.asked().len(), env.statuses()), (1, 1));
    // A second answer to the same inverse offer is forgotten.
    env.answer(Some(Status::Decline), Some(100.0));
    env.answer(Some(Status::Accept), None);
    let statuses = env.allocator.inverse_offer_statuses();
    assert_eq!(statuses["one"]["f"].status(), Status::Decline);
    let now = env.now;
    let unknown = Some(status("f", Status::Unknown));
    let error =
        env.refused(|a| a.update_inverse_offer(&"one".into(), &"f".into(), unknown, None, now));
    assert!(error.contains("neither yes nor no"), "{error}");
}

#[test]
fn filters_of_inverse_offers_end_with_their_time() {
    for (refuse_seconds, expected) in [(None, 1), (Some(0.0), 1), (Some(0.5), 1), (Some(3.0), 3)] {
        let mut env = asked_to_leave();
        env.answer(Some(Status::Decline), refuse_seconds);
        let runs = (1..=9).find(|_| !env.asked().is_empty());
        assert_eq!(runs, Some(expected), "{refuse_seconds:?}");
    }
}

#[test]
fn what_ends_filters_of_inverse_offers() {
    type Event<'a> = &'a dyn Fn(&mut Allocator) -> Result<(), AllocatorError>;
    let (info, options) = (framework_info(&["a"], &[]), FrameworkOptions::default);
    let table: [(&str, Event<'_>, usize, usize); 6] = [
        ("revive", &|a| a.revive_offers(&"f".into(), &set(&[])), 1, 1),
        (
            "suppress",
            &|a| a.suppress_offers(&"f".into(), &set(&[])),
            0,
            1,
        ),
        (
            "update",
            &|a| a.update_framework(&"f".into(), &info, options()),
            1,
            1,
        ),
        (
            "reconnect",
            &|a| {
                a.deactivate_framework(&"f".into())?;
                a.activate_framework(&"f".into())
            },
            1,
            1,
        ),
        (
            "another time",
            &|a| a.update_unavailability(&"one".into(), Some(unavailability(6))),
            1,
            0,
        ),
        (
            "no maintenance",
            &|a| a.update_unavailability(&"one".into(), None),
            0,
            0,
        ),
    ];
    for (name, event, asked, statuses) in table {
        let mut env = asked_to_leave();
        env.answer(Some(Status::Decline), Some(100.0));
        env.tell(event);
        assert_eq!(
            (env.asked().len(), env.statuses()),
            (asked, statuses),
            "{name}"
        );
    }
}

#[test]
fn who_is_asked() {
    // Also on agents that are not offered, and in suppressed roles.
    let mut env = asked_to_leave();
    env.answer(None, None);
    env.allocator.update_whitelist(Some(set(&[])));
    env.tell(|a| a.deactivate_agent(&"one".into()));
    env.tell(|a| a.suppress_offers(&"f".into(), &set(&[])));
    assert_eq!(env.asked(), ["f one"]);
    // Not who is not connected, or holds nothing.
    env.answer(None, None);
    env.tell(|a| a.deactivate_framework(&"f".into()));
    assert!(env.asked().is_empty());
    env.tell(|a| a.activate_framework(&"f".into()));
    env.decline("f", "one", None);
    assert!(env.asked().is_empty());
    env.tell(|a| a.remove_framework(&"f".into()));
    env.tell(|a| a.remove_agent(&"one".into()));
    assert!(env.asked().is_empty());
}
