//! `mesos launch`: runs one task, follows its output, exits with its exit status.

mod follow;
mod output;
mod run;

use anyhow::anyhow;
use libprocess::Runtime;
use mesos::flags::Flags;
use mesos::logging::LoggingFlags;
use mesos::proto::{FrameworkInfo, TaskInfo};
use mesos::resources::Resources;
use mesos_driver::{SchedulerDriver, SchedulerOptions, framework, task};
use mesos_execute::OneTask;
use tokio::sync::mpsc;

use crate::args::LaunchArgs;
use crate::cluster::{self, Cluster};
use crate::http::Http;
use crate::{config, leader};

use output::Output;
use run::Run;

/// Between the first attempts to register with an embedded master, which answers at once.
const EMBEDDED_BACKOFF: std::time::Duration = std::time::Duration::from_millis(1);

/// Runs the task; the exit status of the command, or one that says what became of it.
pub(crate) async fn launch(args: LaunchArgs) -> anyhow::Result<u8> {
    // Caught from here on, so that nothing is left behind.
    let signals = run::Signals::catch()?;
    if args.verbose {
        mesos::logging::init("mesos", &LoggingFlags::from_args::<String>([])?)?;
    }
    let output = Output::new(args.quiet);
    let choice = config::find_master(args.master.master.clone(), |name| std::env::var(name).ok())?;
    match choice {
        Some(choice) => {
            let client = leader::find(&choice).await?;
            tracing::debug!("the leading master is at {}", client.authority());
            let http = client.http().clone();
            run_task(&args, &choice.address, None, http, output, signals).await
        }
        None => {
            let cluster = Cluster::start()?;
            let master = cluster.master();
            let code = run_task(
                &args,
                &master,
                Some(&cluster),
                Http::plain(),
                output,
                signals,
            )
            .await;
            let closed = cluster.shutdown();
            let code = code?;
            closed?;
            Ok(code)
        }
    }
}

async fn run_task(
    args: &LaunchArgs,
    master: &str,
    cluster: Option<&Cluster>,
    http: Http,
    output: Output,
    signals: run::Signals,
) -> anyhow::Result<u8> {
    let (task, resources) = describe_task(args);
    let (sender, news) = mpsc::unbounded_channel();
    let scheduler = OneTask::new(
        task.clone(),
        resources.clone(),
        move |_: &SchedulerDriver, news| {
            // Nobody listens any more once we are on our way out.
            let _ = sender.send(news);
        },
    );
    let mut builder = SchedulerDriver::builder(scheduler, describe_framework(args), master);
    // On loopback, whatever the environment says about addresses.
    let runtime = cluster.is_some().then(embedded_runtime).transpose()?;
    if let Some(runtime) = &runtime {
        builder = builder.runtime(runtime.clone()).options(SchedulerOptions {
            registration_backoff_factor: EMBEDDED_BACKOFF,
        });
    }
    let driver = builder.build();
    driver.start();
    let run = Run::new(
        task,
        resources,
        driver.clone(),
        cluster.is_some(),
        http,
        output,
    );
    let code = run.until_done(news, signals).await;
    driver.stop(false);
    driver.wait().await;
    if let Some(runtime) = runtime {
        runtime.shutdown();
    }
    code
}

fn embedded_runtime() -> anyhow::Result<Runtime> {
    Runtime::start(cluster::runtime_config())
        .map_err(|error| anyhow!("cannot start the scheduler: {error}"))
}

fn describe_framework(args: &LaunchArgs) -> FrameworkInfo {
    use mesos::proto::framework_info::capability::Type as Capability;
    let mut info = framework(format!("mesos launch {}", args.name))
        .role(&args.role)
        .capability(Capability::PartitionAware)
        .capability(Capability::ReservationRefinement);
    if let Some(user) = &args.user {
        info = info.user(user);
    }
    info.build()
}

fn describe_task(args: &LaunchArgs) -> (TaskInfo, Resources) {
    let mut builder = task(&args.name)
        .cpus(args.cpus)
        .mem_mb(args.mem.megabytes());
    if let Some(disk) = args.disk {
        builder = builder.disk_mb(disk.megabytes());
    }
    for (name, value) in &args.env {
        builder = builder.env(name, value);
    }
    if let Some(user) = &args.user {
        builder = builder.user(user);
    }
    let task = match (&args.command, args.program.split_first()) {
        (Some(command), _) => builder.shell(command),
        (None, Some((path, _))) => builder.program(path, args.program.iter().cloned()),
        // The command line has one of both.
        (None, None) => builder,
    };
    let task = task.build();
    let resources = Resources::from_valid_protos(&task.resources);
    (task, resources)
}
