//! Units: seconds and nanoseconds as types.

mod time;

pub use time::{Nanos, Seconds};
