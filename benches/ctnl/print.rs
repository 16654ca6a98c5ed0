//! Prints results on standard output and notes on standard error. A closed one is no error.

use std::io::{self, Write};

/// A line on standard error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A line on standard output.
pub fn result(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
