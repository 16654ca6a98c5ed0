//! Times in findings: the local time of the host, and how long ago that was.

use ctnl::units::{Nanos, Seconds};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `2026-11-29 01:50:12 +01:00`; empty where the time is out of range.
pub fn local(time: Nanos, zone: &TimeZone) -> String {
    let Ok(time) = Timestamp::from_nanosecond(i128::from(time.0)) else { return String::new() };
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// `3m ago`, with the largest two units.
pub fn ago(time: Nanos, now: Nanos) -> String {
    match now.since(time).seconds() {
        Seconds(0) => "just now".to_owned(),
        span => format!("{} ago", coarse(span)),
    }
}

/// `span` with its largest two units: `2d3h` of 2d3h12m5s.
fn coarse(Seconds(span): Seconds) -> Seconds {
    const UNITS: [u64; 4] = [86_400, 3_600, 60, 1];
    let largest = UNITS.iter().position(|unit| span >= *unit).unwrap_or(UNITS.len() - 1);
    let unit = UNITS.get(largest + 1).copied().unwrap_or(1);
    Seconds(span - span % unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_the_zone_of_the_host_and_as_an_age_of_two_units() {
        let zone = TimeZone::posix("CET-1").unwrap_or(TimeZone::UTC);
        let time = Nanos(1_795_999_812 * Nanos::PER_SECOND);
        assert_eq!(local(time, &zone), "2026-11-30 01:50:12 +01:00");
        for (seconds, expected) in
            [(0, "just now"), (59, "59s ago"), (61, "1m1s ago"), (7_325, "2h2m ago"), (187_925, "2d4h ago")]
        {
            assert_eq!(ago(time, time.plus(Seconds(seconds).into())), expected);
        }
        assert_eq!(ago(time, Nanos(0)), "just now", "a clock that was set back");
    }
}
