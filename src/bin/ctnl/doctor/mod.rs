//! Why the table is full, or will be: checks of the host, each with evidence, consequence and what mends it.
//!
//! `evidence` reads the host once; `checks` has one file for each check, a pure function of the evidence; `report`
//! prints what they found, as text and as JSON.

mod check;
mod checks;
mod evidence;
mod finding;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod made_up;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod made_up_kernel;
mod report;
mod tune_command;
mod when;
mod whole_file;

pub use check::Check;
pub use checks::CHECKS;
pub use evidence::{Evidence, Source};
pub use finding::Severity;
pub use report::Report;
