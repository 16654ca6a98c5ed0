//! The terminal and the process: what the program prints, reads and exits with.

pub mod columns;
pub mod console;
pub mod exit;
pub mod hint;
pub mod interrupt;
pub mod limits;
pub mod signal_actions;
pub mod stderr;
pub mod stdout;
