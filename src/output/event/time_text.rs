//! Times as RFC 3339, for lines that people read.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::output::cursor::Line;

const SECOND: u64 = 1_000_000_000;

/// Writes times as RFC 3339 with nine digits of fraction. The text of a second is kept: times of
/// consecutive records are mostly in the same one, and formatting it takes ten times as long as the rest.
#[derive(Debug, Clone)]
pub(super) struct TimeText {
    zone: TimeZone,
    second: Option<u64>,
    /// `2023-11-14T22:13:20`.
    until_second: String,
    /// `Z`, or `+01:00`.
    offset: String,
}

impl TimeText {
    pub(super) fn new(zone: TimeZone) -> Self {
        TimeText { zone, second: None, until_second: String::new(), offset: String::new() }
    }

    /// Appends the time `ns` since 1970.
    pub(super) fn put(&mut self, line: &mut Line<'_>, ns: u64) {
        let second = ns / SECOND;
        if self.second != Some(second) {
            self.format(second);
        }
        line.text(self.until_second.as_bytes());
        line.put(b".");
        let fraction = (ns % SECOND) as u32;
        (fraction.checked_ilog10().unwrap_or(0) + 1..9).for_each(|_| line.put(b"0"));
        line.decimal(fraction);
        line.text(self.offset.as_bytes());
    }

    #[cold]
    fn format(&mut self, second: u64) {
        let time = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        let time = time.unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone());
        self.second = Some(second);
        self.until_second = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        self.offset = if self.zone == TimeZone::UTC { "Z".to_owned() } else { time.strftime("%:z").to_string() };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::cursor::Scratch;

    fn texts(zone: TimeZone, times: &[u64]) -> Vec<String> {
        let (mut time, mut scratch) = (TimeText::new(zone), Scratch::new());
        let mut text = |ns| {
            let (mut line, mut out) = (scratch.cursor(), Vec::new());
            time.put(&mut line, ns);
            line.flush(&mut out);
            String::from_utf8(out).unwrap()
        };
        times.iter().map(|ns| text(*ns)).collect()
    }

    #[test]
    fn a_time_is_rfc_3339_in_its_zone_whatever_the_time_before_it_was() {
        let times = [1_700_000_000_123_456_789, 1_700_000_000_000_000_007, 1_700_000_001_000_000_000, 0];
        let expected = [
            "2023-11-14T22:13:20.123456789Z",
            "2023-11-14T22:13:20.000000007Z",
            "2023-11-14T22:13:21.000000000Z",
            "1970-01-01T00:00:00.000000000Z",
        ];
        assert_eq!(texts(TimeZone::UTC, &times), expected);
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(texts(east, &times[..1]), ["2023-11-15T00:13:20.123456789+02:00"]);
        let extremes = texts(TimeZone::UTC, &[1, u64::MAX]);
        assert!(extremes.iter().all(|text| text.parse::<Timestamp>().is_ok()), "{extremes:?}");
    }
}
