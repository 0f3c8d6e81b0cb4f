//! One table of figures.

use std::time::Duration;

/// What a figure counts, and with it whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Something per second; more is better.
    PerSecond(&'static str),
    /// Milliseconds; less is better.
    Milliseconds,
    /// Bytes; less is better.
    Bytes,
    /// A ratio of two figures of the same run.
    Ratio,
}

struct Row {
    name: String,
    figure: f64,
    unit: Unit,
    cpp: Option<f64>,
}

/// The figures of a run, in the order in which they were taken.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure, with that of the C++ original if it is known, and shows it at once.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        figure: f64,
        unit: Unit,
        cpp: Option<f64>,
    ) {
        let row = Row {
            name: name.into(),
            figure,
            unit,
            cpp,
        };
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// `count` things in `elapsed`.
    pub(crate) fn rate(
        &mut self,
        name: impl Into<String>,
        count: usize,
        elapsed: Duration,
        what: &'static str,
        cpp: Option<f64>,
    ) {
        let rate = count as f64 / elapsed.as_secs_f64();
        self.add(name, rate, Unit::PerSecond(what), cpp);
    }

    /// A time, with that of the original in milliseconds.
    pub(crate) fn time(&mut self, name: impl Into<String>, elapsed: Duration, cpp: Option<f64>) {
        let milliseconds = elapsed.as_secs_f64() * 1000.0;
        self.add(name, milliseconds, Unit::Milliseconds, cpp);
    }

    /// An amount of memory.
    pub(crate) fn bytes(&mut self, name: impl Into<String>, bytes: f64) {
        self.add(name, bytes, Unit::Bytes, None);
    }

    /// True if nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the whole as a Markdown table.
    pub(crate) fn print(&self) {
        println!("\n| benchmark | here | C++ | times as good |\n|---|---|---|---|");
        for row in &self.rows {
            println!("{}", row.cells());
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let ratio = self.ratio().map(|ratio| format!("  ({ratio:.1} x C++)"));
        let figure = show(self.figure, self.unit);
        format!("{}: {figure}{}", self.name, ratio.unwrap_or_default())
    }

    fn cells(&self) -> String {
        let cpp = self.cpp.map(|cpp| show(cpp, self.unit));
        let ratio = self.ratio().map(|ratio| format!("{ratio:.1}"));
        format!(
            "| {} | {} | {} | {} |",
            self.name,
            show(self.figure, self.unit),
            cpp.unwrap_or_default(),
            ratio.unwrap_or_default()
        )
    }

    /// Above 1 if this is better than the original.
    fn ratio(&self) -> Option<f64> {
        let cpp = self.cpp?;
        Some(match self.unit {
            Unit::PerSecond(_) | Unit::Ratio => self.figure / cpp,
            Unit::Milliseconds | Unit::Bytes => cpp / self.figure,
        })
    }
}

/// The figure in the middle of several; zero if there is none.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn show(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond(what) if figure >= 1e6 => format!("{:.2} M {what}/s", figure / 1e6),
        Unit::PerSecond(what) if figure >= 1e3 => format!("{:.1} k {what}/s", figure / 1e3),
        Unit::PerSecond(what) => format!("{figure:.1} {what}/s"),
        Unit::Milliseconds if figure >= 100.0 => format!("{figure:.0} ms"),
        Unit::Milliseconds => format!("{figure:.3} ms"),
        Unit::Bytes if figure >= 1024.0 * 1024.0 => format!("{:.1} MiB", figure / 1024.0 / 1024.0),
        Unit::Bytes => format!("{figure:.0} B"),
        Unit::Ratio => format!("{figure:.2}"),
    }
}
