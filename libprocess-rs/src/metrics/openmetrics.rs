//! A snapshot as text for Prometheus, with names as [`crate::metrics`] says.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;

use super::registry::Reading;
use super::statistics::QUANTILES;
use super::timer::TimerReading;

/// How the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
}

impl Format {
    /// The format for a client with this `Accept` header: OpenMetrics if it is named there, as Prometheus does. A browser or
    /// `curl`, which accept anything, get the format that all tools read.
    pub(crate) fn for_accept(accept: Option<&str>) -> Self {
        let named = accept.unwrap_or_default().split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let refused = |part: &str| {
                let quality = part.strip_prefix("q=").map(str::parse::<f64>);
                quality.is_some_and(|quality| !quality.is_ok_and(|quality| quality > 0.0))
            };
            kind.eq_ignore_ascii_case("application/openmetrics-text") && !parts.any(refused)
        });
        match named {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A snapshot as text.
pub(crate) struct Exposition {
    pub(crate) text: String,
    /// Series that are not in it because there are too many.
    pub(crate) left_out: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Summary,
    Gauge,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Summary => "summary",
            Self::Gauge => "gauge",
        }
    }
}

/// The metrics that have one name in the text.
struct Family {
    kind: Kind,
    members: Vec<Member>,
}

struct Member {
    /// The name here.
    name: String,
    value: Value,
}

enum Value {
    Count(i64),
    Number(f64),
    Timer(Box<TimerReading>),
}

impl Value {
    fn of(reading: Reading) -> Option<Self> {
        match reading {
            Reading::Count(count, _) if count >= 0 => Some(Self::Count(count)),
            Reading::Timer(timer) => Some(Self::Timer(Box::new(timer))),
            other => other.value().map(Self::Number),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Count(_) => Kind::Counter,
            Self::Timer(_) => Kind::Summary,
            Self::Number(_) => Kind::Gauge,
        }
    }

    /// How many lines it takes.
    fn series(&self) -> usize {
        match self {
            Self::Timer(timer) if timer.statistics.is_some() => QUANTILES.len() + 2,
            Self::Timer(_) => 2,
            Self::Count(_) | Self::Number(_) => 1,
        }
    }
}

/// Writes what `read` shows, up to `max_series` lines.
pub(super) fn expose(
    format: Format,
    max_series: usize,
    read: impl FnOnce(&mut dyn FnMut(&str, Reading)),
) -> Exposition {
    let (mut left, mut left_out) = (max_series, 0);
    let (mut counters, mut timers, mut gauges) = (Vec::new(), Vec::new(), Vec::new());
    read(&mut |name, reading| {
        let Some(value) = Value::of(reading) else {
            return;
        };
        let series = value.series();
        if series > left {
            // Nor is what comes later in the order of names, however short.
            left = 0;
            left_out += series;
            return;
        }
        left -= series;
        let members = match value.kind() {
            Kind::Counter => &mut counters,
            Kind::Summary => &mut timers,
            Kind::Gauge => &mut gauges,
        };
        let name = name.to_owned();
        members.push(Member { name, value });
    });
    let mut families = BTreeMap::new();
    for member in counters.into_iter().chain(timers).chain(gauges) {
        place(&mut families, member);
    }
    let mut text = String::with_capacity((max_series - left) * 256);
    for (name, family) in &families {
        write_family(&mut text, format, name, family);
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    Exposition { text, left_out }
}

fn place(families: &mut BTreeMap<String, Family>, member: Member) {
    let kind = member.value.kind();
    let mut name = family_name(&member);
    loop {
        match families.entry(name) {
            Entry::Vacant(vacant) => {
                let members = vec![member];
                vacant.insert(Family { kind, members });
                return;
            }
            Entry::Occupied(mut family) if family.get().kind == kind => {
                family.get_mut().members.push(member);
                return;
            }
            Entry::Occupied(taken) => name = format!("{}_value", taken.key()),
        }
    }
}

/// Suffixes that samples of other kinds have, so that a gauge cannot.
const RESERVED_SUFFIXES: [&str; 8] = [
    "_total", "_count", "_sum", "_bucket", "_created", "_info", "_gcount", "_gsum",
];

fn family_name(member: &Member) -> String {
    let mut name = String::with_capacity(member.name.len() + 8);
    if member.name.is_empty()
        || member
            .name
            .starts_with(|first: char| first.is_ascii_digit())
    {
        name.push('_');
    }
    for (index, part) in member
        .name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .enumerate()
    {
        if index > 0 {
            name.push('_');
        }
        name.push_str(part);
    }
    match &member.value {
        Value::Count(_) => {
            if let Some(base) = name.strip_suffix("_total") {
                name.truncate(base.len());
            }
        }
        Value::Timer(timer) => {
            if let Some(base) = name.strip_suffix(timer.unit.suffix()) {
                name.truncate(base.len());
            }
            name.push_str("seconds");
        }
        Value::Number(_) => {
            if RESERVED_SUFFIXES
                .iter()
                .any(|suffix| name.ends_with(suffix))
            {
                name.push_str("_value");
            }
        }
    }
    name
}

fn write_family(text: &mut String, format: Format, name: &str, family: &Family) {
    let kind = family.kind.as_str();
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Summary | Kind::Gauge => "",
    };
    let described = match format {
        Format::OpenMetrics => "",
        Format::Prometheus => suffix,
    };
    // Writing to memory cannot fail.
    let _ = writeln!(text, "# TYPE {name}{described} {kind}");
    if format == Format::OpenMetrics && family.kind == Kind::Summary && name.ends_with("_seconds") {
        let _ = writeln!(text, "# UNIT {name} seconds");
    }
    let _ = write!(text, "# HELP {name}{described} ");
    match &family.members[..] {
        // The older format has no escape for quotation marks here.
        [only] => push_escaped(text, &only.name, format == Format::OpenMetrics),
        _ => text.push_str("Several metrics, see the label name"),
    }
    text.push('\n');
    for member in &family.members {
        let label = (family.members.len() > 1).then_some(member.name.as_str());
        match &member.value {
            Value::Count(count) => {
                push_series(text, name, suffix, label, None);
                let _ = writeln!(text, "{count}");
            }
            Value::Number(value) => {
                push_series(text, name, suffix, label, None);
                push_number(text, *value);
            }
            Value::Timer(timer) => write_summary(text, name, label, timer),
        }
    }
}

fn write_summary(text: &mut String, name: &str, label: Option<&str>, timer: &TimerReading) {
    let seconds = timer.unit.nanoseconds() / 1e9;
    if let Some(statistics) = timer.statistics {
        let quantiles = QUANTILES.iter().zip(statistics.values);
        // The maximum, which is the first key, comes last here.
        for ((_, share), value) in quantiles.clone().skip(1).chain(quantiles.take(1)) {
            push_series(text, name, "", label, Some(*share));
            push_number(text, value * seconds);
        }
    }
    push_series(text, name, "_sum", label, None);
    push_number(text, timer.total.as_secs_f64());
    push_series(text, name, "_count", label, None);
    let _ = writeln!(text, "{}", timer.count);
}

/// Name and labels of one line.
fn push_series(
    text: &mut String,
    name: &str,
    suffix: &str,
    label: Option<&str>,
    quantile: Option<f64>,
) {
    text.push_str(name);
    text.push_str(suffix);
    if let Some(label) = label {
        text.push_str("{name=\"");
        push_escaped(text, label, true);
        text.push('"');
    }
    if let Some(quantile) = quantile {
        let open = if label.is_some() { ',' } else { '{' };
        let _ = write!(text, "{open}quantile=\"{quantile:?}\"");
    }
    if label.is_some() || quantile.is_some() {
        text.push('}');
    }
    text.push(' ');
}

fn push_number(text: &mut String, value: f64) {
    let _ = match value {
        f64::INFINITY => writeln!(text, "+Inf"),
        f64::NEG_INFINITY => writeln!(text, "-Inf"),
        value => writeln!(text, "{value:?}"),
    };
}

/// Escapes what would end a line or a label.
fn push_escaped(text: &mut String, name: &str, quotes: bool) {
    if !name.contains(['\\', '"', '\n']) {
        text.push_str(name);
        return;
    }
    for c in name.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' if quotes => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        let check = |accept: Option<&str>, expected: Format| {
            assert_eq!(Format::for_accept(accept), expected, "{accept:?}");
        };
        check(None, Format::Prometheus);
        check(Some("*/*"), Format::Prometheus);
        check(Some("text/plain"), Format::Prometheus);
        check(Some("application/openmetrics-text"), Format::OpenMetrics);
        check(
            Some(
                "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            Format::OpenMetrics,
        );
        check(
            Some("text/plain, Application/OpenMetrics-Text; q=0.1"),
            Format::OpenMetrics,
        );
        check(Some("application/openmetrics-text;q=0"), Format::Prometheus);
        check(Some("application/openmetrics-text;q=x"), Format::Prometheus);
    }

    fn gauges(names: &[&str], max_series: usize) -> Exposition {
        expose(Format::Prometheus, max_series, |visit| {
            for name in names {
                visit(name, Reading::Gauge(1.0));
            }
        })
    }

    #[test]
    fn names_become_valid() {
        let check = |name: &str, expected: &str| {
            let text = gauges(&[name], 1).text;
            let last = text.lines().last().unwrap();
            assert_eq!(last, format!("{expected} 1.0"), "{name:?}");
        };
        check("master/elected", "master_elected");
        check("a.b-c:d e", "a_b_c_d_e");
        check("1min", "_1min");
        check("", "_");
        check("é/x", "__x");
        check("master/cpus_total", "master_cpus_total_value");
        check("a_count", "a_count_value");
        check("_a", "_a");
    }

    #[test]
    fn too_many_series_are_left_out() {
        let exposition = gauges(&["a", "b", "c"], 2);
        assert_eq!(exposition.text.matches("TYPE").count(), 2);
        assert_eq!(exposition.left_out, 1);

        let timer = crate::metrics::Timer::new(
            crate::Clock::paused(),
            crate::metrics::TimeUnit::Milliseconds,
            None,
        );
        let exposition = expose(Format::Prometheus, 2, |visit| {
            visit("a", Reading::Gauge(1.0));
            visit("b", Reading::Timer(timer.reading()));
            visit("c", Reading::Gauge(1.0));
        });
        assert!(exposition.text.ends_with("\na 1.0\n"));
        assert_eq!(exposition.left_out, 3);
    }
}
