//! How long it takes to explain why frameworks get nothing, and how long others wait meanwhile.

use std::time::{Duration, Instant};

use mesos_master::allocator::Question;

use super::cluster::{Cluster, framework_id};
use super::grid;
use super::table::{Row, Scale};

/// How often an agent is looked at in one turn, as the allocator's actor does.
const PORTION: usize = 1_000;

/// How many rounds of offers were refused before.
const ROUNDS: usize = 20;

/// Longer than this nobody may have to wait for an explanation.
const TURN_TARGET_MILLIS: f64 = 10.0;

/// All figures.
pub(crate) fn rows(scale: Scale) -> Vec<Row> {
    let size = scale.size(10_000, 1_000);
    let mut cluster = grid::declined(size, ROUNDS);
    cluster.run();
    let one = Question {
        framework: Some(framework_id(0)),
        ..Question::default()
    };
    let all = Question {
        limit: 1_000,
        ..Question::default()
    };
    let mut rows = Vec::new();
    for (name, question) in [("one framework", one), ("all frameworks", all)] {
        let (total, longest) = explain(&cluster, &question);
        rows.push(Row::millis(format!("explaining {name}: {size}"), total));
        let longest = Row::millis(format!("its longest turn: {size}"), longest);
        rows.push(longest.target(TURN_TARGET_MILLIS));
    }
    rows
}

/// The time of all turns, and of the longest.
fn explain(cluster: &Cluster, question: &Question) -> (Duration, Duration) {
    let (allocator, now) = (&cluster.allocator, cluster.now);
    let mut start = Instant::now();
    let mut survey = allocator.survey(question).expect("a known framework");
    let (mut total, mut longest) = (Duration::ZERO, Duration::ZERO);
    loop {
        let is_done = allocator.examine(&mut survey, PORTION, now);
        let turn = start.elapsed();
        total += turn;
        longest = longest.max(turn);
        if is_done {
            return (total, longest);
        }
        start = Instant::now();
    }
}
