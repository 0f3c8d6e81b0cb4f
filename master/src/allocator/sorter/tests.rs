//! The order of clients after any sequence of changes.

use std::sync::atomic::{AtomicUsize, Ordering};

use mesos::resources::Scalar;
use proptest::prelude::*;

use super::super::lots::mix;
use super::super::policy::{Basis, Rank, policy};
use super::super::slots::Slots;
use super::*;

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/d", "e", "f/g", "f/g/h", "i"];

/// A client, by its index in `PATHS`, and what happens to it.
#[derive(Clone, Debug)]
enum Step {
    Add,
    Remove,
    SetActive(bool),
    HandOut(i64, i64),
    TakeBack(i64),
    Weight(u8),
    Total(i64, i64),
    Order,
    Demand(i64),
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        2 => Just(Step::Add),
        1 => Just(Step::Remove),
        3 => any::<bool>().prop_map(Step::SetActive),
        6 => (0_i64..100, 0_i64..100).prop_map(|(cpus, mem)| Step::HandOut(cpus, mem)),
        3 => (0_i64..100).prop_map(Step::TakeBack),
        1 => (1_u8..5).prop_map(Step::Weight),
        3 => (0_i64..1_000, 0_i64..1_000).prop_map(|(cpus, mem)| Step::Total(cpus, mem)),
        3 => Just(Step::Order),
        2 => (0_i64..100).prop_map(Step::Demand),
    ];
    (0..PATHS.len(), step)
}

fn amounts(cpus: i64, mem: i64) -> ResourceQuantities {
    [("cpus", cpus), ("mem", mem)]
        .map(|(name, millis)| (name, Scalar::from_millis(millis)))
        .into_iter()
        .collect()
}

fn cpus(millis: i64) -> ResourceQuantities {
    amounts(millis, 0)
}

fn order(sorter: &mut Sorter<()>, capacity: &Capacity) -> Vec<Key<()>> {
    let mut walk = sorter.begin(capacity, 42);
    std::iter::from_fn(|| sorter.next(&mut walk, capacity)).collect()
}

/// The order by ranks computed anew.
fn full_order(sorter: &Sorter<()>, capacity: &Capacity, parent: u32) -> Vec<Key<()>> {
    let children = sorter.children(parent).unwrap();
    let mut nodes: Vec<u32> = children.active().collect();
    nodes.sort_by(|left, right| {
        let rank = |index| sorter.real_rank(index, capacity).unwrap();
        let name = |index| sorter.node(index).unwrap().name();
        let by_rank = rank(*left).cmp(&rank(*right));
        by_rank.then_with(|| name(*left).cmp(name(*right)))
    });
    let below = |index: u32| match sorter.node(index).unwrap().client() {
        Some(client) => vec![client],
        None => full_order(sorter, capacity, index),
    };
    nodes.into_iter().flat_map(below).collect()
}

/// Every node is in the list where it belongs.
fn check_lists(sorter: &Sorter<()>, parent: u32) {
    let children = sorter.children(parent).unwrap();
    for index in children.active().chain(children.inactive.iter().copied()) {
        let node = sorter.node(index).unwrap();
        assert_eq!(node.parent, parent);
        assert_eq!(node.is_active(), !children.inactive.contains(&index));
        if node.client().is_none() {
            assert!(!sorter.children(index).unwrap().is_empty());
            check_lists(sorter, index);
        }
    }
}

/// What the active leaves below a node want, and when the first of them came.
fn check_wishes(sorter: &Sorter<()>, index: u32) -> (ResourceQuantities, u64) {
    let node = sorter.node(index);
    if let Some(leaf) = node.filter(|node| node.client().is_some()) {
        let demand = leaf.demand.as_deref().cloned();
        return (demand.unwrap_or_default(), leaf.registered);
    }
    let (mut demand, mut first) = (ResourceQuantities::new(), NEVER);
    for child in sorter.children(index).unwrap().active() {
        let (wanted, registered) = check_wishes(sorter, child);
        demand += &wanted;
        first = first.min(registered);
    }
    let known = node.map_or(&sorter.demand, |node| &node.demand);
    assert_eq!(known.as_deref().cloned().unwrap_or_default(), demand);
    if let Some(node) = node {
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
        capacity.set(amounts(1_000, 1_000));
        let mut present = [false; PATHS.len()];
        for (index, step) in steps {
            let (key, path) = (keys[index], PATHS[index]);
            match step {
                Step::Add => sorter.add(key, &path.into(), index as u64 * 7 % 10),
                Step::Demand(millis) => sorter.set_demand(key, Some(&cpus(millis))),
                Step::Remove => sorter.remove(key),
                Step::SetActive(active) => sorter.set_active(key, active),
                Step::HandOut(cpus, mem) => sorter.hand_out(key, &amounts(cpus, mem)),
                Step::TakeBack(millis) => {
                    let held = sorter.held(key).map_or(Scalar::ZERO, |held| held.get("cpus"));
                    let back = Scalar::from_millis(millis).min(held);
                    sorter.take_back(key, &cpus(back.millis()));
                }
                Step::Weight(weight) => sorter.set_weight(path, f64::from(weight)),
                Step::Total(cpus, mem) => capacity.set(amounts(cpus, mem)),
                Step::Order => {
                    let incremental = order(&mut sorter, &capacity);
                    if sorter.policy.draws_lots() {
                        sorter.lots = None;
                        prop_assert_eq!(incremental, order(&mut sorter, &capacity));
                    } else {
                        prop_assert_eq!(incremental, full_order(&sorter, &capacity, ROOT));
                    }
                    check_wishes(&sorter, ROOT);
                    check_lists(&sorter, ROOT);
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
        let tree = sorter.tree.as_ref().unwrap();
        prop_assert!(tree.paths.is_empty() && tree.held.is_empty() && sorter.top.is_empty());
        prop_assert!(order(&mut sorter, &capacity).is_empty());
        prop_assert!(sorter.nodes.iter().all(|node| matches!(node.kind, Kind::Free(_))));
    }
}

/// [`Drf`] that counts for how many clients it is asked.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl SortPolicy for Counting {
    fn rank(&self, client: &Client<'_>) -> Rank {
        self.0.fetch_add(1, Ordering::Relaxed);
        Drf.rank(client)
    }

    fn basis(&self) -> Basis {
        Basis::DominantShare
    }
}

/// So many clients that hold what `held` says of each, sorted once.
fn sorted(held: impl Fn(u64) -> (i64, i64)) -> (Arc<Counting>, Sorter<()>, Capacity) {
    let policy = Arc::new(Counting::default());
    let mut slots = Slots::<String, ()>::new();
    let mut sorter = Sorter::flat(policy.clone());
    let mut capacity = Capacity::default();
    capacity.set(amounts(1_000_000, 1_000_000));
    for index in 0..500_u64 {
        let path = format!("client-{index}");
        let key = slots.insert(path.clone(), ());
        sorter.add(key, &path.as_str().into(), index);
        sorter.set_active(key, true);
        let (cpus, mem) = held(index);
        sorter.hand_out(key, &amounts(cpus, mem));
    }
    let expected = full_order(&sorter, &capacity, ROOT);
    assert_eq!(order(&mut sorter, &capacity), expected);
    (policy, sorter, capacity)
}

#[test]
fn the_last_client_that_is_left_is_in_order() {
    let mut slots = Slots::<&str, ()>::new();
    let (mut sorter, capacity) = (Sorter::flat(policy("drf").unwrap()), Capacity::default());
    let keys = ["one", "two"].map(|path| {
        let key = slots.insert(path, ());
        sorter.add(key, &path.into(), 0);
        sorter.set_active(key, true);
        key
    });
    assert_eq!(order(&mut sorter, &capacity), keys);
    sorter.remove(keys[0]);
    sorter.set_active(keys[1], false);
    assert_eq!(order(&mut sorter, &capacity), []);
    sorter.set_active(keys[1], true);
    assert_eq!(order(&mut sorter, &capacity), [keys[1]]);
}

#[test]
fn a_change_of_the_capacity_keeps_the_order_right() {
    let random = |index: u64, bound: u64| (mix(7, index) % bound) as i64;
    let several = |index| (random(index, 50), random(index + 1_000, 50));
    // Both shares of all clients are equal at first.
    let equal = |index| (random(index, 5), random(index, 5));
    for (held, repeats) in [(&several as &dyn Fn(u64) -> (i64, i64), 1), (&equal, 40)] {
        let (_, mut sorter, mut capacity) = sorted(held);
        for version in 0..20 {
            let (cpus, mem) = (random(version, 1_000), random(version + 50, 1_000));
            capacity.set(amounts(1_000 + cpus, 1_000 + mem));
            for _ in 0..repeats {
                let expected = full_order(&sorter, &capacity, ROOT);
                assert_eq!(order(&mut sorter, &capacity), expected);
            }
            check_lists(&sorter, ROOT);
        }
    }
}

#[test]
fn a_change_of_the_capacity_costs_little() {
    let different = |index: u64| (index as i64 * 10, (500 - index as i64) * 9);
    let equal = |_| (100, 50);
    let nothing = |_| (0, 0);
    for held in [&different as &dyn Fn(u64) -> (i64, i64), &equal, &nothing] {
        let (policy, mut sorter, mut capacity) = sorted(held);
        for more in 1..100 {
            capacity.set(amounts(1_000_000 + 7 * more, 1_000_000 + 5 * more));
            let before = policy.0.load(Ordering::Relaxed);
            let mut walk = sorter.begin(&capacity, 0);
            assert!(sorter.next(&mut walk, &capacity).is_some());
            let asked = policy.0.load(Ordering::Relaxed) - before;
            assert!(asked <= 4, "{asked} clients were looked at");
        }
    }
}
