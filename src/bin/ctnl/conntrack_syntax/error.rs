//! Why a command line is refused.

use std::fmt;

/// A command line that is refused: nothing was sent to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Without the name of the program and without a full stop.
    pub message: String,
    /// The exit code that conntrack(8) has for it.
    pub exit: ErrorExit,
    /// conntrack(8) accepts it, and ignores a part of it or takes another value than was written.
    pub is_stricter: bool,
}

/// The exit code of a refused command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorExit {
    /// 1: conntrack(8) counts some bad values, and options that exclude each other, as other errors.
    Failed,
    /// 2: bad usage. conntrack(8) then refers to `-h`.
    Usage,
}

impl SyntaxError {
    /// Bad usage, exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        SyntaxError { message: message.into(), exit: ErrorExit::Usage, is_stricter: false }
    }

    /// Exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        SyntaxError { exit: ErrorExit::Failed, ..SyntaxError::usage(message) }
    }

    /// Bad usage that conntrack(8) accepts.
    pub fn stricter(message: impl Into<String>) -> Self {
        SyntaxError { is_stricter: true, ..SyntaxError::usage(message) }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}
