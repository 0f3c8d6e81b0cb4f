//! Small schedulers and executors that teach the driver API; each is one file in `src/bin/`.
//!
//! - `counting-scheduler`: launches a number of commands and counts how they end. Start here.
//! - `executor-scheduler`: launches tasks for an executor of its own, and gets messages from it.
//! - `echo-executor`: that executor.
