//! What the runner and the guest agree upon: the cases, and the lines in which the
//! guest reports.

pub mod cases;
pub mod report;
