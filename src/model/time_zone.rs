//! The local time zone, for the one format that prints local time.

/// Offsets from UTC, as a compiled zone file (RFC 8536, `/etc/localtime`) has
/// them. Reading the file is the program's part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeZone {
    /// Offset before the first change, in seconds east of Greenwich.
    first: i32,
    /// From which second since 1970 which offset holds, in order.
    changes: Vec<(i64, i32)>,
    /// What holds after the last change, year by year.
    rule: Option<Rule>,
}

/// The rule at the end of a zone file, in the form of the variable `TZ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    standard: i32,
    summer: i32,
    from: Change,
    to: Change,
}

/// `Mm.w.d/time`: week `week` (5 is the last) of a month, on a weekday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    month: i64,
    week: i64,
    weekday: i64,
    second: i64,
}

const DAY: i64 = 86_400;

impl TimeZone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        TimeZone::default()
    }

    /// Reads a compiled zone file; `None` where it is not one.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let old = Header::read(file)?;
        if old.version == 0 {
            return old.zone(file.get(HEADER..)?, 4);
        }
        let file = file.get(HEADER + old.length(4)..)?;
        let header = Header::read(file)?;
        let mut zone = header.zone(file.get(HEADER..)?, 8)?;
        zone.read_footer(file.get(HEADER + header.length(8)..)?);
        Some(zone)
    }

    /// Seconds that local time is ahead of UTC at `second` since 1970.
    #[must_use]
    pub fn offset_at(&self, second: i64) -> i32 {
        let after = self.changes.partition_point(|(from, _)| *from <= second);
        match self.rule {
            Some(rule) if after == self.changes.len() => rule.offset_at(second),
            _ => after.checked_sub(1).and_then(|i| self.changes.get(i)).map_or(self.first, |(_, offset)| *offset),
        }
    }

    fn read_footer(&mut self, footer: &[u8]) {
        let text = std::str::from_utf8(footer).unwrap_or_default().trim_matches('\n');
        match Rule::parse(text) {
            Some(rule) => self.rule = Some(rule),
            None if self.changes.is_empty() => self.first = fixed_offset(text).unwrap_or(self.first),
            None => {}
        }
    }
}

const HEADER: usize = 44;

/// The counts in the header of a zone file.
struct Header {
    version: u8,
    is_ut: usize,
    is_std: usize,
    leaps: usize,
    changes: usize,
    kinds: usize,
    names: usize,
}

impl Header {
    fn read(file: &[u8]) -> Option<Self> {
        let counts = file.strip_prefix(b"TZif")?;
        let version = *counts.first()?;
        let mut counts = counts.get(16..40)?.as_chunks::<4>().0.iter().map(|be| u32::from_be_bytes(*be) as usize);
        // No zone has a million changes; larger counts could overflow where they are multiplied.
        let mut next = || counts.next().filter(|count| *count < 1_000_000);
        Some(Header {
            version,
            is_ut: next()?,
            is_std: next()?,
            leaps: next()?,
            changes: next()?,
            kinds: next()?,
            names: next()?,
        })
    }

    /// Length of the data block whose times have `width` bytes.
    fn length(&self, width: usize) -> usize {
        self.changes * (width + 1) + self.kinds * 6 + self.names + self.leaps * (width + 4) + self.is_std + self.is_ut
    }

    fn zone(&self, data: &[u8], width: usize) -> Option<TimeZone> {
        let (times, rest) = data.split_at_checked(self.changes.checked_mul(width)?)?;
        let (indices, rest) = rest.split_at_checked(self.changes)?;
        let kinds = rest.get(..self.kinds.checked_mul(6)?)?.as_chunks::<6>().0;
        let offset = |kind: &[u8; 6]| i32::from_be_bytes([kind[0], kind[1], kind[2], kind[3]]);
        let offsets = indices.iter().map(|i| kinds.get(usize::from(*i)).map(offset));
        let changes = times.chunks(width).zip(offsets).map(|(time, offset)| Some((signed(time), offset?)));
        Some(TimeZone { first: kinds.first().map_or(0, offset), changes: changes.collect::<Option<_>>()?, rule: None })
    }
}

fn signed(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1 } else { 0 };
    bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte))
}

impl Rule {
    /// `CET-1CEST,M3.5.0,M10.5.0/3`. Other forms are rare, and not read.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let (standard, rest) = name_and_offset(parts.next()?)?;
        let summer = match name_and_offset(rest) {
            Some((summer, "")) => summer,
            _ if skip_name(rest)?.is_empty() => standard + 3600,
            _ => return None,
        };
        let (from, to) = (Change::parse(parts.next()?)?, Change::parse(parts.next()?)?);
        Some(Rule { standard, summer, from, to })
    }

    fn offset_at(&self, second: i64) -> i32 {
        let (year, ..) = civil_date((second + i64::from(self.standard)).div_euclid(DAY));
        let from = self.from.second_in(year) - i64::from(self.standard);
        let to = self.to.second_in(year) - i64::from(self.summer);
        let summer = if from < to { (from..to).contains(&second) } else { !(to..from).contains(&second) };
        if summer { self.summer } else { self.standard }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let mut numbers = day.strip_prefix('M')?.split('.').map(|number| number.parse::<i64>().ok());
        let (month, week, weekday) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let valid = (1..=12).contains(&month) && (1..=5).contains(&week) && (0..7).contains(&weekday);
        let (second, rest) = clock(time)?;
        (valid && rest.is_empty()).then_some(Change { month, week, weekday, second })
    }

    /// Local seconds since 1970 of the change in `year`.
    fn second_in(&self, year: i64) -> i64 {
        let first = days_since_1970(year, self.month, 1);
        let next =
            if self.month == 12 { days_since_1970(year + 1, 1, 1) } else { days_since_1970(year, self.month + 1, 1) };
        // 1970-01-01 was a Thursday.
        let day = first + (self.weekday - (first + 4)).rem_euclid(7) + 7 * (self.week - 1);
        (if day < next { day } else { day - 7 }) * DAY + self.second
    }
}

/// `UTC0` or `<+03>-3`, whole.
fn fixed_offset(text: &str) -> Option<i32> {
    name_and_offset(text).filter(|(_, rest)| rest.is_empty()).map(|(offset, _)| offset)
}

/// A zone's name and its offset, which counts westward in this notation.
fn name_and_offset(text: &str) -> Option<(i32, &str)> {
    let (second, rest) = clock(skip_name(text)?)?;
    Some((i32::try_from(-second).ok()?, rest))
}

fn skip_name(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').map(|(_, rest)| rest),
        None => Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic())).filter(|rest| rest.len() < text.len()),
    }
}

/// `[+-]h[h][h][:mm[:ss]]` in seconds, and what follows.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(digits.len());
    let (clock, rest) = digits.split_at_checked(end)?;
    let parts = clock.split(':').zip([3600, 60, 1]);
    let seconds = parts.map(|(number, unit)| number.parse::<i64>().ok()?.checked_mul(unit));
    Some((sign * seconds.sum::<Option<i64>>()?, rest))
}

/// Year, month and day of a number of days since 1970 (proleptic Gregorian).
///
/// Counts in eras of 400 years that begin in March, so that leap days come last.
#[must_use]
pub fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The reverse of [`civil_date`].
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_of_central_europe_changes_at_one_in_the_morning_utc() {
        let zone = TimeZone { rule: Rule::parse("CET-1CEST,M3.5.0,M10.5.0/3"), ..TimeZone::utc() };
        // 2026-03-29 and 2026-10-25.
        assert_eq!(zone.offset_at(1_774_745_999), 3600);
        assert_eq!(zone.offset_at(1_774_746_000), 7200);
        assert_eq!(zone.offset_at(1_792_889_999), 7200);
        assert_eq!(zone.offset_at(1_792_890_000), 3600);
    }

    #[test]
    fn a_rule_of_the_southern_half_has_summer_at_new_year() {
        let zone = TimeZone { rule: Rule::parse("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"), ..TimeZone::utc() };
        assert_eq!(zone.offset_at(1_767_225_600), 39_600);
        assert_eq!(zone.offset_at(1_782_864_000), 37_800);
    }

    #[test]
    fn a_file_without_changes_has_its_one_offset() {
        let mut file = b"TZif\0".to_vec();
        file.extend([0; 15]);
        file.extend([0, 0, 0, 1, 0, 0, 0, 4].iter().fold(vec![0; 16], |mut all, byte| {
            all.push(*byte);
            all
        }));
        file.extend([0, 0, 0x0e, 0x10, 0, 0]);
        file.extend(b"CET\0");
        let zone = TimeZone::parse(&file).unwrap();
        assert_eq!(zone.offset_at(0), 3600);
        assert_eq!(fixed_offset("<+03>-3"), Some(10_800));
    }

    #[test]
    fn dates_are_counted_through_leap_years() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(11_016), (2000, 2, 29));
        assert_eq!(civil_date(-1), (1969, 12, 31));
    }

    proptest! {
        #[test]
        fn a_date_leads_back_to_its_day(days in -1_000_000i64..1_000_000) {
            let (year, month, day) = civil_date(days);
            prop_assert_eq!(days_since_1970(year, month, day), days);
        }

        #[test]
        fn no_file_makes_it_panic(file: Vec<u8>, second: i64, counts: [u8; 24]) {
            let header = [b"TZif2".as_slice(), &[0; 15], &counts, &file].concat();
            for file in [&file, &header] {
                let _ = TimeZone::parse(file).map(|zone| zone.offset_at(second >> 8));
            }
        }

        #[test]
        fn no_rule_makes_it_panic(text in "[A-Z<>0-9:,./+-]{0,40}", second in -(1i64 << 40)..1 << 40) {
            let _ = Rule::parse(&text).map(|rule| rule.offset_at(second));
        }
    }
}
