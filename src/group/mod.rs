//! Counts of flows by the values of fields: `count --by FIELD[,FIELD]`.
//!
//! ```
//! use ctnl::age::IdleEstimator;
//! use ctnl::field::Subject;
//! use ctnl::group::Groups;
//! use ctnl::model::Flow;
//!
//! let mut groups = Groups::by("proto,dst")?;
//! let (flow, ages) = (Flow::blank(), IdleEstimator::without_timeouts(0));
//! groups.add(&Subject::new(&flow, &ages));
//! for group in groups.top(10) {
//!     println!("{} {:?}", group.totals.entries, group.values);
//! }
//! assert_eq!(groups.total().entries, 1);
//! # Ok::<(), ctnl::group::GroupError>(())
//! ```
//!
//! [`Groups`] has one counter for each combination of values, so memory grows with the groups,
//! not with the flows. [`FrequentItems`] has a fixed number of counters instead. `by` parses what is grouped by, `key` packs
//! the values of a flow into bytes and back, `order` sorts the groups, `totals` has the sums.

mod by;
mod error;
mod frequent;
mod groups;
mod key;
mod order;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
mod totals;

pub use by::{GroupBy, Prefixes};
pub use error::{GroupError, GroupErrorKind};
pub use frequent::FrequentItems;
pub use groups::{Group, Groups, SortedGroups};
pub use order::{GroupOrder, OrderKey};
pub use totals::Totals;
