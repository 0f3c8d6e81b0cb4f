//! One scenario under many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;

/// Set to the only seed that is to be run.
const SEED_VARIABLE: &str = "LIBPROCESS_SEED";

/// Runs a scenario once for each seed, on as many threads as there are CPUs.
///
/// If it panics, the seed and the command that repeats the run are printed, no more seeds are begun, and the panic goes on. With
/// the environment variable `LIBPROCESS_SEED` only that seed is run.
///
/// # Panics
/// If the scenario panics, or the variable is not a number.
pub fn run_seeds<S>(seeds: S, scenario: impl Fn(u64) + Sync)
where
    S: IntoIterator<Item = u64, IntoIter: Send>,
{
    let seeds = seeds.into_iter();
    let seeds: Box<dyn Iterator<Item = u64> + Send + '_> = match std::env::var(SEED_VARIABLE) {
        Ok(seed) => match seed.parse() {
            Ok(seed) => Box::new(std::iter::once(seed)),
            Err(_) => panic!("{SEED_VARIABLE}='{seed}' is not a seed: expected a number"),
        },
        Err(_) => Box::new(seeds),
    };
    let test = thread::current().name().unwrap_or("main").to_owned();
    let threads = thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let queue = Mutex::new(seeds);
    let failed = AtomicBool::new(false);
    let next = || match failed.load(Ordering::Acquire) {
        true => None,
        false => queue.lock().next(),
    };
    let work = || {
        while let Some(seed) = next() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
                failed.store(true, Ordering::Release);
                eprintln!(
                    "Failed with seed {seed}. To repeat: {}",
                    replay(seed, &test)
                );
                resume_unwind(panic);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
}

/// The command that repeats a run.
fn replay(seed: u64, test: &str) -> String {
    format!("{SEED_VARIABLE}={seed} cargo test {test}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_seed_is_run_once() {
        let seen = Mutex::new(BTreeSet::new());
        run_seeds(3..50, |seed| assert!(seen.lock().insert(seed)));
        assert_eq!(seen.into_inner(), (3..50).collect());
    }

    #[test]
    fn a_failure_ends_the_run() {
        // There is no end but the failure.
        let run = || run_seeds(0.., |seed| assert_ne!(seed, 5, "it is five"));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("it is five"), "{text}");
        assert_eq!(replay(5, "a::b"), "LIBPROCESS_SEED=5 cargo test a::b");
    }
}
