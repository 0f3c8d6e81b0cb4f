//! Laws that hold after any sequence of events.
//!
//! Random events are told to the allocator and to the plain [`reference`](super::reference); both
//! must accept and refuse the same, and hand out the same. Independently of the reference, what is
//! handed out must obey the rules in `laws`.
//!
//! `ALLOCATOR_CASES` sets how many sequences are tried.

mod conservation;
mod convergence;
mod generate;
mod laws;
mod world;

use proptest::prelude::*;

use super::reference::Policy;
use generate::{Event, event, quota_event};
use world::World;

/// How many sequences of events of each kind are tried unless `ALLOCATOR_CASES` says otherwise.
const CASES: u32 = 500;

/// The longest sequence.
const EVENTS_MAX: usize = 60;

/// What a test tries that tries so many cases by default.
fn config(cases: u32) -> ProptestConfig {
    let wanted = std::env::var("ALLOCATOR_CASES").ok();
    let wanted = wanted.and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: wanted.unwrap_or(cases),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    // Fairness is what most clusters want.
    prop_oneof![
        4 => Just(Policy::Drf),
        1 => Just(Policy::Random),
        1 => Just(Policy::Fifo),
        1 => Just(Policy::Drc),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(Policy::ALL.map(|(policy, _)| policy).to_vec())
}

proptest! {
    #![proptest_config(config(CASES))]

    #[test]
    fn agrees_with_the_reference(
        roles in policy(),
        frameworks in policy(),
        events in prop::collection::vec(event(), 1..EVENTS_MAX),
    ) {
        tell_all(roles, frameworks, &events);
    }

}

proptest! {
    #![proptest_config(config(2 * CASES))]

    #[test]
    fn agrees_with_the_reference_under_quota(
        roles in any_policy(),
        frameworks in any_policy(),
        events in prop::collection::vec(quota_event(), 1..EVENTS_MAX),
    ) {
        tell_all(roles, frameworks, &events);
    }
}

fn tell_all(roles: Policy, frameworks: Policy, events: &[Event]) {
    let mut world = World::new(roles, frameworks);
    for event in events {
        world.tell(event);
    }
}
