//! A line of a log file: time, host and the message of the kernel, in the formats of the syslog daemons.
//!
//!     Nov 29 01:52:10 gate kernel: [12345.678901] nf_conntrack: …      RFC 3164, without a year
//!     2026-11-29T01:52:10.123456+01:00 gate kernel: nf_conntrack: …    rsyslog, and syslog-ng with ISO times
//!     Sun Nov 29 01:52:10 2026 kern.warn kernel: [12345.6] nf_c…       logd of OpenWrt
//!     <4>1 2026-11-29T01:52:10Z gate kernel - - - nf_conntrack: …      RFC 5424
//!     [12345.678901] nf_conntrack: …                                   the output of dmesg
//!
//! Only what the kernel has written counts: the command line of a sudo that searched for the message, for one, is
//! logged, too.

use ctnl::units::Nanos;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::message::{is_prefix, number};
use super::tally::Entry;

/// The time of a line without a year may be that much after the last change of its file.
const SLACK: i64 = 86_400;
/// The years before that of the file which are tried: 29 February is in one of any eight.
const YEARS: i16 = 8;
/// Most words before the name of the program.
const MAX_WORDS: usize = 12;
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// What a line needs that it does not have.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The time zone of the host.
    pub zone: TimeZone,
    /// The last change of the file, in seconds since 1970: the last line is not younger.
    pub newest: i64,
}

/// What the kernel has written in `line`; `None` where another program wrote it.
pub fn entry<'a>(line: &'a [u8], calendar: &Calendar) -> Option<Entry<'a>> {
    let line = without_priority(line.trim_ascii());
    let (time, rest) = time(line, calendar).map_or((None, line), |(time, rest)| (Some(time), rest));
    let (host, message) = message(rest, time.is_some())?;
    let (times, message) = without_stamps(message);
    Some(Entry { time, host, times, message })
}

/// Without `<4>`, and without the version `1` of RFC 5424 behind it.
fn without_priority(line: &[u8]) -> &[u8] {
    let Some((_, behind)) = line.strip_prefix(b"<").and_then(number) else { return line };
    let Some(behind) = behind.strip_prefix(b">") else { return line };
    behind.strip_prefix(b"1 ").unwrap_or(behind)
}

/// The host and the message behind the time: the name of the program in front of it is that of the kernel, or the
/// message is its own program.
fn message(text: &[u8], has_time: bool) -> Option<(Option<&[u8]>, &[u8])> {
    let text = text.trim_ascii_start();
    if text.starts_with(b"[") && !text.starts_with(b"[kernel]") || text.starts_with(b"last message repeated") {
        return Some((None, text));
    }
    let (mut rest, mut host) = (text, None);
    for index in 0..MAX_WORDS {
        let (word, behind) = next_word(rest)?;
        if is_kernel(word) {
            return Some((host, without_fields(behind)));
        }
        // A daemon that reads `nf_conntrack:` as the name of the program, or has none.
        if is_prefix(word) && index <= 2 {
            return Some((host, rest));
        }
        if word.ends_with(b":") {
            return None;
        }
        if has_time && host.is_none() && !is_priority(word) {
            host = Some(word);
            if behind.trim_ascii_start().starts_with(b"last message repeated") {
                return Some((host, behind.trim_ascii_start()));
            }
        }
        rest = behind.trim_ascii_start();
    }
    None
}

fn is_kernel(word: &[u8]) -> bool {
    matches!(word, b"kernel:" | b"[kernel]" | b"kernel[0]:" | b"kernel")
}

/// `kern.warn`, which busybox and OpenWrt write.
fn is_priority(word: &[u8]) -> bool {
    word.starts_with(b"kern.") || word.starts_with(b"user.")
}

/// Without process, message id and structured data of RFC 5424 that are not given.
fn without_fields(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii_start();
    while let Some(behind) = text.strip_prefix(b"- ") {
        text = behind.trim_ascii_start();
    }
    text
}

/// How often the message came, and the message: without the time since boot and the caller that the kernel writes in
/// brackets (`CONFIG_PRINTK_CALLER`), and without what rsyslog writes around a message that was repeated.
fn without_stamps(message: &[u8]) -> (u64, &[u8]) {
    let (mut times, mut message) = (1, message.trim_ascii_start());
    loop {
        if let Some((count, behind)) = message.strip_prefix(b"message repeated ").and_then(number)
            && let Some(behind) = behind.strip_prefix(b" times: [")
        {
            (times, message) = (count, behind.strip_suffix(b"]").unwrap_or(behind).trim_ascii_start());
        } else if let Some(behind) = message.strip_prefix(b"[")
            && let Some(end) = behind.iter().position(|byte| *byte == b']')
        {
            message = behind.get(end + 1..).unwrap_or_default().trim_ascii_start();
        } else {
            return (times, message);
        }
    }
}

/// The first word of `text`, and what is behind it.
fn next_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(u8::is_ascii_whitespace)?;
    text.split_at_checked(end)
}

/// The time that `line` begins with, and what is behind it.
fn time<'a>(line: &'a [u8], calendar: &Calendar) -> Option<(Nanos, &'a [u8])> {
    if line.first()?.is_ascii_digit() {
        return iso_time(line, calendar);
    }
    without_year(line, calendar).or_else(|| {
        // The day of the week.
        let (_, behind) = next_word(line)?;
        with_year(behind.trim_ascii_start(), calendar)
    })
}

/// `2026-11-29T01:52:10.123456+01:00`, without an offset in local time, with a blank instead of the `T`.
fn iso_time<'a>(line: &'a [u8], calendar: &Calendar) -> Option<(Nanos, &'a [u8])> {
    let (word, mut behind) = next_word(line)?;
    let mut text = std::str::from_utf8(word).ok()?.to_owned();
    if !text.contains('T') {
        let (word, rest) = next_word(behind.trim_ascii_start())?;
        text = format!("{text}T{}", std::str::from_utf8(word).ok()?);
        behind = rest;
    }
    let time = text.parse::<Timestamp>().or_else(|_| {
        let time: DateTime = text.parse()?;
        calendar.zone.to_timestamp(time)
    });
    Some((nanos(time.ok()?)?, behind))
}

/// `Nov 29 01:52:10`, with a day of one digit behind two blanks. The year is the last in which the time is not after
/// the last change of the file.
fn without_year<'a>(line: &'a [u8], calendar: &Calendar) -> Option<(Nanos, &'a [u8])> {
    let (month, day, behind) = month_and_day(line)?;
    let (seconds, behind) = time_of_day(behind)?;
    let newest = Timestamp::from_second(calendar.newest.saturating_add(SLACK)).ok()?;
    let year = newest.to_zoned(calendar.zone.clone()).year();
    let of = |year: i16| civil(year, month, day, seconds, calendar);
    let time = (0..=YEARS).filter_map(|back| of(year.checked_sub(back)?)).find(|time| *time <= newest)?;
    Some((nanos(time)?, behind))
}

/// `Nov 29 01:52:10 2026`.
fn with_year<'a>(line: &'a [u8], calendar: &Calendar) -> Option<(Nanos, &'a [u8])> {
    let (month, day, behind) = month_and_day(line)?;
    let (seconds, behind) = time_of_day(behind)?;
    let (year, behind) = number(behind.trim_ascii_start())?;
    let time = civil(i16::try_from(year).ok()?, month, day, seconds, calendar)?;
    Some((nanos(time)?, behind))
}

fn month_and_day(line: &[u8]) -> Option<(i8, i8, &[u8])> {
    let (month, behind) = next_word(line)?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let (day, behind) = number(behind.trim_ascii_start())?;
    Some((i8::try_from(month + 1).ok()?, i8::try_from(day).ok()?, behind.trim_ascii_start()))
}

/// The seconds since midnight of `01:52:10`, with or without a fraction.
fn time_of_day(text: &[u8]) -> Option<(u32, &[u8])> {
    let (hour, rest) = number(text)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?)?;
    let (second, rest) = number(rest.strip_prefix(b":")?)?;
    // 60 is a leap second.
    let is_valid = hour < 24 && minute < 60 && second <= 60;
    let seconds = hour * 3600 + minute * 60 + second.min(59);
    let rest = rest.strip_prefix(b".").and_then(number).map_or(rest, |(_, behind)| behind);
    u32::try_from(seconds).ok().filter(|_| is_valid).map(|seconds| (seconds, rest))
}

fn civil(year: i16, month: i8, day: i8, seconds: u32, calendar: &Calendar) -> Option<Timestamp> {
    let part = |value: u32| i8::try_from(value).ok();
    let date = Date::new(year, month, day).ok()?;
    let (hour, minute, second) = (part(seconds / 3600)?, part(seconds / 60 % 60)?, part(seconds % 60)?);
    calendar.zone.to_timestamp(date.at(hour, minute, second, 0)).ok()
}

fn nanos(time: Timestamp) -> Option<Nanos> {
    u64::try_from(time.as_nanosecond()).ok().map(Nanos)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::{Notice, notice, spellings::FULL};
    use super::*;

    /// 29 November 2026, 02:00:00, one hour east of Greenwich.
    fn calendar() -> Calendar {
        let newest = "2026-11-29T02:00:00+01:00".parse::<Timestamp>().unwrap().as_second();
        Calendar { zone: TimeZone::posix("CET-1").unwrap(), newest }
    }

    fn time_of(line: &str) -> Option<String> {
        let time = entry(line.as_bytes(), &calendar())?.time?;
        Some(Timestamp::from_nanosecond(i128::from(time.0)).unwrap().to_string())
    }

    const PREFIXES: [&str; 17] = [
        "",
        "[12345.678901] ",
        "[12345.678901][   C0] ",
        "<4>[    5.1] ",
        "Nov 29 01:52:10 gate kernel: ",
        "Nov 29 01:52:10 gate kernel: [12345.678901] ",
        "Nov 29 01:52:10 gate kernel: [12345.678901] [T12] ",
        "Nov  9 01:52:10 gate kern.warn kernel: [12345.678901] ",
        "Nov 29 01:52:10 gate [kernel] ",
        "Nov 29 01:52:10 src@gate kernel: ",
        "Nov 29 01:52:10 gate ",
        "Sun Nov 29 01:52:10 2026 kern.warn kernel: [ 123.4] ",
        "2026-11-29T01:52:10.123456+01:00 gate kernel: [12345.678901] ",
        "2026-11-29T01:52:10Z gate kernel: ",
        "2026-11-29 01:52:10 gate kernel: ",
        "<4>1 2026-11-29T01:52:10.5Z gate kernel - - - ",
        "Nov 29 01:52:10 gate kernel: message repeated 3 times: [ [12345.678901] ",
    ];

    #[test]
    fn every_spelling_is_found_behind_every_prefix_of_syslog() {
        for prefix in PREFIXES {
            for message in FULL {
                let line = format!("{prefix}{message}{}\r", if prefix.contains("times") { "]" } else { "" });
                let entry = entry(line.as_bytes(), &calendar()).unwrap();
                assert!(matches!(notice(entry.message), Some(Notice::TableFull { .. })), "{line}");
                assert_eq!(entry.times, if prefix.contains("times") { 3 } else { 1 }, "{line}");
                assert_eq!(entry.time.is_some(), prefix.contains("52:10"), "{line}");
            }
        }
    }

    #[test]
    fn the_time_is_read_in_every_format() {
        let end = "gate kernel: nf_conntrack: table full, dropping packet";
        for (stamp, expected) in [
            ("Nov 29 01:52:10", "2026-11-29T00:52:10Z"),
            ("Nov  9 01:52:10", "2026-11-09T00:52:10Z"),
            ("Sun Nov 29 01:52:10 2026", "2026-11-29T00:52:10Z"),
            ("2026-11-29T01:52:10.25+01:00", "2026-11-29T00:52:10.25Z"),
            ("2026-11-29T01:52:10Z", "2026-11-29T01:52:10Z"),
            ("2026-11-29T01:52:10", "2026-11-29T00:52:10Z"),
            ("2026-11-29 01:52:10", "2026-11-29T00:52:10Z"),
            ("<4>2026-11-29T01:52:10Z", "2026-11-29T01:52:10Z"),
        ] {
            assert_eq!(time_of(&format!("{stamp} {end}")).as_deref(), Some(expected), "{stamp}");
        }
        for stamp in ["Nov 31 01:52:10", "Nov 29 25:52:10", "Nov", "2026-13-01T00:00:00", "99999999999999999999", "Sun"]
        {
            assert_eq!(time_of(&format!("{stamp} {end}")), None, "{stamp}");
        }
    }

    #[test]
    fn a_time_without_a_year_is_the_last_before_the_change_of_the_file() {
        let end = "gate kernel: nf_conntrack: table full, dropping packet";
        for (stamp, year) in
            [("Jan  1 00:00:00", 2026), ("Nov 30 01:00:00", 2026), ("Dec 24 18:00:00", 2025), ("Feb 29 12:00:00", 2024)]
        {
            let time = time_of(&format!("{stamp} {end}")).unwrap();
            // In Greenwich, an hour earlier.
            let expected = if stamp.starts_with("Jan") { year - 1 } else { year };
            assert!(time.starts_with(&expected.to_string()), "{stamp}: {time}");
        }
    }

    #[test]
    fn what_another_program_wrote_is_no_message_of_the_kernel() {
        for line in [
            "Nov 29 01:52:10 gate sudo: root : COMMAND=/bin/grep nf_conntrack: table full, dropping packet /var/log/messages",
            "Nov 29 01:52:10 gate sudo[12]: root : COMMAND=/bin/grep kernel: nf_conntrack: table full, dropping packet",
            "2026-11-29T01:52:10Z gate logger: nf_conntrack: table full, dropping packet",
            "2026-11-29T01:52:10Z gate CRON 12 - - (root) CMD (grep -c nf_conntrack: table full)",
        ] {
            let found = entry(line.as_bytes(), &calendar()).and_then(|entry| notice(entry.message));
            assert_eq!(found, None, "{line}");
        }
    }

    #[test]
    fn the_host_that_wrote_a_line_is_kept() {
        for (line, host) in [
            ("Nov 29 01:52:10 gate kernel: x", Some("gate")),
            ("Nov 29 01:52:10 gate kern.warn kernel: x", Some("gate")),
            ("Sun Nov 29 01:52:10 2026 kern.warn kernel: x", None),
            ("Nov 29 01:52:10 gate last message repeated 3 times", Some("gate")),
            ("[1.5] x", None),
        ] {
            assert_eq!(entry(line.as_bytes(), &calendar()).unwrap().host, host.map(str::as_bytes), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..80), prefix in 0..PREFIXES.len(), cut in 0..80usize) {
            let _ = entry(&bytes, &calendar());
            let mut line = PREFIXES[prefix].as_bytes().to_vec();
            line.truncate(cut);
            line.extend_from_slice(&bytes);
            let _ = entry(&line, &calendar());
        }

        #[test]
        fn a_spelling_is_found_behind_any_host_and_any_stamp(host in "[a-z0-9][a-z0-9.-]{0,20}", stamp in 0u64..100_000_000, spelling in 0..FULL.len()) {
            prop_assume!(!host.starts_with("kern.") && !host.starts_with("user.") && host != "kernel");
            let line = format!("Nov 29 01:52:10 {host} kernel: [{}.{:06}] {}", stamp / 1000, stamp % 1000, FULL[spelling]);
            let entry = entry(line.as_bytes(), &calendar()).unwrap();
            prop_assert_eq!(entry.host, Some(host.as_bytes()));
            let found = matches!(notice(entry.message), Some(Notice::TableFull { .. }));
            prop_assert!(found);
        }
    }
}
