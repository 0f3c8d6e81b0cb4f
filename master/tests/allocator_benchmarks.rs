//! What the benchmarks measure still runs, in tiny sizes.

#[allow(dead_code, reason = "every program uses a part")]
#[path = "../benches/scenarios/mod.rs"]
mod scenarios;

use scenarios::cluster::Cluster;
use scenarios::grid::{self, Size};
use scenarios::sorters::Sorted;
use scenarios::table::{SECTIONS, Scale};
use scenarios::{profiles, quota};

const SIZE: Size = Size {
    agents: 30,
    frameworks: 4,
};

#[test]
fn the_table_has_every_part() {
    for (name, section) in SECTIONS {
        let rows = section(Scale::TINY);
        assert!(!rows.is_empty(), "{name}");
        for row in rows {
            assert!(row.figure.is_finite(), "{row}");
        }
    }
}

#[test]
fn grid() {
    grid::add_and_update(SIZE);
    let mut clusters = [
        grid::cluster(SIZE),
        grid::labeled(SIZE),
        grid::suppressed(SIZE, 3),
        grid::with_volumes(SIZE, |agent| agent % 2 == 0),
    ];
    for cluster in &mut clusters {
        cluster.run();
        assert_eq!(cluster.offer_count(), SIZE.agents);
        cluster.decline_all(Some(0.0));
        grid::drain_backlog(cluster, SIZE);
        assert_eq!(cluster.offer_count(), SIZE.agents);
    }
    let metrics = grid::with_metrics(SIZE).allocator.metrics();
    assert!(metrics.contains_key("allocator/mesos/roles/0/shares/dominant"));
}

#[test]
fn quota_of_roles() {
    for with_quota in [false, true] {
        let mut cluster = quota::whole_agents(Cluster::new(), 5, with_quota);
        cluster.run();
        assert_eq!(cluster.offer_count(), 10);
    }
}

#[test]
fn mixed_frameworks() {
    let launched = profiles::launch_everything(10, 50);
    assert!(launched.tasks > 0, "{launched:?}");
}

#[test]
fn orders() {
    for mut sorted in [Sorted::flat(10, 5), Sorted::tree(10, 3, 2)] {
        sorted.order_without_change();
        sorted.order_anew();
    }
}
