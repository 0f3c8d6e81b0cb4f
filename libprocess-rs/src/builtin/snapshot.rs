//! `/metrics/snapshot` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{off_the_actor, readonly};
use crate::config::MetricsConfig;
use crate::duration::DurationError;
use crate::metrics::{Answers, Format, Limiter, within};
use crate::runtime::Inner;
use crate::{Context, Counter, Help, Process, Reply, Request, Response, duration};

/// Prometheus says how long it waits for an answer.
const SCRAPE_TIMEOUT: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// So much sooner it gets one.
const SCRAPE_MARGIN: Duration = Duration::from_millis(500);

/// Actor and route of the snapshot.
const SNAPSHOT: (&str, &str) = ("metrics", "snapshot");

pub(super) struct MetricsEndpoint {
    config: MetricsConfig,
    snapshots: Option<Arc<Limiter>>,
    scrapes: Option<Arc<Limiter>>,
    refused: Counter,
    left_out: Counter,
}

impl MetricsEndpoint {
    pub(super) fn new(inner: &Inner) -> Self {
        let config = inner.metrics_config;
        let limiter = || {
            let rate = config.rate?;
            Some(Arc::new(Limiter::new(inner.clock.clone(), rate)))
        };
        Self {
            config,
            snapshots: limiter(),
            scrapes: limiter(),
            refused: inner.metrics.counter("libprocess/metrics_requests_refused"),
            left_out: inner.metrics.counter("libprocess/metrics_series_left_out"),
        }
    }
}

impl Process for MetricsEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let timeout = ">        timeout=VALUE        Duration to wait at most (e.g., 5secs)";
        let help = Help::tldr("All metrics and their current values.")
            .description("The answer is one JSON object: a key per metric, each value a double.")
            .description("A metric without a value is left out, and so is one whose value does")
            .description("not come within the timeout.")
            .description("")
            .description("Query parameters:")
            .description("")
            .description(timeout)
            .description(">        jsonp=VALUE          Function to wrap the answer in")
            .authentication(true);
        ctx.route("/snapshot", readonly(ctx, help), Self::snapshot);
        let help = Help::tldr("All metrics as text for Prometheus.")
            .description("The answer is OpenMetrics 1.0 if the client names it in `Accept`, else")
            .description("the text format 0.0.4. Slashes in names become underscores; the help of")
            .description("a metric is its name in `/metrics/snapshot`.")
            .description("")
            .description("Query parameters:")
            .description("")
            .description(timeout)
            .authentication(true);
        ctx.route("/", readonly(ctx, help), Self::scrape);
    }
}

impl MetricsEndpoint {
    fn snapshot(&mut self, ctx: &mut Context<Self>, request: Request) -> Reply {
        let timeout = match self.timeout(&request) {
            Ok(timeout) => timeout,
            Err(error) => return invalid(&error),
        };
        let metrics = ctx.runtime().metrics().clone();
        let snapshots = self.snapshots.clone();
        Reply::later(self.answer(ctx, snapshots, timeout, move |answers| {
            Response::json_text_or_jsonp(metrics.to_json(&answers), &request)
        }))
    }

    fn scrape(&mut self, ctx: &mut Context<Self>, request: Request) -> Reply {
        let timeout = match self.timeout(&request) {
            Ok(timeout) => timeout,
            Err(error) => return invalid(&error),
        };
        let runtime = ctx.runtime().clone();
        let metrics = runtime.metrics().clone();
        let format = Format::for_accept(request.header("Accept"));
        let (max_series, left_out) = (self.config.max_series, self.left_out.clone());
        let answer = self.answer(ctx, self.scrapes.clone(), timeout, move |answers| {
            let exposition = metrics.expose(&answers, format, max_series);
            left_out.add(exposition.left_out as u64);
            Response::text(StatusCode::OK, exposition.text)
                .header(http::header::CONTENT_TYPE, format.content_type())
        });
        Reply::later(async move {
            let inner = runtime.inner();
            let delegate = inner.delegate.as_deref();
            // Who may not see the snapshot may not see the same in another form.
            let allowed = inner.gatekeeper.allows(SNAPSHOT, delegate, &request);
            match allowed.await {
                Ok(()) => answer.await,
                Err(refusal) => *refusal,
            }
        })
    }

    fn timeout(&self, request: &Request) -> Result<Timeout, DurationError> {
        if let Some(text) = request.query.get("timeout") {
            return duration::parse(text).map(Timeout::Whole);
        }
        let scrape = request
            .header(SCRAPE_TIMEOUT)
            .and_then(|text| Duration::try_from_secs_f64(text.parse().ok()?).ok());
        Ok(match scrape {
            Some(scrape) => Timeout::Whole(scrape.saturating_sub(SCRAPE_MARGIN)),
            None => Timeout::Each(self.config.gauge_timeout),
        })
    }

    /// Waits for its turn, then for the gauges, and renders elsewhere than on the thread of the actor.
    fn answer(
        &self,
        ctx: &Context<Self>,
        limiter: Option<Arc<Limiter>>,
        timeout: Timeout,
        render: impl FnOnce(Answers) -> Response + Send + 'static,
    ) -> impl Future<Output = Response> + 'static {
        let runtime = ctx.runtime().clone();
        let refused = self.refused.clone();
        async move {
            let clock = runtime.clock();
            let begin = clock.now();
            let (Timeout::Whole(limit) | Timeout::Each(limit)) = timeout;
            if let Some(limiter) = limiter
                && within(clock, limit, limiter.pass()).await != Some(Ok(()))
            {
                refused.inc();
                let text = "Too many requests for metrics: no turn within the timeout.\n";
                return Response::unavailable(text, limiter.interval());
            }
            let left = match timeout {
                Timeout::Whole(limit) => limit.saturating_sub(clock.now() - begin),
                Timeout::Each(limit) => limit,
            };
            let answers = runtime.metrics().ask(left).await;
            off_the_actor(runtime, move || render(answers)).await
        }
    }
}

/// How long an answer may take.
#[derive(Clone, Copy)]
enum Timeout {
    /// All in all.
    Whole(Duration),
    /// In the queue, and then as long again for the gauges.
    Each(Duration),
}

fn invalid(error: &DurationError) -> Reply {
    let text = format!("Invalid timeout: {error}.\n");
    Response::text(StatusCode::BAD_REQUEST, text).into()
}
