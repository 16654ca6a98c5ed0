//! The time of a spooled line, whatever its format.

use jiff::Timestamp;

/// The time of a line in ns since 1970: the `time_ns` of JSON, the third column of csv, the timestamp of
/// text. None if it has none.
pub fn line_time(line: &[u8]) -> Option<u64> {
    match line {
        [b'{', ..] => json_time(line),
        [b'[', text @ ..] => text_time(text),
        _ => {
            let mut cells = line.split(|byte| *byte == b',').skip(1);
            number(cells.next()?).and(number(cells.next()?))
        }
    }
}

fn json_time(line: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"time_ns\":";
    let at = line.windows(KEY.len()).position(|window| window == KEY)?;
    let rest = line.get(at + KEY.len()..)?;
    let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    number(rest.get(..length)?)
}

/// `1700000000.123456]`, as conntrack(8) prints it, or that of `--time iso`.
fn text_time(text: &[u8]) -> Option<u64> {
    let end = text.iter().position(|byte| *byte == b']')?;
    let text = std::str::from_utf8(text.get(..end)?).ok()?;
    if text.contains('T') {
        return text.parse::<Timestamp>().ok()?.as_nanosecond().try_into().ok();
    }
    let (seconds, fraction) = text.split_once('.')?;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let fraction = number(fraction.as_bytes())? * 10_u64.pow(9 - digits);
    number(seconds.as_bytes())?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_found_in_each_format_that_has_one() {
        for (line, time) in [
            (
                r#"{"v":1,"stream":"a","seq":17,"event":"destroy","time_ns":1795325357312000123,"clock":"k"}"#,
                Some(1795325357312000123),
            ),
            (r#"{"v":1}"#, None),
            ("new,17,1795325357312000123,kernel,,", Some(1795325357312000123)),
            ("new,x,1795325357312000123,kernel,,", None),
            ("[1700000000.123456]\t    [NEW] tcp 6", Some(1700000000123456000)),
            ("[2023-11-14T22:13:20.123456789Z]\t    [NEW] tcp 6", Some(1700000000123456789)),
            ("[2023-11-14T23:13:20.123456789+01:00]\t[HEARTBEAT] rate=1/s", Some(1700000000123456789)),
            ("[1969-11-14T22:13:20.0Z]\t    [NEW] tcp 6", None),
            ("    [NEW] tcp      6 120 SYN_SENT src=10.0.0.1", None),
            ("[DESTROY] tcp", None),
            ("[99999999999999999999.1]", None),
            ("", None),
        ] {
            assert_eq!(line_time(line.as_bytes()), time, "{line}");
        }
    }
}
