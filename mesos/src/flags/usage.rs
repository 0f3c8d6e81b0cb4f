//! The usage text.

use super::FlagSpec;

/// Spaces between the columns of flags and of help.
const COLUMN_GAP: usize = 5;

/// The width up to which a flag still shares its line with its help.
const FLAG_COLUMN_MAX: usize = 46;

pub(super) fn usage(program: &str, specs: Vec<FlagSpec>) -> String {
    let rows: Vec<(String, String)> = specs
        .into_iter()
        .map(|spec| (left_column(&spec), right_column(spec)))
        .collect();
    let width = rows
        .iter()
        .map(|(flag, _)| flag.len())
        .filter(|length| *length <= FLAG_COLUMN_MAX)
        .max()
        .unwrap_or(0)
        + COLUMN_GAP;

    let mut text = format!("Usage: {program} [options]\n\n");
    for (flag, help) in rows {
        let mut lines = help.lines();
        if flag.len() + COLUMN_GAP <= width {
            let first = lines.next().unwrap_or("");
            text.push_str(format!("{flag:width$}{first}").trim_end());
        } else {
            text.push_str(&flag);
        }
        text.push('\n');
        for line in lines {
            text.push_str(format!("{:width$}{line}", "").trim_end());
            text.push('\n');
        }
    }
    text
}

fn left_column(spec: &FlagSpec) -> String {
    let names = std::iter::once(spec.name).chain(spec.alias);
    let forms: Vec<String> = names
        .map(|name| {
            if spec.boolean {
                format!("--[no-]{name}")
            } else {
                format!("--{name}=VALUE")
            }
        })
        .collect();
    format!("  {}", forms.join(", "))
}

fn right_column(spec: FlagSpec) -> String {
    match spec.default {
        Some(default) if !default.is_empty() => format!("{} (default: {default})", spec.help),
        _ if spec.required => format!("{} (required)", spec.help),
        _ => spec.help,
    }
}
