//! Floor 6, who fills the table: `count --by FIELD[,FIELD]`.
//!
//! [`Groups`] folds flows into one counter per combination of values while they
//! are dumped; memory grows with the groups, not with the flows. `key` packs
//! the values of a flow into bytes and back.

mod error;
mod groups;
mod key;

pub use error::GroupError;
pub use groups::{Group, Groups, Totals};
