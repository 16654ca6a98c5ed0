//! Quantities with a unit: durations, points in time, sizes and counts.
//!
//! [`Seconds`] and [`Nanos`] are two types, so that they cannot be mixed up. Expressions, options
//! and configuration are parsed by this module, so that `12h` and `64MiB` mean the same everywhere.
//! A number without a unit is in seconds; the filter language refuses one, since it is ambiguous in
//! `--older 12`.
//!
//!
//! ```
//! use ctnl::units::{Bytes, Seconds};
//!
//! assert_eq!("1h30m".parse(), Ok(Seconds(5400)));
//! assert_eq!("90".parse(), Ok(Seconds(90)));
//! assert_eq!(Seconds(5400).to_string(), "1h30m");
//! assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
//!
//! let error = "10s1h".parse::<Seconds>().unwrap_err();
//! assert!(error.to_string().starts_with("invalid duration '10s1h'"));
//! ```

mod duration;
mod error;
mod number;
mod size;
mod time;

pub use error::{Quantity, QuantityError, QuantityErrorKind};
pub use number::parse_decimal;
pub use size::{Bytes, parse_count};
pub use time::{Nanos, Seconds};
