//! A line of a file, for messages.

use std::fmt;

/// A line of a file, or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// Its absolute path on the host.
    pub file: String,
    /// The number of the line, from 1; 0 for the whole file.
    pub line: usize,
    /// What it does, for messages.
    pub what: String,
}

impl fmt::Display for FileLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}
