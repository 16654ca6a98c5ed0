//! A check: one question about the host.

use super::evidence::Evidence;
use super::finding::Finding;

/// One question about the host. It is pure: everything that it looks at is in the [`Evidence`].
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name, for `--explain` and in JSON: lower case, with `-`.
    pub name: &'static str,
    /// What it looks at, in half a line without a full stop.
    pub about: &'static str,
    /// What `--explain` prints: what is looked at, when something is found, what it means, what mends it.
    pub explanation: &'static str,
    /// Runs the check.
    pub run: fn(&Evidence) -> Outcome,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its findings; none where nothing is wrong.
    Findings(Vec<Finding>),
    /// What it needs is missing: why, in half a line.
    CannotRun(String),
}

impl Outcome {
    /// Nothing is wrong.
    pub const NOTHING: Outcome = Outcome::Findings(Vec::new());

    /// The outcome of `find`, which ends early with the reason where something that it needs is missing.
    pub fn of(find: impl FnOnce() -> Result<Vec<Finding>, String>) -> Self {
        find().map_or_else(Outcome::CannotRun, Outcome::Findings)
    }
}
