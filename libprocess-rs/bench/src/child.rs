//! Benchmarks that need an OS process of their own: this program started again.

use std::process::Command;

use anyhow::Context as _;

use crate::{connections, memory, one_way};

/// An OS process that is killed when it is not needed any more.
pub(crate) struct Child(pub(crate) std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `what` with `size` in a new OS process and returns the figures it prints.
pub(crate) fn figures<const N: usize>(what: &str, size: usize) -> anyhow::Result<[f64; N]> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--child", what, "--size", &size.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start the OS process for '{what}'"))?;
    anyhow::ensure!(
        output.status.success(),
        "'{what}' ended with {}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("'{what}' printed '{text}'"))?;
    let count = figures.len();
    let wrong = move |_| anyhow::anyhow!("{count} figures instead of {N}");
    figures.try_into().map_err(wrong)
}

/// What the new OS process does.
pub(crate) fn run(what: &str, size: usize) -> anyhow::Result<()> {
    let figures: Vec<f64> = match what {
        "actors" => memory::actors(size)?.into(),
        "receiver" => return one_way::receive(),
        "server" => return connections::serve(),
        _ => anyhow::bail!("unknown benchmark '{what}'"),
    };
    for figure in figures {
        println!("{figure}");
    }
    Ok(())
}
