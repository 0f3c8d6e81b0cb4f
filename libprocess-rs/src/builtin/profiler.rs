//! `/profiler/start` and `/profiler/stop`.

use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use http::StatusCode;
use http::header::CONTENT_DISPOSITION;

use super::cpu_profile::{CpuProfiler, ProfileError};
use super::readwrite;
use crate::{Context, Counter, Help, Process, Reply, Request, Response, Timer};

/// Samples are kept in a file as long as they are taken, so that this has to end once.
const MAX_DURATION: Duration = Duration::from_secs(60 * 60);

/// The name of the file, as upstream.
const ATTACHMENT: &str = "attachment; filename=perftools.out";

type Profile = Result<Bytes, ProfileError>;

pub(super) struct ProfilerEndpoint {
    enabled: bool,
    state: State,
    /// Profiles that ended because nobody stopped them.
    expired: Counter,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Running {
        profiler: CpuProfiler,
        expiry: Timer,
    },
    /// Not stopped in time; to be had for the next stop.
    Expired(Profile),
}

impl ProfilerEndpoint {
    pub(super) fn new(enabled: bool, expired: Counter) -> Self {
        Self {
            enabled,
            state: State::Idle,
            expired,
        }
    }
}

impl Process for ProfilerEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let help = Help::tldr("Starts profiling.")
            .description("Takes samples of what the CPU is spent on, 100 in each second of CPU")
            .description("time, until the profile is stopped, for one hour at most. The program")
            .description("must have been started with LIBPROCESS_ENABLE_PROFILER=1 in its")
            .description("environment. Takes some 70 MB of memory from the first time on.")
            .authentication(true);
        ctx.route("/start", readwrite(ctx, help), Self::start);
        let help = Help::tldr("Stops profiling.")
            .description("The answer is the profile, as a file for")
            .description("[pprof](https://github.com/google/pprof).")
            .authentication(true);
        ctx.route("/stop", readwrite(ctx, help), Self::stop);
    }
}

impl ProfilerEndpoint {
    fn start(&mut self, ctx: &mut Context<Self>, _: Request) -> Reply {
        if !self.enabled {
            return refuse(
                "The profiler is not enabled: start the program with LIBPROCESS_ENABLE_PROFILER=1 \
                 in its environment.\n",
            );
        }
        if let State::Running { .. } = self.state {
            return refuse("Profiler already started.\n");
        }
        let profiler = match CpuProfiler::start() {
            Ok(profiler) => profiler,
            Err(ProfileError::Running) => return refuse("Profiler already started.\n"),
            Err(error) => return failed(&error).into(),
        };
        tracing::info!("Started the profiler");
        let expiry = ctx.delay(MAX_DURATION, Self::expire);
        self.state = State::Running { profiler, expiry };
        Response::text(StatusCode::OK, "Profiler started.\n").into()
    }

    fn stop(&mut self, ctx: &mut Context<Self>, _: Request) -> Reply {
        match std::mem::take(&mut self.state) {
            State::Idle => refuse("Profiler not running.\n"),
            State::Expired(profile) => attachment(profile).into(),
            State::Running { profiler, expiry } => {
                expiry.cancel();
                tracing::info!("Stopped the profiler");
                let (finished, profile) = oneshot::channel();
                ctx.blocking(
                    || profiler.finish(),
                    |_, _, profile| {
                        // The client may have gone.
                        let _ = finished.send(profile);
                    },
                );
                Reply::later(async {
                    match profile.await {
                        Ok(profile) => attachment(profile),
                        Err(_) => Response::status(StatusCode::INTERNAL_SERVER_ERROR),
                    }
                })
            }
        }
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        if let State::Running { profiler, .. } = std::mem::take(&mut self.state) {
            tracing::warn!("Stopped the profiler, which nobody has done for {MAX_DURATION:?}");
            self.expired.inc();
            ctx.blocking(
                || profiler.finish(),
                |endpoint, _, profile| {
                    if let State::Idle = endpoint.state {
                        endpoint.state = State::Expired(profile);
                    }
                },
            );
        }
    }
}

fn attachment(profile: Profile) -> Response {
    match profile {
        Ok(profile) => Response::bytes(profile).header(CONTENT_DISPOSITION, ATTACHMENT),
        Err(error) => failed(&error),
    }
}

fn failed(error: &ProfileError) -> Response {
    tracing::error!("Failed to profile: {error}");
    let text = format!("Failed to profile: {error}.\n");
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

fn refuse(text: &str) -> Reply {
    Response::text(StatusCode::BAD_REQUEST, text).into()
}
