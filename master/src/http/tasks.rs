//! `/tasks`: tasks of all frameworks, by time, a page at a time.

use std::sync::Arc;

use http::StatusCode;
use libprocess::{Request, Response};
use mesos::model;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Refusal, Rendered, View, json};
use crate::constants::DEFAULT_TASKS_LIMIT;
use crate::core::state::{Framework, Task};

/// Renders the page that the query asks for.
pub(super) fn render(view: &View, request: &Request) -> Rendered {
    let query = &request.query;
    let number = |name: &str, default: usize| match query.get(name) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| {
            let text = format!("Failed to parse '{name}': '{text}' is not a valid number");
            Refusal::from(Response::text(StatusCode::BAD_REQUEST, text))
        }),
    };
    let (limit, offset) = (number("limit", DEFAULT_TASKS_LIMIT)?, number("offset", 0)?);
    let framework_id = query.get("framework_id");
    let task_id = query.get("task_id");
    let mut tasks: Vec<&Task> = view
        .state
        .frameworks
        .values()
        .chain(view.state.completed_frameworks.values())
        .filter(|framework| framework_id.is_none_or(|id| framework.id.as_str() == id))
        .flat_map(tasks_of)
        .filter(|task| task_id.is_none_or(|id| task.id.as_str() == id))
        .collect();
    tasks.sort_by(|left, right| first_time(left).total_cmp(&first_time(right)));
    if query.get("order") != Some("asc") {
        tasks.reverse();
    }
    let page = tasks.into_iter().skip(offset).take(limit).collect();
    json(&Page(page))
}

fn tasks_of(framework: &Arc<Framework>) -> impl Iterator<Item = &Task> {
    framework
        .tasks
        .values()
        .chain(framework.unreachable_tasks.values())
        .chain(framework.completed_tasks.iter())
        .map(|task| &**task)
}

/// The time of the first status; tasks without one count as the newest.
fn first_time(task: &Task) -> f64 {
    task.info
        .statuses
        .first()
        .and_then(|status| status.timestamp)
        .unwrap_or(f64::INFINITY)
}

struct Page<'a>(Vec<&'a Task>);

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(1))?;
        let tasks = model::array(|| self.0.iter().map(|task| model::Task(&task.info)));
        out.serialize_entry("tasks", &tasks)?;
        out.end()
    }
}
