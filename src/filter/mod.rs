//! Floor 6, which flows are meant: an expression becomes a predicate.
//!
//! ```text
//! text ── token ── parse ──► Node (terms, and, or, not) ──► Filter
//!                    │ value, literal        │ test: one field's values
//! ```
//!
//! Every verb asks the same [`Filter::matches`], so that a preview is exact. It
//! answers in three values: a flow that cannot be judged is [`Verdict::Undecided`],
//! with the reason, and `not` does not change that. What a flow does not have
//! compares false: `dport 443` is false for ICMP, `not dport 443` is true.
//! `field != x` is exactly `not field = x`.
//!
//! Text that is not understood is a [`ParseError`], which points at the fault.
//! Files and names (`@FILE`, services, labels) come in through [`Context`]:
//! nothing here reads anything by itself.

mod build;
mod display;
mod error;
mod exclude;
mod literal;
mod node;
mod parse;
mod predicate;
mod prove;
mod push;
mod ranges;
mod services;
mod term;
mod token;
mod value;

pub use build::{FilterBuilder, Flag, flags};
pub use error::{Origin, ParseError, TextSpan};
pub use parse::{Context, MAX_FILE};
pub use predicate::Filter;
pub use services::ServiceNames;
pub use term::Verdict;
