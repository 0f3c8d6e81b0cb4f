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

const STARTED: &str = "Profiler already started.\n";

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
    Starting,
    Running {
        profiler: CpuProfiler,
        expiry: Timer,
    },
    /// The samples are being made into a profile.
    Finishing,
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
        match self.state {
            State::Idle | State::Expired(_) => self.state = State::Starting,
            _ => return refuse(STARTED),
        }
        let (started, answer) = oneshot::channel();
        ctx.blocking(CpuProfiler::start, |endpoint, ctx, profiler| {
            // The client may have gone.
            let _ = started.send(endpoint.started(ctx, profiler));
        });
        later(answer)
    }

    fn started(
        &mut self,
        ctx: &mut Context<Self>,
        profiler: Result<CpuProfiler, ProfileError>,
    ) -> Response {
        self.state = State::Idle;
        match profiler {
            Ok(profiler) => {
                tracing::info!("Started the profiler");
                let expiry = ctx.delay(MAX_DURATION, Self::expire);
                self.state = State::Running { profiler, expiry };
                Response::text(StatusCode::OK, "Profiler started.\n")
            }
            Err(ProfileError::Running) => Response::text(StatusCode::BAD_REQUEST, STARTED),
            Err(error) => failed(&error),
        }
    }

    fn stop(&mut self, ctx: &mut Context<Self>, _: Request) -> Reply {
        match std::mem::take(&mut self.state) {
            State::Running { profiler, expiry } => {
                expiry.cancel();
                tracing::info!("Stopped the profiler");
                let (finished, answer) = oneshot::channel();
                self.finish(ctx, profiler, |endpoint, profile| {
                    endpoint.state = State::Idle;
                    // The client may have gone.
                    let _ = finished.send(attachment(profile));
                });
                later(answer)
            }
            State::Expired(profile) => attachment(profile).into(),
            other => {
                self.state = other;
                refuse("Profiler not running.\n")
            }
        }
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        match std::mem::take(&mut self.state) {
            State::Running { profiler, .. } => {
                tracing::warn!("Stopped the profiler, which nobody has done for {MAX_DURATION:?}");
                self.expired.inc();
                self.finish(ctx, profiler, |endpoint, profile| {
                    endpoint.state = State::Expired(profile);
                });
            }
            other => self.state = other,
        }
    }

    fn finish(
        &mut self,
        ctx: &Context<Self>,
        profiler: CpuProfiler,
        then: impl FnOnce(&mut Self, Profile) + 'static,
    ) {
        self.state = State::Finishing;
        ctx.blocking(
            || profiler.finish(),
            |endpoint, _, profile| then(endpoint, profile),
        );
    }
}

fn later(answer: oneshot::Receiver<Response>) -> Reply {
    Reply::later(async {
        let answer = answer.await;
        answer.unwrap_or_else(|_| Response::status(StatusCode::INTERNAL_SERVER_ERROR))
    })
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::http::ReplyKind;
    use crate::{Pid, Runtime, RuntimeConfig};

    type Handler = fn(&mut ProfilerEndpoint, &mut Context<ProfilerEndpoint>, Request) -> Reply;

    /// The codes of what is answered at once when all of this is asked in one turn.
    async fn ask<const N: usize>(
        endpoint: &Pid<ProfilerEndpoint>,
        handlers: [Handler; N],
    ) -> [Option<u16>; N] {
        let asked = endpoint.ask(move |endpoint, ctx| {
            handlers.map(|handler| {
                let request = Request::new(http::Method::GET, "/");
                match handler(endpoint, ctx, request).into_kind() {
                    ReplyKind::Now(response) => Some(response.status_code().as_u16()),
                    ReplyKind::Later(_) => None,
                }
            })
        });
        asked.await.unwrap()
    }

    async fn until(endpoint: &Pid<ProfilerEndpoint>, reached: fn(&State) -> bool) {
        let begin = Instant::now();
        while !endpoint.ask(move |it, _| reached(&it.state)).await.unwrap() {
            assert!(begin.elapsed() < Duration::from_secs(60));
        }
    }

    /// The work behind an answer cannot be over before the turn is.
    #[test]
    fn what_takes_time_is_refused_meanwhile() {
        let runtime = Runtime::start(RuntimeConfig::loopback()).unwrap();
        let endpoint = ProfilerEndpoint::new(true, Counter::default());
        let endpoint = runtime.spawn("", endpoint).unwrap();
        let (start, stop): (Handler, Handler) = (ProfilerEndpoint::start, ProfilerEndpoint::stop);
        runtime.handle().block_on(async {
            let answers = ask(&endpoint, [start, start, stop]).await;
            assert_eq!(answers, [None, Some(400), Some(400)]);
            until(&endpoint, |state| matches!(state, State::Running { .. })).await;
            let answers = ask(&endpoint, [start, stop, stop, start]).await;
            assert_eq!(answers, [Some(400), None, Some(400), Some(400)]);
            until(&endpoint, |state| matches!(state, State::Idle)).await;
        });
        runtime.shutdown();
    }
}
