//! How a run ended, for the shell.

use std::process::ExitCode;

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, also when nothing matched.
    Done,
    /// Failed; nothing was changed.
    Failed,
    /// Bad usage; nothing was sent to the kernel.
    Usage,
    /// Partly done: interrupted, or some entries failed.
    Partly,
    /// What a command that was run for the user ended with.
    Child(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partly => 3,
            Exit::Child(code) => code,
        })
    }
}

/// A mistake in what was typed, already rendered for a person. Exit 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A mistake in what was typed, as an error.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}
