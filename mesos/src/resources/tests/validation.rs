//! Every rule for resource messages, and reading and writing them.

use super::*;
use proto::resource::ReservationInfo;
use proto::resource::reservation_info::Type as ReservationType;
use proto::value::Type as ValueType;

fn cpus() -> proto::Resource {
    Resource::scalar("cpus", amount(1.0)).to_proto()
}

/// Applies a change to a valid resource and compares the rule that it breaks, if any.
#[track_caller]
fn check(base: proto::Resource, change: impl FnOnce(&mut proto::Resource), expected: Option<&str>) {
    let mut resource = base;
    change(&mut resource);
    let error = validate_resource(&resource).err();
    assert_eq!(
        error
            .as_ref()
            .map(|error| error.reason.to_string())
            .as_deref(),
        expected,
        "{resource:?}"
    );
    // By text, since a reason may quote NaN, which differs from itself.
    let text = |error: Option<ValidationError>| error.map(|error| error.to_string());
    assert_eq!(
        text(Resource::from_proto(&resource).err()),
        text(error.clone())
    );
    let valid = Resources::from_valid_protos(&[resource, cpus()]);
    assert_eq!(valid.cpus() > Some(1.0) || valid.len() > 1, error.is_none());
}

fn reservation(role: &str, reservation_type: ReservationType) -> ReservationInfo {
    ReservationInfo {
        role: Some(role.into()),
        r#type: Some(reservation_type.into()),
        ..Default::default()
    }
}

fn range(begin: u64, end: u64) -> proto::value::Range {
    proto::value::Range { begin, end }
}

#[test]
fn values() {
    check(cpus(), |_| {}, None);
    check(cpus(), |r| r.name.clear(), Some("Empty resource name"));
    check(
        cpus(),
        |r| r.r#type = 9,
        Some("Unsupported resource type 9; allowed are SCALAR, RANGES and SET"),
    );
    check(
        cpus(),
        |r| r.set_type(ValueType::Text),
        Some("Unsupported resource type 3; allowed are SCALAR, RANGES and SET"),
    );
    check(
        cpus(),
        |r| r.scalar = None,
        Some("Invalid scalar resource: exactly the field 'scalar' must be set"),
    );
    check(
        cpus(),
        |r| r.set = Some(Default::default()),
        Some("Invalid scalar resource: exactly the field 'scalar' must be set"),
    );
    let with =
        |value| move |r: &mut proto::Resource| r.scalar = Some(proto::value::Scalar { value });
    check(
        cpus(),
        with(0.0004),
        Some("Invalid scalar resource: value <= 0"),
    );
    check(
        cpus(),
        with(-1.0),
        Some("Invalid scalar resource: value <= 0"),
    );
    check(
        cpus(),
        with(f64::NAN),
        Some("Invalid scalar resource: NaN is not a finite number"),
    );
    check(
        cpus(),
        with(1e16),
        Some("Invalid scalar resource: 10000000000000000 is outside of the range -1e15 to 1e15"),
    );
}

#[test]
fn ranges_and_sets() {
    let ports = Resource::ranges("ports", 1..=9).to_proto();
    let with = |ranges: &[proto::value::Range]| {
        let range = ranges.to_vec();
        move |r: &mut proto::Resource| r.ranges = Some(proto::value::Ranges { range })
    };
    check(ports.clone(), with(&[range(4, 5), range(1, 3)]), None);
    check(
        ports.clone(),
        with(&[range(3, 2)]),
        Some("Invalid ranges resource: begin > end"),
    );
    for overlap in [[range(1, 5), range(5, 6)], [range(5, 6), range(1, 9)]] {
        check(
            ports.clone(),
            with(&overlap),
            Some("Invalid ranges resource: overlapping ranges"),
        );
    }
    check(
        ports,
        |r| r.scalar = Some(Default::default()),
        Some("Invalid ranges resource: exactly the field 'ranges' must be set"),
    );
    let disks = Resource::set("disks", Set::from_iter(["a"])).to_proto();
    check(
        disks.clone(),
        |r| {
            r.set = Some(proto::value::Set {
                item: vec!["a".into(), "a".into()],
            })
        },
        Some("Invalid set resource: duplicated elements"),
    );
    check(
        disks,
        |r| r.set = None,
        Some("Invalid set resource: exactly the field 'set' must be set"),
    );
}

#[test]
fn disks_and_sharing() {
    use source::Type;
    check(
        cpus(),
        |r| r.disk = Some(Default::default()),
        Some("DiskInfo should not be set for cpus resource"),
    );
    let with_source =
        |source| move |r: &mut proto::Resource| r.disk = Some(disk_info(None, Some(source)));
    let plain = disk(1.0).to_proto();
    check(
        plain.clone(),
        with_source(source_of(Type::Mount, Some("/"), None)),
        None,
    );
    check(
        plain.clone(),
        with_source(source_of(Type::Unknown, None, None)),
        Some("Unsupported 'DiskInfo.Source.Type' 0"),
    );
    let mut block = source_of(Type::Block, None, None);
    block.mount = Some(Default::default());
    check(
        plain.clone(),
        with_source(block),
        Some("Mount should not be set for BLOCK disk source"),
    );
    let mut raw = source_of(Type::Raw, None, None);
    raw.path = Some(Default::default());
    check(
        plain.clone(),
        with_source(raw),
        Some("Path should not be set for RAW disk source"),
    );
    check(
        plain,
        |r| r.shared = Some(Default::default()),
        Some("Resource disk cannot be shared: only persistent volumes can be shared"),
    );
    check(
        volume("1", 1.0).to_proto(),
        |r| r.shared = Some(Default::default()),
        None,
    );
}

#[test]
fn reservations() {
    use ReservationType::{Dynamic, Static, Unknown};
    let with = |reservations: Vec<ReservationInfo>| {
        move |r: &mut proto::Resource| r.reservations = reservations
    };
    check(
        cpus(),
        with(vec![reservation("a", Static), reservation("a/b", Dynamic)]),
        None,
    );
    check(
        cpus(),
        with(vec![reservation("a", Unknown)]),
        Some("Invalid reservation: 'Resource.ReservationInfo.type' field must be set"),
    );
    check(
        cpus(),
        with(vec![ReservationInfo {
            role: None,
            ..reservation("a", Static)
        }]),
        Some("Invalid reservation: 'Resource.ReservationInfo.role' field must be set"),
    );
    check(
        cpus(),
        with(vec![reservation("a/", Static)]),
        Some("Role 'a/' cannot end with a slash"),
    );
    check(
        cpus(),
        with(vec![reservation("*", Static)]),
        Some("Invalid reservation: role \"*\" cannot be reserved"),
    );
    check(
        cpus(),
        with(vec![reservation("a", Dynamic), reservation("a/b", Static)]),
        Some("Invalid refined reservation: A refined reservation cannot be STATIC"),
    );
    check(
        cpus(),
        with(vec![reservation("a", Dynamic), reservation("b", Dynamic)]),
        Some("Invalid refined reservation: role 'b' is not a refinement of 'a'"),
    );
}

#[test]
fn old_reservations() {
    use ReservationType::{Dynamic, Static};
    let old = |role: Option<&str>, reservation: Option<ReservationInfo>| {
        let role = role.map(str::to_owned);
        move |r: &mut proto::Resource| (r.role, r.reservation) = (role, reservation)
    };
    let both = |new: ReservationInfo, role: Option<&str>, info: Option<ReservationInfo>| {
        let role = role.map(str::to_owned);
        move |r: &mut proto::Resource| {
            (r.reservations, r.role, r.reservation) = (vec![new], role, info);
        }
    };
    let empty = ReservationInfo::default;
    let by = |principal: &str| ReservationInfo {
        principal: Some(principal.into()),
        ..empty()
    };
    check(cpus(), old(Some("*"), None), None);
    check(cpus(), old(Some("a"), Some(by("p"))), None);
    check(
        cpus(),
        old(Some("a b"), None),
        Some("Role component 'a b' of role 'a b' cannot contain white space or 0x7f"),
    );
    check(
        cpus(),
        old(None, Some(empty())),
        Some("Invalid reservation: role \"*\" cannot be reserved"),
    );
    check(
        cpus(),
        old(Some("a"), Some(reservation("a", Dynamic))),
        Some(
            "'Resource.ReservationInfo.type' must not be set for the 'Resource.reservation' field",
        ),
    );
    check(
        cpus(),
        both(reservation("a", Static), Some("a"), None),
        None,
    );
    check(
        cpus(),
        both(reservation("a", Dynamic), Some("a"), Some(empty())),
        None,
    );
    let contradiction = |field| {
        format!(
            "Invalid resource format: 'Resource.{field}' does not match 'Resource.reservations'"
        )
    };
    let dynamic = || reservation("a", Dynamic);
    let table = [
        (both(dynamic(), Some("b"), Some(empty())), "role"),
        (
            both(reservation("a", Static), Some("a"), Some(empty())),
            "reservation",
        ),
        (both(dynamic(), Some("a"), None), "reservation"),
        (both(dynamic(), None, Some(empty())), "role"),
        (
            both(dynamic(), Some("a"), Some(by("p"))),
            "reservation.principal",
        ),
    ];
    for (change, field) in table {
        check(cpus(), change, Some(&contradiction(field)));
    }
}

#[test]
fn messages_come_back() {
    let resources = [
        parse("cpus:1.5;mem(a):64;ports:[1-3,5-9];disks:{a,b}"),
        sum([
            volume("1", 5.0).with_shared(),
            volume("2", 5.0).with_provider("p"),
        ]),
        sum([disk(3.0).with_revocable().with_allocation("a/b")]),
        parse("cpus:1").push_reservation(&Reservation::dynamic("a", Some("p".into()))),
    ];
    for resources in resources {
        assert_eq!(
            Resources::from_protos(&resources.to_protos()),
            Ok(resources.clone())
        );
        assert_eq!(
            Resources::from_protos(&resources.to_endpoint_protos()),
            Ok(resources.clone())
        );
        let old = resources.to_downgraded_protos().unwrap();
        assert!(
            old.iter()
                .all(|r| r.role.is_some() && r.reservations.is_empty())
        );
        assert_eq!(Resources::from_protos(&old), Ok(resources));
    }
}
