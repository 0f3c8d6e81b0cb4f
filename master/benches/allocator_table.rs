//! Prints a table of what the allocator takes for each of its targets, as Markdown.
//!
//! ```text
//! cargo bench -p mesos-master --bench allocator_table              # everything, minutes
//! cargo bench -p mesos-master --bench allocator_table -- quota     # some parts: memory, filtered,
//!                                                                  # declined, first, quota, events,
//!                                                                  # explain, upstream
//! cargo bench -p mesos-master --bench allocator_table -- tiny      # everything in small
//! ```
//!
//! The figures of the C++ original were taken on a machine of the same kind with 2 cores; those of
//! the first full rounds and of quota were published by its authors.

#[allow(dead_code, reason = "every program uses a part")]
mod scenarios;

use scenarios::table::{HEAD, SECTIONS, Scale};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tiny = arguments.iter().any(|argument| argument == "tiny");
    let scale = if tiny { Scale::TINY } else { Scale::FULL };
    let is_named = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !SECTIONS.iter().any(|(name, _)| is_named(name));
    let mut missed = 0;
    println!("{HEAD}");
    for (_, section) in SECTIONS.iter().filter(|(name, _)| all || is_named(name)) {
        for row in section(scale) {
            println!("{row}");
            missed += usize::from(!row.is_met());
        }
    }
    println!("\n{missed} targets missed");
}
