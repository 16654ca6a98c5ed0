//! Other programs, run to their end.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Runs `command`, which must succeed; its output is part of the error.
pub fn succeed(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        let output_text =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        bail!("{command:?}: {}\n{}", output.status, output_text.join("\n"));
    }
    Ok(output)
}

/// The lines that `command` prints.
pub fn lines(command: &mut Command) -> Result<Vec<String>> {
    let output = succeed(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
