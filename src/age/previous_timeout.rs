//! `--base-timeout NAME=SECS`: a timeout that was in force earlier.
//!
//! A sysctl that is lowered or raised changes nothing for an entry until its next packet. With its
//! earlier value given, that is one more timeout that the last packet may have set.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::model::{TIMERS, Timer};
use crate::units::{QuantityError, Seconds};

/// A timeout that was in force earlier, besides the current one.
///
/// Read from `tcp.established=432000` or `tcp.established=5d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PreviousTimeout {
    /// Which timeout.
    pub timer: Timer,
    /// Its value in seconds.
    pub seconds: u32,
}

/// An invalid `--base-timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousTimeoutError {
    /// What is wrong.
    pub kind: PreviousTimeoutErrorKind,
    /// The bytes of the argument that are wrong, for a caret. May be empty, at its end.
    pub span: Range<usize>,
}

/// What is wrong with a `--base-timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreviousTimeoutErrorKind {
    /// There is no `=`.
    NoEquals,
    /// No timeout has this name.
    UnknownName(String),
    /// Not a duration.
    BadDuration(QuantityError),
    /// More seconds than the kernel can keep.
    TooLong(String),
}

impl FromStr for PreviousTimeout {
    type Err = PreviousTimeoutError;

    fn from_str(argument: &str) -> Result<Self, PreviousTimeoutError> {
        let Some((name, duration)) = argument.split_once('=') else {
            let end = argument.len();
            return Err(PreviousTimeoutError { kind: PreviousTimeoutErrorKind::NoEquals, span: end..end });
        };
        let timer = Timer::from_name(name).ok_or_else(|| PreviousTimeoutError {
            kind: PreviousTimeoutErrorKind::UnknownName(name.to_owned()),
            span: 0..name.len(),
        })?;
        let span = name.len() + 1..argument.len();
        let seconds = seconds(duration).map_err(|kind| PreviousTimeoutError { kind, span })?;
        Ok(PreviousTimeout { timer, seconds })
    }
}

/// The duration in seconds, as far as the kernel can keep it: in signed 32-bit jiffies.
fn seconds(duration: &str) -> Result<u32, PreviousTimeoutErrorKind> {
    let Seconds(seconds) = duration.parse().map_err(PreviousTimeoutErrorKind::BadDuration)?;
    let seconds = i32::try_from(seconds).ok().and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| PreviousTimeoutErrorKind::TooLong(duration.to_owned()))
}

impl fmt::Display for PreviousTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PreviousTimeoutErrorKind::NoEquals => write!(f, "expected NAME=SECS, such as tcp.established=432000"),
            PreviousTimeoutErrorKind::UnknownName(name) => {
                write!(f, "unknown timeout '{name}': expected one of")?;
                TIMERS.iter().try_for_each(|row| write!(f, " {}", row.name))
            }
            PreviousTimeoutErrorKind::BadDuration(error) => error.fmt(f),
            PreviousTimeoutErrorKind::TooLong(word) => {
                write!(f, "timeout too long: '{word}', expected at most {}", i32::MAX)
            }
        }
    }
}

impl std::error::Error for PreviousTimeoutError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_of_seconds_or_has_units() {
        for (argument, seconds) in [
            ("tcp.established=432000", 432_000),
            ("tcp.established=5d", 432_000),
            ("udp.stream=1d12h", 129_600),
            ("generic=10m30s", 630),
            ("icmp=0", 0),
        ] {
            assert_eq!(argument.parse::<PreviousTimeout>().unwrap().seconds, seconds, "{argument}");
        }
    }

    #[test]
    fn an_error_has_the_span_of_what_is_wrong() {
        for (argument, at) in [
            ("tcp.established", "" /* at the end */),
            ("tcp.establish=5", "tcp.establish"),
            ("=5", ""),
            ("icmp=", ""),
            ("icmp=d", "d"),
            ("icmp=5x", "5x"),
            ("icmp=10s1h", "10s1h"),
            ("icmp=1h5", "1h5"),
            ("icmp=-5", "-5"),
            ("icmp=5 ", "5 "),
            ("icmp=1.5h", "1.5h"),
            ("icmp=99999999999999999999", "99999999999999999999"),
            ("icmp=4294967295", "4294967295"),
            ("icmp=9999999999w", "9999999999w"),
        ] {
            let error = argument.parse::<PreviousTimeout>().unwrap_err();
            assert_eq!(argument.get(error.span), Some(at), "{argument}");
        }
    }

    #[test]
    fn the_error_of_an_unknown_name_lists_the_known_ones() {
        let words = "tcp.estab=5".parse::<PreviousTimeout>().unwrap_err().to_string();
        assert!(words.contains("tcp.established") && words.contains("generic"), "{words}");
    }
}
