//! Filter expressions: parsed to a predicate on flows.
//!
//! ```
//! use ctnl::age::IdleEstimator;
//! use ctnl::field::Subject;
//! use ctnl::filter::Filter;
//! use ctnl::model::Flow;
//!
//! let filter: Filter = "tcp and dport 22,443 and not assured".parse()?;
//! let (flow, ages) = (Flow::blank(), IdleEstimator::without_timeouts(0));
//! assert!(!filter.matches(&Subject::new(&flow, &ages)).is_match());
//!
//! let error = "dprot 443".parse::<Filter>().unwrap_err();
//! assert_eq!(error.render(), "unknown field 'dprot'\n  dprot 443\n  ^^^^^\n  hint: did you mean dport?");
//! # Ok::<(), ctnl::filter::ParseError>(())
//! ```
//!
//! The stages:
//!
//! ```text
//! text ── token, cursor ── parse ──► Node (terms, and, or, not) ──► Filter
//!                            │ comparison, value, value_file, literal, address: one term
//! ```
//!
//! Every command evaluates the same [`Filter::matches`], so that a preview is exact. A verdict
//! has three values: a flow whose value cannot be determined is [`Verdict::Undecided`], with
//! the reason, and `not` does not change that. A field that a flow does not have compares false:
//! `dport 443` is false for ICMP, `not dport 443` is true. `field != x` is exactly
//! `not field = x`.
//!
//! A text that is not an expression is a [`ParseError`] with the position of the error. Files
//! and names (`@FILE`, services, labels) come from a [`Context`]; this module reads no files.
//!
//! `push` and `exclude` are the parts that the kernel can apply, `prove` searches for filters
//! that match everything or nothing.

mod address;
mod build;
mod comparison;
mod context;
mod cursor;
mod display;
mod error;
mod exclude;
mod hint;
mod literal;
mod mask_notation;
mod node;
mod parse;
mod predicate;
mod prove;
mod push;
mod ranges;
mod rare_state;
mod services;
mod term;
mod token;
mod value;
mod value_file;

pub use build::{FilterBuilder, Flag, flags};
pub use context::{Context, MAX_FILE};
pub use error::{Origin, ParseError, TextSpan};

pub use predicate::Filter;
pub use services::ServiceNames;
pub use term::Verdict;
