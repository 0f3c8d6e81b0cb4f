//! `mesos ps` and `mesos state`.

use std::io::{self, Write};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::args::{MasterArgs, PsArgs, StateArgs};
use crate::config::{self, MasterChoice, Source};
use crate::http::Client;
use crate::leader;

/// The master that is asked when nothing names one.
const DEFAULT_MASTER: &str = "127.0.0.1:5050";

/// Prints the state of the master.
pub(crate) async fn state(args: StateArgs) -> anyhow::Result<()> {
    let mut client = find_master(args.master).await?;
    let answer = leader::ask(&mut client, "/master/state").await?;
    let state: serde_json::Value = parse(&answer.body, &client)?;
    print(|out| {
        serde_json::to_writer_pretty(&mut *out, &state)?;
        out.write_all(b"\n")
    })
}

/// Reads the JSON that the master of `client` answered.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    body: &[u8],
    client: &Client,
) -> anyhow::Result<T> {
    serde_json::from_slice(body).with_context(|| {
        format!(
            "cannot read what the master at {} answers",
            client.authority()
        )
    })
}

/// Prints the tasks of the cluster.
pub(crate) async fn ps(args: PsArgs) -> anyhow::Result<()> {
    let mut client = find_master(args.master).await?;
    let answer = leader::ask(&mut client, "/master/state").await?;
    let state: State = parse(&answer.body, &client)?;
    let tasks = state.tasks(args.all);
    print(|out| {
        if args.json {
            serde_json::to_writer_pretty(&mut *out, &tasks)?;
            out.write_all(b"\n")
        } else {
            out.write_all(table(&tasks).as_bytes())
        }
    })
}

/// A client of the leading master.
pub(crate) async fn find_master(args: MasterArgs) -> anyhow::Result<Client> {
    let choice = config::find_master(args.master, |name| std::env::var(name).ok())?;
    let choice = choice.unwrap_or_else(|| MasterChoice {
        address: DEFAULT_MASTER.to_owned(),
        source: Source::Default,
    });
    leader::find(&choice).await
}

/// Writes to the standard output; a reader that has seen enough is no error.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to the standard output")
        }
        _ => Ok(()),
    }
}

/// The state of a master, as far as it is about tasks.
#[derive(Debug, Deserialize)]
struct State {
    #[serde(default)]
    frameworks: Vec<Framework>,
    #[serde(default)]
    completed_frameworks: Vec<Framework>,
    #[serde(default)]
    slaves: Vec<Agent>,
}

#[derive(Debug, Deserialize)]
struct Framework {
    name: String,
    #[serde(default)]
    tasks: Vec<Task>,
    #[serde(default)]
    unreachable_tasks: Vec<Task>,
    #[serde(default)]
    completed_tasks: Vec<Task>,
}

#[derive(Debug, Deserialize)]
struct Agent {
    id: String,
    hostname: String,
}

#[derive(Debug, Deserialize)]
struct Task {
    id: String,
    name: String,
    framework_id: String,
    slave_id: String,
    state: String,
    #[serde(default)]
    resources: Amounts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Amounts {
    cpus: f64,
    mem: f64,
}

/// One line of the list.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    id: String,
    name: String,
    framework_id: String,
    framework: String,
    agent_id: String,
    /// The host name of the agent, while the agent is registered.
    agent: Option<String>,
    state: String,
    cpus: f64,
    /// In megabytes.
    mem: f64,
}

impl State {
    fn tasks(self, all: bool) -> Vec<Row> {
        let mut frameworks = self.frameworks;
        if all {
            frameworks.extend(self.completed_frameworks);
        }
        let mut rows = Vec::new();
        for framework in frameworks {
            let mut tasks = framework.tasks;
            tasks.extend(framework.unreachable_tasks);
            if all {
                tasks.extend(framework.completed_tasks);
            }
            rows.extend(
                tasks
                    .into_iter()
                    .map(|task| row(task, &framework.name, &self.slaves)),
            );
        }
        rows
    }
}

fn row(task: Task, framework: &str, agents: &[Agent]) -> Row {
    let agent = agents.iter().find(|agent| agent.id == task.slave_id);
    Row {
        id: task.id,
        name: task.name,
        framework_id: task.framework_id,
        framework: framework.to_owned(),
        agent: agent.map(|agent| agent.hostname.clone()),
        agent_id: task.slave_id,
        state: task.state,
        cpus: task.resources.cpus,
        mem: task.resources.mem,
    }
}

const HEADINGS: [&str; 7] = ["ID", "NAME", "FRAMEWORK", "STATE", "AGENT", "CPUS", "MEM"];

/// The rows under their headings, in columns as wide as needed.
fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            row.id.clone(),
            row.name.clone(),
            row.framework.clone(),
            row.state.clone(),
            row.agent.clone().unwrap_or_else(|| row.agent_id.clone()),
            row.cpus.to_string(),
            format!("{}MB", row.mem),
        ]
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|it| width(it).unwrap_or_default())
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let cells: Vec<String> = cells.collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"{
        "slaves": [{"id": "S0", "hostname": "node"}],
        "frameworks": [{
            "name": "f",
            "tasks": [{"id": "t", "name": "n", "framework_id": "F", "slave_id": "S0",
                       "state": "TASK_RUNNING", "resources": {"cpus": 0.5, "mem": 128.0}}],
            "completed_tasks": [{"id": "done", "name": "n", "framework_id": "F", "slave_id": "S9",
                                 "state": "TASK_FINISHED"}]
        }],
        "completed_frameworks": [{
            "name": "g",
            "completed_tasks": [{"id": "old", "name": "n", "framework_id": "G", "slave_id": "S0",
                                 "state": "TASK_FAILED"}]
        }]
    }"#;

    #[test]
    fn lists_tasks_in_columns() {
        fn check(all: bool, expected: &str) {
            let state: State = serde_json::from_str(STATE).unwrap();
            assert_eq!(table(&state.tasks(all)), expected);
        }
        check(
            false,
            "\
ID  NAME  FRAMEWORK  STATE         AGENT  CPUS  MEM
t   n     f          TASK_RUNNING  node   0.5   128MB
",
        );
        check(
            true,
            "\
ID    NAME  FRAMEWORK  STATE          AGENT  CPUS  MEM
t     n     f          TASK_RUNNING   node   0.5   128MB
done  n     f          TASK_FINISHED  S9     0     0MB
old   n     g          TASK_FAILED    node   0     0MB
",
        );
    }
}
