//! The registry of flow fields, which filter terms, `--by` keys, columns, sort keys,
//! completion and help are made from.
//!
//! ```
//! use ctnl::age::IdleEstimator;
//! use ctnl::field::{FIELDS, FieldId, Subject};
//! use ctnl::model::Flow;
//!
//! let (flow, ages) = (Flow::blank(), IdleEstimator::without_timeouts(0));
//! let subject = Subject::new(&flow, &ages);
//! for field in FIELDS {
//!     println!("{} = {}    ({})", field.name, (field.value)(&subject), field.doc);
//! }
//! assert_eq!(FieldId::Packets.field().example, "packets > 1000");
//! ```
//!
//! To add a field, add one row to the file of its subject (`addresses`, `ports`, `identity`,
//! `state`, `time`, `counters`), and its variant to [`FieldId`] at the same place; the
//! compiler checks the order. Everything else is an attribute of the row: how its values are
//! parsed and compared (`value_kind`), how the kernel can compare them (`kernel`), what has
//! to be read first ([`Needs`]), which entries have a value (`classes`). `keyword` has the
//! words that are a whole term (`tcp`, `assured`, `ipv6`).

mod addresses;
mod classes;
mod counters;
mod icmp_types;
mod id;
mod identity;
mod kernel;
mod keyword;
mod ports;
mod registry;
mod row;
mod state;
mod subject;
mod time;
mod tracker;
mod value;
mod value_kind;

pub use classes::EntryClasses;
pub use id::FieldId;
pub use kernel::{DumpFilter, EventFilter};
pub use keyword::{Keyword, UNREPLIED, keyword, keywords};
pub use registry::{FIELDS, field};
pub use row::{Field, LiveNumbers, Needs};
pub use state::status_bit;
pub use subject::Subject;
pub use tracker::{Tracker, state_codes};
pub use value::{Addresses, Named, Numbers, SecondsRange, Value};
pub use value_kind::ValueKind;
