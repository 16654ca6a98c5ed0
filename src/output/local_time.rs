//! Local time as `ctime` of C writes it: `Tue Nov 14 22:13:20 2023`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cursor::Line;

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Appends the local time at `nanoseconds` since 1970.
pub(super) fn put(line: &mut Line<'_>, nanoseconds: u64, zone: &TimeZone) {
    let second = i64::try_from(nanoseconds / SECOND).unwrap_or(0);
    let time = Timestamp::from_second(second).unwrap_or_default().to_zoned(zone.clone());
    // `%e` pads with a space, as ctime does.
    line.text(time.strftime("%a %b %e %H:%M:%S %Y").to_string().as_bytes());
}
