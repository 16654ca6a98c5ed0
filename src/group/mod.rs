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
//! not with the flows. `key` packs the values of a flow into bytes and back.

mod error;
mod groups;
mod key;

pub use error::GroupError;
pub use groups::{Group, Groups, Totals};
