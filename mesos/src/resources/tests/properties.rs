//! Laws of the algebra, on random resources.

use proptest::prelude::*;

use super::*;

/// Random resources whose ranges lie in `0..100` shifted by `port_base`, so that bundles of
/// different bases have no port in common.
fn resource(port_base: u64) -> impl Strategy<Value = Resource> {
    let value = prop_oneof![
        4 => (prop::sample::select(vec!["cpus", "mem", "gpus", "x"]), 1_i64..5_000)
            .prop_map(|(name, millis)| Resource::scalar(name, Scalar::from_millis(millis))),
        2 => (1_i64..5_000).prop_map(|millis| Resource::scalar("disk", Scalar::from_millis(millis))),
        2 => prop::collection::vec((0_u64..90, 0_u64..9), 1..4).prop_map(move |ranges| {
            let ranges = ranges.into_iter().map(|(begin, length)| Range {
                begin: port_base + begin,
                end: port_base + begin + length,
            });
            Resource::new("ports", Value::Ranges(ranges.collect()))
        }),
        1 => prop::collection::btree_set(0_u64..10, 1..4).prop_map(move |items| {
            Resource::set("set", items.iter().map(|item| (port_base + item).to_string()).collect())
        }),
    ];
    (value, 0_u8..4, 0_u8..8, any::<bool>(), any::<bool>()).prop_map(
        |(mut resource, reservation, disk_kind, revocable, allocated)| {
            resource = match reservation {
                1 => resource.with_reservation(Reservation::fixed("a")),
                2 => resource.with_reservation(Reservation::dynamic("a", Some("p".into()))),
                3 => resource
                    .with_reservation(Reservation::fixed("a"))
                    .with_reservation(Reservation::dynamic("a/b", None)),
                _ => resource,
            };
            if revocable {
                resource = resource.with_revocable();
            }
            if allocated {
                resource.allocate("a/b/c");
            }
            if *resource.name() == *"disk" {
                resource = with_disk_kind(resource, disk_kind);
            }
            resource
        },
    )
}

fn with_disk_kind(resource: Resource, kind: u8) -> Resource {
    use source::Type;
    let source = |source_type| Some(source_of(source_type, Some("/a"), None));
    match kind {
        0 => resource.with_disk(disk_info(Some("1"), None)),
        1 => resource.with_disk(disk_info(Some("2"), None)).with_shared(),
        2 => resource.with_disk(disk_info(None, source(Type::Path))),
        3 => resource.with_disk(disk_info(None, source(Type::Mount))),
        4 => resource.with_disk(disk_info(Some("3"), source(Type::Mount))),
        5 => resource.with_disk(disk_info(None, source(Type::Raw))),
        _ => resource,
    }
}

fn resources(port_base: u64) -> impl Strategy<Value = Resources> {
    prop::collection::vec(resource(port_base), 0..10).prop_map(sum)
}

fn plain() -> impl Strategy<Value = Resources> {
    let scalar = (
        prop::sample::select(vec!["cpus", "mem", "x y"]),
        0_i64..i64::MAX / 20_000,
    )
        .prop_map(|(name, millis)| Resource::scalar(name, Scalar::from_millis(millis)));
    let ranges = prop::collection::vec((any::<u64>(), 0_u64..99), 0..9).prop_map(|ranges| {
        let ranges = ranges.into_iter().map(|(begin, length)| Range {
            begin,
            end: begin.saturating_add(length),
        });
        Resource::new("ports", Value::Ranges(ranges.collect()))
    });
    let set = prop::collection::vec("[a-z0-9_.]{1,5}", 0..4)
        .prop_map(|items| Resource::set("set", Set::from_iter(items)));
    prop::collection::vec(prop_oneof![3 => scalar, 1 => ranges, 1 => set], 0..8).prop_map(sum)
}

proptest! {
    #[test]
    fn addition_commutes_and_associates(a in resources(0), b in resources(50), c in resources(0)) {
        prop_assert_eq!(&a + &b, &b + &a);
        prop_assert_eq!(&(&a + &b) + &c, &a + &(&b + &c));
        prop_assert_eq!(&a + &Resources::new(), a);
    }

    #[test]
    fn subtraction_undoes_addition(a in resources(0), b in resources(1_000)) {
        let total = &a + &b;
        prop_assert!(total.contains(&a) && total.contains(&b));
        prop_assert_eq!(&total - &b, a.clone());
        prop_assert_eq!(total.checked_sub(&a), Some(b));
        prop_assert!((&a - &a).is_empty());
    }

    #[test]
    fn containment_is_consistent(a in resources(0), b in resources(0)) {
        prop_assert!(a.contains(&a));
        if let Some(rest) = a.checked_sub(&b) {
            prop_assert_eq!(&rest + &b, a.clone());
            prop_assert!(a.contains(&rest));
        }
        prop_assert_eq!(a == b, a.contains(&b) && b.contains(&a));
        prop_assert!(a.contains_quantities(&a.quantities()));
    }

    #[test]
    fn parts_make_the_whole(a in resources(0)) {
        prop_assert_eq!(&a.reserved(None) + &a.unreserved(), a.clone());
        prop_assert_eq!(&a.revocable() + &a.non_revocable(), a.clone());
        prop_assert_eq!(&a.shared() + &a.non_shared(), a.clone());
        let by_role: Resources = a.reservations().values().sum();
        prop_assert_eq!(by_role, a.reserved(None));
        let quantities = a.unreserved().quantities();
        prop_assert_eq!(&quantities + &a.reserved(None).quantities(), a.quantities());
    }

    #[test]
    fn shrinking_stays_within_target_and_bundle(a in resources(0), b in resources(0)) {
        let target = b.quantities();
        let part = a.scalars().shrink_to_quantities(&target);
        prop_assert!(a.contains(&part), "{} of {}", part, a);
        prop_assert!(target.contains(&part.quantities()), "{} for {}", part, target);
        let limits: ResourceLimits = target.iter().map(|(n, v)| (n.clone(), v)).collect();
        let part = a.shrink_to_limits(&limits);
        prop_assert!(a.contains(&part) && limits.allow(&part.quantities()));
    }

    #[test]
    fn messages_come_back(a in resources(0)) {
        // The count of shared resources is not part of a message.
        let once: Resources = Resources::from_protos(&a.to_protos()).unwrap();
        prop_assert_eq!(Resources::from_protos(&once.to_protos()).unwrap(), once.clone());
        prop_assert_eq!(Resources::from_protos(&once.to_endpoint_protos()).unwrap(), once.clone());
        prop_assert_eq!(once.non_shared(), a.non_shared());
    }

    #[test]
    fn printed_resources_parse(a in plain()) {
        let text = if a.is_empty() { String::new() } else { a.to_string() };
        prop_assert_eq!(Resources::parse(&text, "*"), Ok(a));
    }

    #[test]
    fn scalars_survive_floating_point(millis in -(1_i64 << 51)..(1_i64 << 51)) {
        // Beyond, doubles are too coarse for three decimals.
        let scalar = Scalar::from_millis(millis);
        prop_assert_eq!(Scalar::from_f64(scalar.to_f64()), Ok(scalar));
    }

    #[test]
    fn any_text_is_answered(text in "\\PC*", role in "\\PC{0,4}") {
        let _ = Resources::parse(&text, &role);
        let _ = ResourceQuantities::parse(&text);
    }

    #[test]
    fn nearly_right_text_is_answered(text in "(cpus|mem|p|\\[|\\]|\\{|\\}|\\(|\\)|:|;|,|-|[0-9]| |e|\\*|\")*") {
        if let Ok(resources) = Resources::parse(&text, "*") {
            prop_assert!(resources.iter().all(|resource| !resource.is_empty()));
        }
    }
}

#[test]
fn a_million_operations_lose_nothing() {
    let parts: Vec<Resources> = (1..=1_000)
        .map(|index| sum([Resource::scalar("cpus", amount(f64::from(index) * 0.001))]))
        .collect();
    let start = parse("cpus:1000");
    let mut resources = start.clone();
    for _ in 0..500 {
        for part in &parts {
            resources -= part;
        }
        for part in parts.iter().rev() {
            resources += part;
        }
    }
    assert_eq!(resources, start);
    assert_eq!(resources.cpus(), Some(1000.0));
}
