//! Sums, differences, containment and parts, by examples.

use super::*;

/// `left + right`, `left - right`, and whether `left` contains `right`.
#[track_caller]
fn check(left: &Resources, right: &Resources, total: &str, rest: &str, contained: bool) {
    assert_eq!((left + right).to_string(), total, "{left} + {right}");
    assert_eq!((left - right).to_string(), rest, "{left} - {right}");
    assert_eq!(left.contains(right), contained, "{left} contains {right}");
    assert_eq!(left.checked_sub(right).is_some(), contained);
}

#[track_caller]
fn check_text(left: &str, right: &str, total: &str, rest: &str, contained: bool) {
    check(&parse(left), &parse(right), total, rest, contained);
}

#[test]
fn plain_values() {
    check_text("cpus:1", "cpus:2", "cpus:3", "{}", false);
    check_text("cpus:2", "cpus:1", "cpus:3", "cpus:1", true);
    check_text("cpus:2", "cpus:2", "cpus:4", "{}", true);
    check_text("cpus:2", "", "cpus:2", "cpus:2", true);
    check_text("", "cpus:2", "cpus:2", "{}", false);
    check_text("cpus:2", "mem:1", "cpus:2; mem:1", "cpus:2", false);
    check_text("cpus:0.1", "cpus:0.2", "cpus:0.3", "{}", false);
    check_text("cpus:0.3", "cpus:0.1", "cpus:0.4", "cpus:0.2", true);
    check_text("cpus:1", "cpus:1.0004", "cpus:2", "{}", true);
    check_text(
        "ports:[1-10,20-30]",
        "ports:[5-25]",
        "ports:[1-30]",
        "ports:[1-4, 26-30]",
        false,
    );
    check_text(
        "ports:[1-10]",
        "ports:[2-3]",
        "ports:[1-10]",
        "ports:[1-1, 4-10]",
        true,
    );
    check_text(
        "disks:{a,b}",
        "disks:{b}",
        "disks:{a, b}",
        "disks:{a}",
        true,
    );
    check_text(
        "disks:{a,b}",
        "disks:{b,c}",
        "disks:{a, b, c}",
        "disks:{a}",
        false,
    );
}

#[test]
fn kinds_do_not_mix() {
    check_text(
        "cpus(a):1",
        "cpus:1",
        "cpus(reservations: [(STATIC,a)]):1; cpus:1",
        "cpus(reservations: [(STATIC,a)]):1",
        false,
    );
    let unreserved = parse("cpus:1");
    let kinds = [
        Resource::scalar("cpus", amount(1.0)).with_revocable(),
        Resource::scalar("cpus", amount(1.0)).with_allocation("*"),
        Resource::scalar("cpus", amount(1.0)).with_provider("p"),
        Resource::scalar("cpus", amount(1.0)).with_reservation(Reservation::dynamic("a", None)),
        Resource::set("cpus", Set::from_iter(["1"])),
    ];
    for kind in kinds {
        let resources = sum([kind]);
        assert!(!unreserved.contains(&resources) && !resources.contains(&unreserved));
        assert_eq!((&unreserved + &resources).len(), 2, "{resources}");
        assert_eq!(&(&unreserved + &resources) - &resources, unreserved);
    }
}

#[test]
fn reservations_differ_in_every_part() {
    let reserved = |reservation: Reservation| {
        sum([Resource::scalar("cpus", amount(1.0)).with_reservation(reservation)])
    };
    let labels = |value: &str| proto::Labels {
        labels: vec![proto::Label {
            key: "k".into(),
            value: Some(value.into()),
        }],
    };
    let principal = Some("p".to_owned());
    let kinds = [
        reserved(Reservation::fixed("a")),
        reserved(Reservation::fixed("a/b")),
        reserved(Reservation::dynamic("a", None)),
        reserved(Reservation::dynamic("a", principal.clone())),
        reserved(Reservation {
            labels: Some(labels("1")),
            ..Reservation::dynamic("a", principal.clone())
        }),
        reserved(Reservation {
            labels: Some(labels("2")),
            ..Reservation::dynamic("a", principal)
        }),
        reserved(Reservation::fixed("a")).push_reservation(&Reservation::dynamic("a/b", None)),
    ];
    for (i, left) in kinds.iter().enumerate() {
        for (j, right) in kinds.iter().enumerate() {
            assert_eq!(left.contains(right), i == j, "{left} and {right}");
            assert_eq!((left + right).len(), if i == j { 1 } else { 2 });
        }
    }
    let all: Resources = kinds.iter().sum();
    assert_eq!(all.reservations().len(), 2);
    assert_eq!(all.reserved(Some("a/b")).cpus(), Some(2.0));
    assert_eq!(all.reserved_to_subtree("a").cpus(), Some(7.0));
    assert_eq!(all.allocatable_to("a").cpus(), Some(5.0));
    assert_eq!(all.allocatable_to("a/b/c").cpus(), Some(7.0));
    assert_eq!(all.to_unreserved(), parse("cpus:7"));
}

#[test]
fn volumes_are_things() {
    let (one, other) = (sum([volume("1", 5.0)]), sum([volume("2", 5.0)]));
    assert!(one.contains(&one) && !one.contains(&other));
    let both = &one + &other;
    assert_eq!(both.len(), 2);
    assert_eq!(&both - &one, other);
    let twice = &one + &one;
    assert_eq!(twice.len(), 2);
    assert!(twice.contains(&one) && !one.contains(&twice));
    let smaller = sum([volume("1", 4.0)]);
    assert!(!one.contains(&smaller));
    assert_eq!(&one - &smaller, one);
    assert_eq!(both.disk(), Some(10.0));
    assert_eq!(both.persistent_volumes(), both);

    let mut elsewhere = disk_info(Some("1"), None);
    elsewhere.volume = None;
    let unmounted = sum([volume("1", 5.0).with_disk(elsewhere)]);
    assert_eq!(one, unmounted, "how a volume is mounted does not count");
}

#[test]
fn disks_by_source() {
    use source::Type;
    let on = |source| disk(5.0).with_disk(disk_info(None, Some(source)));
    // Source, whether it can be joined and divided.
    let table = [
        (source_of(Type::Path, Some("/a"), None), true),
        (source_of(Type::Mount, Some("/a"), None), false),
        (source_of(Type::Block, None, Some("id")), false),
        (source_of(Type::Raw, None, None), true),
        (source_of(Type::Raw, None, Some("id")), false),
    ];
    for (source, divisible) in table {
        let whole = sum([on(source.clone())]);
        let part = sum([on(source.clone()).with_value(Value::Scalar(amount(2.0)))]);
        assert!(whole.contains(&whole), "{whole}");
        assert_eq!(whole.contains(&part), divisible, "{whole} contains {part}");
        assert_eq!((&whole + &whole).len(), if divisible { 1 } else { 2 });
        if !divisible {
            assert!(!whole.contains(&(&whole + &whole)));
        }
        assert_eq!((&whole - &whole).to_string(), "{}");
        let mut cut = on(source);
        assert_eq!(cut.shrink(amount(1.0)), divisible);
        assert_eq!(
            cut.as_scalar(),
            Some(amount(if divisible { 1.0 } else { 5.0 }))
        );
    }
    let paths = [Some("/a"), Some("/b"), None].map(|root| on(source_of(Type::Path, root, None)));
    assert_eq!(sum(paths).len(), 3);
}

#[test]
fn shared_volumes_are_counted() {
    let shared = volume("1", 5.0).with_shared();
    let once = sum([shared.clone()]);
    let twice = &once + &once;
    assert_eq!((twice.len(), twice.count(&shared)), (1, 2));
    assert!(twice.contains(&once) && !once.contains(&twice));
    assert_eq!(&twice - &once, once);
    assert_eq!(&once - &twice, Resources::new());
    assert_eq!(twice.disk(), Some(5.0));
    assert_eq!(twice.quantities().to_string(), "disk:5");
    assert_eq!(twice.shared(), twice);
    assert!(!once.contains(&sum([volume("1", 5.0)])));
    assert_eq!(twice.to_protos().len(), 1);
    assert!(twice.to_string().ends_with("<SHARED>:5<2>"), "{twice}");
}

#[test]
fn allocations() {
    let mut resources = parse("cpus:2;mem:10");
    resources.allocate("a");
    assert_eq!(resources.allocations().len(), 1);
    let mut other = parse("cpus:3");
    other.allocate("a/b");
    let both = &resources + &other;
    assert_eq!(both.allocations()["a/b"], other);
    assert_eq!(both.allocated_to_subtree("a"), both);
    assert_eq!(both.allocated_to_subtree("a/b"), other);
    let mut joined = both.clone();
    joined.unallocate();
    assert_eq!(joined.to_string(), "cpus:5; mem:10");
    let mut mixed = &both + &parse("cpus:1");
    mixed.allocate_unallocated("a");
    assert_eq!(mixed.allocations()["a"].cpus(), Some(3.0));
}

#[test]
fn finding_in_other_reservations() {
    let have = parse("cpus(a):2;cpus:3;mem:10;ports:[1-9]");
    let found = |text: &str| have.find(&parse(text)).map(|found| found.to_string());
    assert_eq!(found("cpus:1").as_deref(), Some("cpus:1"));
    assert_eq!(
        found("cpus(a):1").as_deref(),
        Some("cpus(reservations: [(STATIC,a)]):1")
    );
    assert_eq!(
        found("cpus(a):4").as_deref(),
        Some("cpus(reservations: [(STATIC,a)]):2; cpus:2")
    );
    assert_eq!(
        found("cpus(b):5;mem:1").as_deref(),
        Some("cpus:3; cpus(reservations: [(STATIC,a)]):2; mem:1")
    );
    assert_eq!(found("cpus:6"), None);
    assert_eq!(found("gpus:1"), None);
}

#[test]
fn amounts_by_name() {
    let resources = parse("cpus:1.5;cpus(a):1;mem:64;ports(a):[1-2];ports:[4-5];gpus:1");
    assert_eq!(resources.cpus(), Some(2.5));
    assert_eq!((resources.mem(), resources.disk()), (Some(64.0), None));
    assert_eq!(resources.gpus(), Some(1.0));
    assert_eq!(resources.ports().unwrap().to_string(), "[1-2, 4-5]");
    assert_eq!(resources.get_set("cpus"), None);
    assert_eq!(
        resources.names(),
        ["cpus", "gpus", "mem", "ports"].map(Name::from)
    );
    assert_eq!(resources.scalars().len(), 4);
    assert_eq!(resources.get("ports").len(), 2);
    assert_eq!(
        ResourceQuantities::of_all(&resources).to_string(),
        "cpus:2.5; gpus:1; mem:64; ports:4"
    );
}

#[test]
fn resources_are_small() {
    assert!(size_of::<Resource>() <= 88, "{}", size_of::<Resource>());
}
