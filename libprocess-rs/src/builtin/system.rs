//! `/system/stats.json` and the metrics of the machine.

use std::fs;

use serde::Serialize;

use crate::{Context, Help, Metrics, Process, Reply, Request, Response, RouteOptions};

pub(super) struct SystemEndpoint;

impl Process for SystemEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let help = Help::tldr("Load, CPUs and memory of this machine.")
            .description(">        avg_load_1min        Load average over one minute")
            .description(">        avg_load_5min        Load average over five minutes")
            .description(">        avg_load_15min       Load average over fifteen minutes")
            .description(">        cpus_total           CPUs that are online")
            .description(">        mem_total_bytes      Memory")
            .description(">        mem_free_bytes       Memory that is not used at all");
        ctx.route("/stats.json", RouteOptions::with_help(help), stats);
    }
}

/// In the order of upstream's keys; what is not known is left out.
#[derive(Serialize)]
struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    avg_load_15min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avg_load_1min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avg_load_5min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus_total: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_total_bytes: Option<u64>,
}

fn stats(_: &mut SystemEndpoint, _: &mut Context<SystemEndpoint>, request: Request) -> Reply {
    let [one, five, fifteen] = load();
    let stats = Stats {
        avg_load_15min: fifteen,
        avg_load_1min: one,
        avg_load_5min: five,
        cpus_total: cpus(),
        mem_free_bytes: memory("MemFree:"),
        mem_total_bytes: memory("MemTotal:"),
    };
    Response::json_or_jsonp(stats, &request).into()
}

pub(super) fn add_metrics(metrics: &Metrics) {
    fn known(value: Option<f64>) -> f64 {
        // A snapshot leaves out what is not a number.
        value.unwrap_or(f64::NAN)
    }
    metrics.pull_gauge("system/load_1min", || known(load()[0]));
    metrics.pull_gauge("system/load_5min", || known(load()[1]));
    metrics.pull_gauge("system/load_15min", || known(load()[2]));
    metrics.pull_gauge("system/cpus_total", || known(cpus().map(|n| n as f64)));
    metrics.pull_gauge("system/mem_total_bytes", || {
        known(memory("MemTotal:").map(|n| n as f64))
    });
    metrics.pull_gauge("system/mem_free_bytes", || {
        known(memory("MemFree:").map(|n| n as f64))
    });
}

/// Load averages over 1, 5 and 15 minutes.
fn load() -> [Option<f64>; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut fields = text.split(' ').map(|field| field.parse().ok());
    [(); 3].map(|()| fields.next().flatten())
}

/// CPUs that are online, whatever part of them this process may use.
fn cpus() -> Option<usize> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let cpus = text
        .lines()
        .filter(|line| {
            let number = line
                .strip_prefix("cpu")
                .and_then(|rest| rest.chars().next());
            number.is_some_and(|c| c.is_ascii_digit())
        })
        .count();
    (cpus > 0).then_some(cpus)
}

fn memory(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        assert!(load().iter().all(Option::is_some));
        assert!(cpus().is_some_and(|cpus| cpus > 0));
        assert!(memory("MemTotal:") > memory("MemFree:"));
        assert_eq!(memory("NoSuch:"), None);
    }
}
