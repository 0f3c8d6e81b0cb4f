//! Operations on offers, and what agents checkpoint.

use super::*;
use proto::offer::Operation;
use proto::offer::operation::{self, Type};

fn operation(operation_type: Type) -> Operation {
    Operation {
        r#type: Some(operation_type.into()),
        ..Default::default()
    }
}

fn reserve(resources: &Resources, source: &Resources) -> Operation {
    Operation {
        reserve: Some(operation::Reserve {
            resources: resources.to_protos(),
            source: source.to_protos(),
        }),
        ..operation(Type::Reserve)
    }
}

fn unreserve(resources: &Resources) -> Operation {
    Operation {
        unreserve: Some(operation::Unreserve {
            resources: resources.to_protos(),
        }),
        ..operation(Type::Unreserve)
    }
}

fn create(volumes: &Resources) -> Operation {
    Operation {
        create: Some(operation::Create {
            volumes: volumes.to_protos(),
        }),
        ..operation(Type::Create)
    }
}

fn destroy(volumes: &Resources) -> Operation {
    Operation {
        destroy: Some(operation::Destroy {
            volumes: volumes.to_protos(),
        }),
        ..operation(Type::Destroy)
    }
}

fn grow(volume: &Resource, addition: &Resource) -> Operation {
    Operation {
        grow_volume: Some(operation::GrowVolume {
            volume: volume.to_proto(),
            addition: addition.to_proto(),
        }),
        ..operation(Type::GrowVolume)
    }
}

fn shrink(volume: &Resource, subtract: f64) -> Operation {
    Operation {
        shrink_volume: Some(operation::ShrinkVolume {
            volume: volume.to_proto(),
            subtract: proto::value::Scalar { value: subtract },
        }),
        ..operation(Type::ShrinkVolume)
    }
}

#[track_caller]
fn check(before: &Resources, operation: &Operation, after: &Resources) {
    let applied = before.apply(operation).unwrap();
    assert_eq!(&applied, after, "{applied} and {after}");
    assert_eq!(applied.quantities(), before.quantities());
}

#[track_caller]
fn check_error(before: &Resources, operation: &Operation, expected: &str) {
    let error = before.apply(operation).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

fn web(disk_mb: f64) -> Resource {
    disk(disk_mb).with_reservation(Reservation::dynamic("web", None))
}

#[test]
fn reservations_are_pushed_and_popped() {
    let (before, rest) = (parse("cpus:4;mem:10"), parse("cpus:3;mem:10"));
    let reserved = parse("cpus:1").push_reservation(&Reservation::dynamic("a", Some("p".into())));
    let after = &rest + &reserved;
    check(&before, &reserve(&reserved, &Resources::new()), &after);
    check(&after, &unreserve(&reserved), &before);
    let refined = reserved.push_reservation(&Reservation::dynamic("a/b", None));
    check(
        &after,
        &reserve(&refined, &Resources::new()),
        &(&rest + &refined),
    );
    check(&(&rest + &refined), &unreserve(&refined), &after);
    check_error(
        &rest,
        &unreserve(&reserved),
        "cpus:3; mem:10 does not contain cpus(reservations: [(DYNAMIC,a,p)]):1",
    );
    check_error(
        &rest,
        &unreserve(&parse("cpus:1")),
        "cpus:1 is not reserved",
    );
}

#[test]
fn reservations_are_replaced() {
    let old = parse("cpus:1").push_reservation(&Reservation::dynamic("a", None));
    let new = parse("cpus:1").push_reservation(&Reservation::dynamic("b", None));
    check(&(&old + &old), &reserve(&new, &old), &(&old + &new));
}

#[test]
fn volumes_are_created_and_destroyed() {
    let before = sum([web(20.0)]);
    let created = sum([volume("1", 5.0)]);
    let after = &sum([web(15.0)]) + &created;
    check(&before, &create(&created), &after);
    check(&after, &destroy(&created), &before);
    check_error(
        &sum([web(1.0)]),
        &create(&created),
        "disk(reservations: [(DYNAMIC,web)]):1 does not contain disk(reservations: [(DYNAMIC,web)]):5",
    );

    let mount = source_of(source::Type::Mount, Some("/m"), None);
    let raw = web(5.0).with_disk(disk_info(None, Some(mount.clone())));
    let on_mount = volume("1", 5.0).with_disk(disk_info(Some("1"), Some(mount)));
    check(
        &sum([raw.clone()]),
        &create(&sum([on_mount.clone()])),
        &sum([on_mount.clone()]),
    );
    check(
        &sum([on_mount.clone()]),
        &destroy(&sum([on_mount])),
        &sum([raw]),
    );
}

#[test]
fn shared_volumes_are_destroyed_when_nobody_else_has_them() {
    let shared = sum([volume("1", 5.0).with_shared()]);
    check(&shared, &destroy(&shared), &sum([web(5.0)]));
    check(&sum([web(5.0)]), &create(&shared), &shared);
    check_error(
        &(&shared + &shared),
        &destroy(&shared),
        "Persistent volume disk(reservations: [(DYNAMIC,web)])[1:data]<SHARED>:5<1> cannot be removed due to additional shared copies",
    );
}

#[test]
fn volumes_are_resized() {
    let (small, large) = (volume("1", 5.0), volume("1", 8.0));
    let before = sum([small.clone(), web(10.0)]);
    let after = sum([large.clone(), web(7.0)]);
    check(&before, &grow(&small, &web(3.0)), &after);
    check(&after, &shrink(&large, 3.0), &before);
    check_error(
        &before,
        &shrink(&small, 5.0),
        "Cannot resize disk(reservations: [(DYNAMIC,web)])[1:data]:5: not more than what is taken away",
    );
    check_error(
        &before,
        &grow(&small.with_provider("p"), &web(1.0)),
        "Operation not supported for resource provider",
    );
}

#[test]
fn other_operations() {
    let none = Resources::new();
    check_error(&none, &Operation::default(), "Unknown operation");
    check_error(&none, &operation(Type::Unknown), "Unknown operation");
    check_error(
        &none,
        &operation(Type::Launch),
        "Operation LAUNCH does not convert resources",
    );
    check_error(
        &none,
        &operation(Type::Reserve),
        "Operation RESERVE has no field 'reserve'",
    );
    let mut invalid = reserve(&parse("cpus(a):1"), &none);
    invalid.reserve.as_mut().unwrap().resources[0].name.clear();
    check_error(
        &none,
        &invalid,
        "Resource '' is invalid: Empty resource name",
    );
}

#[test]
fn providers() {
    let provider = |operation: &Operation| {
        resource_provider(operation)
            .map(|id| id.map(str::to_owned))
            .map_err(|error| error.to_string())
    };
    let own = sum([volume("1", 1.0)]);
    let foreign = sum([volume("1", 1.0).with_provider("p")]);
    assert_eq!(provider(&create(&own)), Ok(None));
    assert_eq!(provider(&create(&foreign)), Ok(Some("p".into())));
    assert_eq!(
        provider(&create(&Resources::new())),
        Err("Operation CREATE has no field 'resources'".into())
    );
}

#[test]
fn checkpointed_resources() {
    let configured = parse("cpus:4;disk:100;disk(web):50;mem(web):64");
    let refined = parse("mem(web):32").push_reservation(&Reservation::dynamic("web/a", None));
    let on_static = disk(10.0)
        .with_reservation(Reservation::fixed("web"))
        .with_disk(disk_info(Some("2"), None));
    let checkpointed = &sum([volume("1", 5.0), on_static.clone()]) + &refined;
    let total = configured.apply_checkpointed(&checkpointed).unwrap();
    let expected = &(&parse("cpus:4;disk:95;disk(web):40;mem(web):32") + &refined)
        + &sum([volume("1", 5.0), on_static]);
    assert_eq!(total, expected, "{total}");
    let error = |checkpointed: &Resources| {
        configured
            .apply_checkpointed(checkpointed)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&parse("cpus:1")),
        "Unexpected checkpointed resource cpus:1"
    );
    assert!(error(&sum([volume("1", 500.0)])).ends_with("does not contain disk:500"));
}
