//! Time as C's `ctime` writes it: `Tue Nov 14 22:13:20 2023`, local.

use super::cursor::Line;
use crate::model::{TimeZone, civil_date};

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Appends the local time at `nanoseconds` since 1970.
pub(super) fn put(line: &mut Line<'_>, nanoseconds: u64, zone: &TimeZone) {
    let utc = i64::try_from(nanoseconds / SECOND).unwrap_or(0);
    let local = utc + i64::from(zone.offset_at(utc));
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    line.text(DAYS.get(days.rem_euclid(7) as usize).map_or(b"???", |name| *name));
    line.put(b" ");
    line.text(MONTHS.get(month as usize - 1).map_or(b"???", |name| *name));
    line.put(b" ");
    if day < 10 {
        line.put(b" ");
    }
    line.decimal(day as u32);
    for (separator, number) in [(b" ", second / 3600), (b":", second / 60 % 60), (b":", second % 60)] {
        line.put(separator);
        line.decimal(number as u32 / 10);
        line.decimal(number as u32 % 10);
    }
    line.put(b" ");
    line.decimal(year as u32);
}
