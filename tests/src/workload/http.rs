//! The workload's scheduler on the v1 HTTP API.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesos::detector::MasterDetector;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::{TASK_CPUS, TASK_MEM_MB, Tasks};
use crate::scheduler::{SchedulerClient, command_task, framework_info, offered};

/// Pause before the next attempt to subscribe.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_millis(200);
/// Session timeout of the scheduler's own detector.
const ZK_SESSION_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the scheduler on the current runtime.
pub(super) fn start(master: &str, tasks: Tasks) -> AbortHandle {
    let detector = MasterDetector::create(master, ZK_SESSION_TIMEOUT, &Handle::current())
        .expect("no usable master");
    let scheduler = Scheduler {
        detector,
        tasks,
        framework: framework_info("workload"),
    };
    let running = tokio::spawn(async move {
        if let Err(error) = scheduler.run().await {
            eprintln!("workload: {error:#}");
        }
    });
    running.abort_handle()
}

struct Scheduler {
    detector: MasterDetector,
    tasks: Tasks,
    framework: Value,
}

impl Scheduler {
    async fn run(mut self) -> Result<()> {
        loop {
            let Some(leader) = self.detector.leader()? else {
                self.detector.detect(None).await?;
                continue;
            };
            let address: SocketAddr = leader
                .pid()
                .split_once('@')
                .context("a pid without an address")?
                .1
                .parse()?;
            if let Err(error) = self.serve(address).await {
                eprintln!("workload: {address}: {error:#}");
            }
            tokio::time::sleep(RESUBSCRIBE_PAUSE).await;
        }
    }

    /// One subscription, until its stream breaks.
    async fn serve(&mut self, address: SocketAddr) -> Result<()> {
        let mut client = SchedulerClient::subscribe(address, &self.framework).await?;
        let id = client.framework_id().to_owned();
        self.framework["id"] = json!({"value": id});
        {
            let mut progress = self.tasks.progress.lock();
            progress.subscriptions += 1;
            progress.framework_ids.insert(id);
        }
        // States that were sent while nobody listened are sent again only by agents that wait
        // for an acknowledgement; the rest has to be asked for.
        client
            .call(json!({"type": "RECONCILE", "reconcile": {"tasks": []}}))
            .await?;
        while let Some(event) = client.next_event().await {
            match event["type"].as_str() {
                Some("OFFERS") => self.on_offers(&client, &event["offers"]["offers"]).await?,
                Some("UPDATE") => self.on_update(&client, &event["update"]["status"]).await?,
                Some("ERROR") => bail!("ERROR: {}", event["error"]),
                _ => {}
            }
        }
        bail!("the stream ended")
    }

    async fn on_offers(&mut self, client: &SchedulerClient, offers: &Value) -> Result<()> {
        for offer in offers.as_array().into_iter().flatten() {
            let (cpus, mem_mb) = (offered(offer, "cpus"), offered(offer, "mem"));
            let chosen = self.tasks.take(cpus, mem_mb);
            if chosen.is_empty() {
                client.decline(offer, 1.0).await?;
                continue;
            }
            let tasks: Vec<Value> = chosen
                .iter()
                .map(|id| command_task(offer, id, &self.tasks.command(id), TASK_CPUS, TASK_MEM_MB))
                .collect();
            // Counted before the call: whether a launch whose answer is lost took place is for
            // reconciliation to tell.
            let agent = offer["agent_id"]["value"].as_str().unwrap_or_default();
            for id in &chosen {
                self.tasks.progress.lock().on_launch(id, agent);
            }
            client.launch(offer, &tasks).await?;
        }
        Ok(())
    }

    async fn on_update(&mut self, client: &SchedulerClient, status: &Value) -> Result<()> {
        let id = status["task_id"]["value"].as_str().unwrap_or_default();
        let state = status["state"].as_str().unwrap_or_default();
        self.tasks.progress.lock().on_status(id, state);
        client.acknowledge(status).await
    }
}
