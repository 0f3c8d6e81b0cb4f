//! One task, from its offer to its exit status.

use std::io;
use std::time::Duration;

use anyhow::bail;
use mesos::proto::{FrameworkId, Offer, TaskInfo, TaskState, TaskStatus, task_status};
use mesos::resources::Resources;
use mesos_driver::SchedulerDriver;
use mesos_execute::{TaskNews, exit_status, is_terminal};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::follow::{FollowError, Follower};
use super::output::Output;
use crate::http::Http;

/// The exit status of a program that was ended by a signal is this more than its number.
const SIGNAL_BASE: u8 = 128;

/// The exit status when the task ended in another way than by its command.
const FAILURE: u8 = 1;

/// How long the task may take to end after it was asked to.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// After how long without a fitting offer to say what is missing, and how often to repeat it.
const HINT_INTERVAL: Duration = Duration::from_secs(5);

/// The signals that end a program.
pub(crate) struct Signals {
    signals: [(u8, Signal); 3],
}

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Signals {
            signals: [
                (1, signal(SignalKind::hangup())?),
                (2, signal(SignalKind::interrupt())?),
                (15, signal(SignalKind::terminate())?),
            ],
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        let [(hup, a), (int, b), (term, c)] = &mut self.signals;
        tokio::select! {
            _ = a.recv() => *hup,
            _ = b.recv() => *int,
            _ = c.recv() => *term,
        }
    }
}

/// A task on its way.
pub(crate) struct Run {
    task: TaskInfo,
    resources: Resources,
    driver: SchedulerDriver,
    embedded: bool,
    http: Http,
    output: Output,
    framework_id: FrameworkId,
    offer: Option<Offer>,
    /// The last offer that was too small.
    declined: Option<Offer>,
    followers: JoinSet<Result<u64, FollowError>>,
    following: bool,
    ended: watch::Sender<bool>,
    state: Option<TaskState>,
}

impl Run {
    pub(crate) fn new(
        task: TaskInfo,
        resources: Resources,
        driver: SchedulerDriver,
        embedded: bool,
        http: Http,
        output: Output,
    ) -> Self {
        Run {
            task,
            resources,
            driver,
            embedded,
            http,
            output,
            framework_id: FrameworkId::default(),
            offer: None,
            declined: None,
            followers: JoinSet::new(),
            following: false,
            ended: watch::Sender::new(false),
            state: None,
        }
    }

    /// Follows the task to its end; the exit status for it.
    pub(crate) async fn until_done(
        mut self,
        mut news: mpsc::UnboundedReceiver<TaskNews>,
        mut signals: Signals,
    ) -> anyhow::Result<u8> {
        let mut hints = tokio::time::interval(HINT_INTERVAL);
        hints.tick().await;
        loop {
            tokio::select! {
                item = news.recv() => {
                    let Some(item) = item else {
                        bail!("the driver ended: {}", self.driver.error().unwrap_or_default());
                    };
                    if let Some(status) = self.hear(item)? {
                        return self.finish(&status, &mut signals).await;
                    }
                }
                number = signals.next() => {
                    return self.interrupted(number, news, signals).await;
                }
                Some(Ok(Err(error))) = self.followers.join_next() => {
                    return self.output_lost(&error, news, signals).await;
                }
                _ = hints.tick(), if self.offer.is_none() => self.hint(),
            }
        }
    }

    /// Takes in what happened; the last status of the task when there is one.
    fn hear(&mut self, news: TaskNews) -> anyhow::Result<Option<TaskStatus>> {
        match news {
            TaskNews::Subscribed(id) => self.framework_id = id,
            TaskNews::Declined(offer) if self.embedded => {
                bail!(
                    "the task does not fit this machine: {}",
                    self.shortage(&offer)
                );
            }
            TaskNews::Declined(offer) => self.declined = Some(*offer),
            TaskNews::Submitted(offer) => {
                self.output.submitted(&self.task.name, &offer);
                self.offer = Some(*offer);
            }
            TaskNews::Disconnected => self.output.note("the master is gone; looking for the next"),
            TaskNews::Reconnected => self.output.note("connected to a master again"),
            TaskNews::Update(status) => return Ok(self.update(*status)),
            TaskNews::Error(message) => bail!("{message}"),
        }
        Ok(None)
    }

    fn update(&mut self, status: TaskStatus) -> Option<TaskStatus> {
        // Reconciliation and repetition tell what is known already.
        if self.state != Some(status.state()) {
            self.output.state(&self.task.name, &status);
            self.state = Some(status.state());
        }
        if status.source() != task_status::Source::Master {
            self.start_following();
        }
        is_terminal(status.state()).then_some(status)
    }

    fn start_following(&mut self) {
        if self.following {
            return;
        }
        self.following = true;
        let Some(authority) = self.offer.as_ref().and_then(agent_authority) else {
            self.output
                .problem("cannot show the output: the offer does not say where the agent is");
            return;
        };
        // A command task has an executor of its own, with the id of the task.
        let sandbox = format!(
            "/frameworks/{}/executors/{}/runs/latest",
            self.framework_id.value, self.task.task_id.value
        );
        let (stdout, stderr) = match (self.http.at(&authority), self.http.at(&authority)) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(error), _) | (_, Err(error)) => {
                let problem = format!("cannot show the output: {error}");
                self.output.problem(&problem);
                return;
            }
        };
        let stdout = Follower::new(stdout, format!("{sandbox}/stdout"));
        let stderr = Follower::new(stderr, format!("{sandbox}/stderr"));
        self.followers
            .spawn(stdout.follow(io::stdout(), self.ended.subscribe()));
        self.followers
            .spawn(stderr.follow(io::stderr(), self.ended.subscribe()));
    }

    /// Shows the rest of the output; the exit status for `status`.
    async fn finish(mut self, status: &TaskStatus, signals: &mut Signals) -> anyhow::Result<u8> {
        self.ended.send_replace(true);
        loop {
            tokio::select! {
                followed = self.followers.join_next() => match followed {
                    Some(Ok(Err(error))) => self.output.problem(&error.to_string()),
                    Some(_) => {}
                    None => break,
                },
                number = signals.next() => return Ok(SIGNAL_BASE + number),
            }
        }
        let code = exit_status(status);
        if code != 0 && !status.message().starts_with("Command ") {
            self.output.ended_oddly(&self.task.name, status);
        }
        Ok(code)
    }

    /// A signal came: kills the task, and waits for that unless another signal comes.
    async fn interrupted(
        mut self,
        number: u8,
        news: mpsc::UnboundedReceiver<TaskNews>,
        mut signals: Signals,
    ) -> anyhow::Result<u8> {
        self.kill(news, &mut signals).await;
        Ok(SIGNAL_BASE + number)
    }

    /// The output cannot be shown any more: there is no use in a task that nobody sees.
    async fn output_lost(
        mut self,
        error: &FollowError,
        news: mpsc::UnboundedReceiver<TaskNews>,
        mut signals: Signals,
    ) -> anyhow::Result<u8> {
        let closed = matches!(error, FollowError::Write(error)
            if error.kind() == io::ErrorKind::BrokenPipe);
        if !closed {
            self.output.problem(&error.to_string());
        }
        self.kill(news, &mut signals).await;
        Ok(FAILURE)
    }

    async fn kill(&mut self, mut news: mpsc::UnboundedReceiver<TaskNews>, signals: &mut Signals) {
        if self.offer.is_none() {
            return;
        }
        self.driver.kill_task(self.task.task_id.clone());
        let ended = async {
            while let Some(item) = news.recv().await {
                match self.hear(item) {
                    Ok(None) => {}
                    Ok(Some(_)) | Err(_) => break,
                }
            }
            self.ended.send_replace(true);
            while self.followers.join_next().await.is_some() {}
        };
        tokio::select! {
            () = ended => {}
            _ = signals.next() => {}
            () = tokio::time::sleep(KILL_TIMEOUT) => {
                self.output.problem("the task does not end; leaving it to the agent");
            }
        }
    }

    fn hint(&self) {
        match &self.declined {
            None => self
                .output
                .note("waiting for an offer; no agent has free resources for us yet"),
            Some(offer) => {
                let shortage = self.shortage(offer);
                self.output.note(&format!(
                    "waiting for an offer that is large enough: {shortage}"
                ));
            }
        }
    }

    /// What is asked for, and what `offer` has.
    fn shortage(&self, offer: &Offer) -> String {
        let mut offered = Resources::from_valid_protos(&offer.resources);
        offered.unallocate();
        format!(
            "it needs {}; agent {} has {offered}",
            self.resources, offer.hostname
        )
    }
}

/// Where the agent of an offer listens.
fn agent_authority(offer: &Offer) -> Option<String> {
    let address = &offer.url.as_ref()?.address;
    let host = address.ip.as_deref().or(address.hostname.as_deref())?;
    Some(format!("{host}:{}", address.port))
}
