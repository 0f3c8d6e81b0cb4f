//! A profile of what the CPU is spent on, in the format of `pprof`.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use pprof::{ProfilerGuard, ProfilerGuardBuilder, Report, Symbol};
use prost::Message;

/// Samples in a second of CPU time, as gperftools; all threads together.
const FREQUENCY: i32 = 100;
const NANOS_PER_SAMPLE: i64 = 1_000_000_000 / FREQUENCY as i64;

/// No samples are taken in these libraries, where the stack may not be walked: they walk stacks and load libraries.
const UNSAFE_TO_INTERRUPT: &[&str] = &["libgcc", "ld-linux"];

#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    #[error("another runtime of this process is being profiled")]
    Running,
    #[error("no samples can be taken: {0}")]
    Sampling(pprof::Error),
}

impl From<pprof::Error> for ProfileError {
    fn from(error: pprof::Error) -> Self {
        match error {
            pprof::Error::Running => Self::Running,
            error => Self::Sampling(error),
        }
    }
}

/// Takes samples of all threads of the process while it lives. There can be one.
pub(super) struct CpuProfiler(ProfilerGuard<'static>);

impl CpuProfiler {
    pub(super) fn start() -> Result<Self, ProfileError> {
        let builder = ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(UNSAFE_TO_INTERRUPT);
        Ok(Self(builder.build()?))
    }

    /// The samples taken so far, as a message `Profile` of `pprof`. Looking up the names of functions takes seconds.
    pub(super) fn finish(self) -> Result<Bytes, ProfileError> {
        let report = self.0.report().build()?;
        Ok(encode(&report).into())
    }
}

fn encode(report: &Report) -> Vec<u8> {
    let mut tables = Tables::new();
    let samples = ValueType {
        kind: tables.string("samples"),
        unit: tables.string("count"),
    };
    let cpu = ValueType {
        kind: tables.string("cpu"),
        unit: tables.string("nanoseconds"),
    };
    let thread = tables.string("thread");
    let mut profile = Profile {
        sample_type: vec![samples, cpu.clone()],
        period_type: Some(cpu),
        period: NANOS_PER_SAMPLE,
        duration_nanos: nanos(report.timing.duration),
        time_nanos: report
            .timing
            .start_time
            .duration_since(UNIX_EPOCH)
            .map_or(0, nanos),
        ..Profile::default()
    };
    for (stack, count) in &report.data {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        let frames = stack.frames.iter();
        profile.sample.push(Sample {
            location_id: frames.map(|frame| tables.location(frame)).collect(),
            value: vec![count, count.saturating_mul(NANOS_PER_SAMPLE)],
            label: vec![Label {
                key: thread,
                str: tables.string(&stack.thread_name_or_id()),
            }],
        });
    }
    profile.location = tables.locations;
    profile.function = tables.functions;
    profile.string_table = tables.strings;
    profile.encode_to_vec()
}

fn nanos(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What samples refer to by number. Those of strings begin with 0, the others with 1.
struct Tables {
    strings: Vec<String>,
    string_ids: HashMap<String, i64>,
    functions: Vec<Function>,
    function_ids: HashMap<(i64, i64), u64>,
    locations: Vec<Location>,
    location_ids: HashMap<Vec<(u64, i64)>, u64>,
}

impl Tables {
    fn new() -> Self {
        let mut tables = Self {
            strings: Vec::new(),
            string_ids: HashMap::new(),
            functions: Vec::new(),
            function_ids: HashMap::new(),
            locations: Vec::new(),
            location_ids: HashMap::new(),
        };
        // The format wants it first.
        tables.string("");
        tables
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(id) = self.string_ids.get(text) {
            return *id;
        }
        let id = self.strings.len() as i64;
        self.strings.push(text.to_owned());
        self.string_ids.insert(text.to_owned(), id);
        id
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let name = self.string(&symbol.name());
        let filename = self.string(&symbol.filename());
        let id = self.functions.len() as u64 + 1;
        let known = *self.function_ids.entry((name, filename)).or_insert(id);
        if known == id {
            let system_name = self.string(&symbol.sys_name());
            self.functions.push(Function {
                id,
                name,
                system_name,
                filename,
            });
        }
        known
    }

    /// The place of a frame: the line in its function, after those of the functions that were inlined there.
    fn location(&mut self, frame: &[Symbol]) -> u64 {
        let lines = frame
            .iter()
            .map(|symbol| (self.function(symbol), i64::from(symbol.lineno())));
        let lines: Vec<(u64, i64)> = lines.collect();
        if let Some(id) = self.location_ids.get(&lines) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let line = lines.iter().map(|(function_id, line)| Line {
            function_id: *function_id,
            line: *line,
        });
        self.locations.push(Location {
            id,
            line: line.collect(),
        });
        self.location_ids.insert(lines, id);
        id
    }
}

/// `profile.proto` of <https://github.com/google/pprof>, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &str, line: u32) -> Symbol {
        Symbol {
            name: Some(name.into()),
            addr: None,
            lineno: Some(line),
            filename: Some("a.rs".into()),
        }
    }

    #[test]
    fn tables_hold_each_thing_once() {
        let mut tables = Tables::new();
        let inlined = [symbol("inner", 1), symbol("outer", 2)];
        assert_eq!(tables.location(&inlined), 1);
        assert_eq!(tables.location(&[symbol("outer", 3)]), 2);
        assert_eq!(tables.location(&inlined), 1);
        assert_eq!(tables.strings, ["", "inner", "a.rs", "outer"]);
        let check = |location: usize, expected: &[(u64, i64)]| {
            let lines = tables.locations[location].line.iter();
            let lines: Vec<_> = lines.map(|line| (line.function_id, line.line)).collect();
            assert_eq!(lines, expected);
        };
        check(0, &[(1, 1), (2, 2)]);
        check(1, &[(2, 3)]);
        assert_eq!(tables.functions.len(), 2);
    }
}
