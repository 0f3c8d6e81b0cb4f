//! The order of clients after any sequence of changes.

use mesos::resources::Scalar;
use proptest::prelude::*;

use super::super::policy::policy;
use super::super::slots::Slots;
use super::*;

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/d", "e", "f/g", "f/g/h", "i"];

/// A client, by its index in `PATHS`, and what happens to it.
#[derive(Clone, Debug)]
enum Step {
    Add,
    Remove,
    SetActive(bool),
    HandOut(i64),
    TakeBack(i64),
    Weight(u8),
    Total(i64),
    Order,
    Demand(i64),
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        2 => Just(Step::Add),
        1 => Just(Step::Remove),
        3 => any::<bool>().prop_map(Step::SetActive),
        6 => (0_i64..100).prop_map(Step::HandOut),
        3 => (0_i64..100).prop_map(Step::TakeBack),
        1 => (1_u8..5).prop_map(Step::Weight),
        1 => (0_i64..1_000).prop_map(Step::Total),
        3 => Just(Step::Order),
        2 => (0_i64..100).prop_map(Step::Demand),
    ];
    (0..PATHS.len(), step)
}

fn cpus(millis: i64) -> ResourceQuantities {
    [("cpus", Scalar::from_millis(millis))]
        .into_iter()
        .collect()
}

fn order(sorter: &mut Sorter<()>, capacity: &Capacity) -> Vec<Key<()>> {
    let mut walk = sorter.begin(capacity, 42);
    std::iter::from_fn(|| sorter.next(&mut walk)).collect()
}

/// What the active leaves below a node want, and when the first of them came.
fn check_wishes(sorter: &Sorter<()>, index: u32) -> (ResourceQuantities, u64) {
    let node = sorter.node(index).unwrap();
    if matches!(node.kind, Kind::Leaf { .. }) {
        let demand = node.demand.as_deref().cloned();
        return (demand.unwrap_or_default(), node.registered);
    }
    let (mut demand, mut first) = (ResourceQuantities::new(), NEVER);
    for child in &node.active {
        let (wanted, registered) = check_wishes(sorter, *child);
        demand += &wanted;
        first = first.min(registered);
    }
    assert_eq!(node.demand.as_deref().cloned().unwrap_or_default(), demand);
    if index != ROOT {
        assert_eq!(node.registered, first);
    }
    (demand, first)
}

proptest! {
    /// Whatever changed since the last order, moving what changed gives the same order as
    /// sorting everything.
    #[test]
    fn incremental_order_is_the_full_order(
        name in prop::sample::select(vec!["drf", "random", "fifo", "drc"]),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut slots = Slots::<&str, ()>::new();
        let keys = PATHS.map(|path| slots.insert(path, ()));
        let (mut sorter, mut capacity) =
            (Sorter::hierarchical(policy(name).unwrap()), Capacity::default());
        capacity.set(cpus(1_000));
        let mut present = [false; PATHS.len()];
        for (index, step) in steps {
            let (key, path) = (keys[index], PATHS[index]);
            match step {
                Step::Add => sorter.add(key, &path.into(), index as u64 * 7 % 10),
                Step::Demand(millis) => sorter.set_demand(key, Some(&cpus(millis))),
                Step::Remove => sorter.remove(key),
                Step::SetActive(active) => sorter.set_active(key, active),
                Step::HandOut(millis) => sorter.hand_out(key, &cpus(millis)),
                Step::TakeBack(millis) => {
                    let held = sorter.held(key).map_or(Scalar::ZERO, |held| held.get("cpus"));
                    let back = Scalar::from_millis(millis).min(held);
                    sorter.take_back(key, &cpus(back.millis()));
                }
                Step::Weight(weight) => sorter.set_weight(path, f64::from(weight)),
                Step::Total(millis) => capacity.set(cpus(millis)),
                Step::Order => {
                    let incremental = order(&mut sorter, &capacity);
                    sorter.version = None;
                    sorter.lots = None;
                    prop_assert_eq!(incremental, order(&mut sorter, &capacity));
                    check_wishes(&sorter, ROOT);
                }
            }
            present[index] = sorter.contains(key);
            prop_assert_eq!(sorter.len(), present.iter().filter(|there| **there).count());
            let held: i64 = keys.iter().filter_map(|key| sorter.held(*key))
                .map(|held| held.get("cpus").millis()).sum();
            let root = sorter.held_by_all().unwrap().get("cpus").millis();
            prop_assert_eq!(root, held, "the root holds what all clients hold");
        }
        for (index, key) in keys.into_iter().enumerate() {
            if present[index] {
                sorter.remove(key);
            }
        }
        prop_assert!(sorter.paths.is_empty() && order(&mut sorter, &capacity).is_empty());
        prop_assert_eq!(sorter.nodes.len(), sorter.free.len() + 1);
    }
}
