//! How long entries have been idle.

use std::collections::BTreeMap;

use ctnl::age::Idle;
use ctnl::model::Undecided;
use serde_json::{Map, Value};

use super::entry::{SurveyedEntry, Tally};

/// Where the ranges of the histogram begin, in seconds, and their names.
const RANGES: [(u32, &str); 6] = [
    (0, "under 1 min"),
    (60, "1 to 10 min"),
    (600, "10 min to 1 h"),
    (3_600, "1 to 12 h"),
    (43_200, "12 h to 1 d"),
    (86_400, "1 d or longer"),
];

/// Idle times by which `ctnl flush --older` is suggested: each is the beginning of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Older {
    /// 1 h.
    Hour,
    /// 12 h.
    HalfDay,
    /// 1 d.
    Day,
}

impl Older {
    /// All of them, shortest first.
    pub const ALL: [Older; 3] = [Older::Hour, Older::HalfDay, Older::Day];

    /// As `--older` takes it.
    pub fn argument(self) -> &'static str {
        match self {
            Older::Hour => "1h",
            Older::HalfDay => "12h",
            Older::Day => "1d",
        }
    }

    fn seconds(self) -> u32 {
        match self {
            Older::Hour => 3_600,
            Older::HalfDay => 43_200,
            Older::Day => 86_400,
        }
    }
}

/// A histogram of idle times. Each entry is in the range of its lower bound, which is certain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdleTimes {
    ranges: [u64; RANGES.len()],
    unknown: u64,
}

impl IdleTimes {
    /// Adds an entry.
    #[inline]
    pub fn count(&mut self, idle: Idle) {
        let range = idle.at_least().map(|seconds| {
            // The first one begins at 0.
            RANGES.iter().rposition(|(from, _)| *from <= seconds).unwrap_or(0)
        });
        match range.and_then(|range| self.ranges.get_mut(range)) {
            Some(count) => *count += 1,
            None => self.unknown += 1,
        }
    }

    /// Entries that have certainly been idle for so long: what `ctnl flush --older` deletes.
    pub fn certainly(&self, older: Older) -> u64 {
        let ranges = RANGES.iter().zip(&self.ranges).filter(|((from, _), _)| *from >= older.seconds());
        ranges.map(|(_, count)| count).sum()
    }

    /// The ranges that have entries, in their order, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RANGES.iter().zip(&self.ranges).map(|((_, name), count)| (*name, *count)).filter(|(_, count)| *count > 0)
    }

    /// Entries whose idle time is unknown.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// For programs: an object with the beginning of each range in seconds.
    pub fn json(&self) -> Value {
        let ranges = RANGES.iter().zip(&self.ranges).map(|((from, _), count)| (from.to_string(), (*count).into()));
        Value::Object(ranges.chain([("unknown".to_owned(), self.unknown.into())]).collect::<Map<_, _>>())
    }
}

/// The idle times of all entries, and why some are not certain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllIdleTimes {
    /// All entries.
    pub all: IdleTimes,
    /// Entries whose idle time is unknown, by reason.
    pub unknown: BTreeMap<Undecided, u64>,
    /// Entries that may have been idle for longer than where they are counted, by reason.
    pub lower_bounds: BTreeMap<Undecided, u64>,
}

impl Tally for AllIdleTimes {
    #[inline]
    fn add(&mut self, entry: &SurveyedEntry<'_>) {
        self.all.count(entry.idle);
        let (reasons, why) = match entry.idle {
            Idle::Exact { .. } => return,
            Idle::AtLeast(_, why) => (&mut self.lower_bounds, why),
            Idle::Unknown(why) => (&mut self.unknown, why),
        };
        *reasons.entry(why).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_counted_by_what_its_idle_time_certainly_is() {
        let mut times = IdleTimes::default();
        let exact = |at_least| Idle::Exact { at_least, at_most: at_least + 1 };
        for idle in [exact(0), exact(59), exact(3_599), exact(3_600), exact(43_199), exact(43_200), exact(86_400)] {
            times.count(idle);
        }
        times.count(Idle::AtLeast(43_200, Undecided::AmbiguousTimeout));
        times.count(Idle::Unknown(Undecided::Offloaded));
        assert_eq!(Older::ALL.map(|older| times.certainly(older)), [5, 3, 1]);
        let named: Vec<_> = times.named().collect();
        let expected =
            [("under 1 min", 2), ("10 min to 1 h", 1), ("1 to 12 h", 2), ("12 h to 1 d", 2), ("1 d or longer", 1)];
        assert_eq!((named, times.unknown()), (expected.to_vec(), 1));
    }

    #[test]
    fn every_time_that_is_suggested_is_the_beginning_of_a_range_so_that_its_count_is_exact() {
        for older in Older::ALL {
            assert!(RANGES.iter().any(|(from, _)| *from == older.seconds()), "{older:?}");
            assert_eq!(older.argument().parse(), Ok(ctnl::units::Seconds(older.seconds().into())));
        }
    }
}
