//! `/logging/toggle`.

use std::time::Duration;

use http::StatusCode;

use super::readwrite;
use crate::{Context, Help, Process, Reply, Request, Response, Timer, duration};

#[derive(Default)]
pub(super) struct LoggingEndpoint {
    /// The level at start, to which it reverts.
    original: Option<u32>,
    revert: Option<Timer>,
}

impl Process for LoggingEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let logging = &ctx.runtime().inner().logging;
        self.original = logging.as_ref().map(|logging| logging.level());
        let help = Help::tldr("Shows the verbosity of the log, or raises it for a while.")
            .description("Without parameters the answer is the current level. With both, the level")
            .description("holds for the given time, then it is again what it was at the start; it")
            .description("cannot be set below that.")
            .description("")
            .description("Query parameters:")
            .description("")
            .description(">        level=VALUE          Verbosity level (e.g., 1, 2, 3)")
            .description(">        duration=VALUE       Duration of that level (e.g., 10secs)")
            .authentication(true);
        ctx.route("/toggle", readwrite(ctx, help), Self::toggle);
    }
}

impl LoggingEndpoint {
    fn toggle(&mut self, ctx: &mut Context<Self>, request: Request) -> Reply {
        let parameters = (request.query.get("level"), request.query.get("duration"));
        let result = match parameters {
            (None, None) => return Response::text(StatusCode::OK, self.level(ctx)).into(),
            (Some(level), Some(duration)) => self.parse(level, duration),
            (None, Some(_)) => Err("Expecting 'level=value' in query.\n".to_owned()),
            (Some(_), None) => Err("Expecting 'duration=value' in query.\n".to_owned()),
        };
        match result {
            Ok((level, duration)) => {
                self.set(ctx, level, duration);
                Response::ok().into()
            }
            Err(text) => Response::text(StatusCode::BAD_REQUEST, text).into(),
        }
    }

    fn level(&self, ctx: &Context<Self>) -> String {
        let logging = &ctx.runtime().inner().logging;
        let level = logging.as_ref().map_or(0, |logging| logging.level());
        format!("{level}\n")
    }

    fn parse(&self, level: &str, duration: &str) -> Result<(u32, Duration), String> {
        let Some(original) = self.original else {
            return Err("The logging level cannot be changed.\n".to_owned());
        };
        let level: i64 = level
            .parse()
            .map_err(|_| format!("Invalid level '{level}': expecting a number.\n"))?;
        let level = u32::try_from(level).map_err(|_| format!("Invalid level '{level}'.\n"))?;
        if level < original {
            return Err(format!("'{level}' < original level.\n"));
        }
        let duration = duration::parse(duration).map_err(|error| format!("{error}.\n"))?;
        Ok((level, duration))
    }

    fn set(&mut self, ctx: &Context<Self>, level: u32, duration: Duration) {
        if let Some(revert) = self.revert.take() {
            revert.cancel();
        }
        set_level(ctx, level);
        if Some(level) != self.original {
            self.revert = Some(ctx.delay(duration, |endpoint, ctx| {
                endpoint.revert = None;
                if let Some(original) = endpoint.original {
                    set_level(ctx, original);
                }
            }));
        }
    }
}

fn set_level(ctx: &Context<LoggingEndpoint>, level: u32) {
    if let Some(logging) = &ctx.runtime().inner().logging {
        logging.set_level(level);
        tracing::info!("Set the logging level to {level}");
    }
}
