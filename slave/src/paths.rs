//! The layout of the work directory.
//!
//! Upstream: `src/slave/paths.cpp`.

use std::path::{Path, PathBuf};

use mesos::ids::{AgentId, ExecutorId, FrameworkId};

use crate::core::ExecutorRun;

/// The name of the link to the newest run of an executor.
const LATEST: &str = "latest";

fn runs(
    work_dir: &Path,
    agent_id: &AgentId,
    framework_id: &FrameworkId,
    executor_id: &ExecutorId,
) -> PathBuf {
    work_dir
        .join("slaves")
        .join(agent_id.as_str())
        .join("frameworks")
        .join(framework_id.as_str())
        .join("executors")
        .join(executor_id.as_str())
        .join("runs")
}

/// The sandbox of one run of an executor.
pub fn executor_run(work_dir: &Path, agent_id: &AgentId, run: &ExecutorRun) -> PathBuf {
    runs(work_dir, agent_id, &run.framework_id, &run.executor_id).join(run.container_id.value())
}

/// The symbolic link to the newest run of an executor.
pub fn executor_latest_run(
    work_dir: &Path,
    agent_id: &AgentId,
    framework_id: &FrameworkId,
    executor_id: &ExecutorId,
) -> PathBuf {
    runs(work_dir, agent_id, framework_id, executor_id).join(LATEST)
}

/// The name by which the newest run of an executor is found at the files endpoints without knowing the work directory.
pub fn executor_virtual(framework_id: &FrameworkId, executor_id: &ExecutorId) -> String {
    format!("/frameworks/{framework_id}/executors/{executor_id}/runs/{LATEST}")
}
