//! Floor 9: one verb per file, arguments to exit code.

pub mod lab;
