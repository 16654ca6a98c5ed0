//! What is recommended of a setting, and why.

use ctnl::model::{TIMERS, Timer};
use ctnl::units::Seconds;

use super::setting::Setting;
use crate::host::table_memory::{TableMemory, chain_length};

/// A day: longer than every keepalive, and a fifth of the default.
const ESTABLISHED: u64 = 86_400;

/// The table now.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// `nf_conntrack_max`.
    pub max: u64,
    /// `nf_conntrack_buckets`.
    pub buckets: u64,
    /// The most entries that are known of.
    pub peak: u64,
}

/// A value and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommendation {
    /// The value; that of now where nothing is to be changed.
    pub value: u64,
    /// Why.
    pub why: String,
}

/// What is recommended of `setting`, which is `now`. `table` is `None` where its size is unknown.
pub fn recommend(setting: Setting, now: u64, table: Option<Table>, memory: &TableMemory) -> Recommendation {
    let keep = |why: &str| Recommendation { value: now, why: why.to_owned() };
    match setting {
        Setting::Max | Setting::Buckets => match table {
            Some(table) => recommend_size(setting, table, memory),
            None => keep(""),
        },
        Setting::ExpectMax => keep(""),
        Setting::Acct if now == 0 => {
            keep("off: entries have no packets and bytes; on costs no memory where NAT or events are used")
        }
        Setting::Timestamp if now == 0 => keep("off: entries have no age, and events no duration"),
        Setting::Events if now == 0 => Recommendation { value: 2, why: "off: nobody gets events".to_owned() },
        Setting::Acct | Setting::Timestamp | Setting::Events => keep(""),
        Setting::Timeout(timer) => recommend_timeout(timer, now),
    }
}

fn recommend_size(setting: Setting, table: Table, memory: &TableMemory) -> Recommendation {
    let found = memory.recommend(table.max, table.buckets, table.peak);
    if setting == Setting::Max {
        return Recommendation { value: found.max, why: found.why_max };
    }
    let chain = chain_length(table.max, table.buckets);
    let why = if found.buckets == table.buckets && table.max > 0 {
        format!("chains of {chain} in a full table")
    } else {
        found.why_buckets
    };
    Recommendation { value: found.buckets, why }
}

fn recommend_timeout(timer: Timer, now: u64) -> Recommendation {
    let default = TIMERS.iter().find(|row| row.timer == timer).and_then(|row| row.default).map(u64::from);
    if timer == Timer::TcpEstablished && now > ESTABLISHED {
        let why = format!("connections that vanished without a FIN keep their entries for {}", Seconds(now));
        return Recommendation { value: ESTABLISHED, why };
    }
    match default {
        Some(default) if now > default => {
            Recommendation { value: default, why: "raised above the kernel's default".to_owned() }
        }
        _ => Recommendation { value: now, why: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> TableMemory {
        TableMemory::made_up(16 << 30)
    }

    fn recommended(setting: Setting, now: u64) -> u64 {
        let table = Table { max: 65_536, buckets: 16_384, peak: 200_000 };
        recommend(setting, now, Some(table), &memory()).value
    }

    #[test]
    fn a_table_below_twice_its_peak_is_to_grow_with_its_buckets() {
        assert_eq!(recommended(Setting::Max, 65_536), 524_288);
        assert_eq!(recommended(Setting::Buckets, 16_384), 524_288);
    }

    #[test]
    fn five_days_are_too_long_and_what_was_raised_is_to_go_back_and_what_was_lowered_stays() {
        let timeout = |timer, now| recommended(Setting::Timeout(timer), now);
        assert_eq!(timeout(Timer::TcpEstablished, 432_000), 86_400);
        assert_eq!(timeout(Timer::TcpEstablished, 3_600), 3_600);
        assert_eq!(timeout(Timer::TcpCloseWait, 600), 60);
        assert_eq!(timeout(Timer::TcpCloseWait, 20), 20);
    }

    #[test]
    fn events_that_are_off_are_to_be_automatic() {
        assert_eq!([0, 1, 2].map(|now| recommended(Setting::Events, now)), [2, 1, 2]);
    }
}
