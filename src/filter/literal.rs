//! Numbers, sizes, durations and addresses as people write them.
//!
//! Strict: what has two readings (`010`, `12` as a time) is refused.

use std::net::IpAddr;

use ipnet::IpNet;

use super::error::Fault;

/// Factors of counts and sizes; a size may have a `B` behind it.
const SCALES: [(&str, u64); 11] = [
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("", 1),
];

/// Largest first: the order in which they are written.
pub(super) const TIME_UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A whole number, decimal without leading zeros or `0x…`, up to `max`.
pub(super) fn number(text: &str, max: u64) -> Result<u64, Fault> {
    let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => hexadecimal(text, digits)?,
        None => decimal(text)?,
    };
    if value > max {
        return Err(Fault::new(format!("{text} is too large: the largest is {max}")));
    }
    Ok(value)
}

/// A decimal number without leading zeros.
pub(super) fn decimal(text: &str) -> Result<u64, Fault> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::new(format!("\"{text}\" is not a number")));
    }
    if text.len() > 1 && text.starts_with('0') {
        let plain = text.trim_start_matches('0');
        let plain = if plain.is_empty() { "0" } else { plain };
        return Err(Fault::new(format!("\"{text}\" begins with a zero")).hint(format!("write {plain}")));
    }
    text.parse().map_err(|_| Fault::new(format!("{text} is too large")))
}

fn hexadecimal(text: &str, digits: &str) -> Result<u64, Fault> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Fault::new(format!("\"{text}\" is not a number")));
    }
    u64::from_str_radix(digits, 16).map_err(|_| Fault::new(format!("{text} is too large")))
}

/// A number with a factor behind it: `10k`, `2Gi`; of bytes also `2GiB`.
pub(super) fn scaled(text: &str, bytes: bool) -> Result<u64, Fault> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits);
    let bare = if bytes { suffix.strip_suffix('B').unwrap_or(suffix) } else { suffix };
    let scale = SCALES.iter().find(|(name, _)| *name == bare).map(|(_, scale)| *scale);
    let (false, Some(scale)) = (digits.is_empty(), scale) else {
        let example = if bytes { "500, 10k, 10M, 2Gi" } else { "500, 10k, 10M" };
        return Err(Fault::new(format!("\"{text}\" is not a number")).hint(example));
    };
    let value = decimal(digits)?;
    value.checked_mul(scale).ok_or_else(|| Fault::new(format!("{text} is too large")))
}

/// A time with its units, largest first: `90s`, `1h30m`, `5d`. `0` needs none.
pub(super) fn duration(text: &str) -> Result<u64, Fault> {
    if text == "0" {
        return Ok(0);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        decimal(text)?;
        return Err(Fault::new(format!("{text} needs a unit of time"))
            .hint(format!("{text}s, {text}m, {text}h, {text}d or {text}w")));
    }
    let not_a_time = || Fault::new(format!("\"{text}\" is not a time")).hint("90s, 10m, 12h, 5d, 2w or 1h30m");
    let (mut rest, mut seconds, mut smallest) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(not_a_time)?;
        let (count, unit) = rest.split_at(digits);
        let unit_char = unit.chars().next().ok_or_else(not_a_time)?;
        let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit_char).map(|(_, factor)| *factor);
        let factor = factor.filter(|factor| *factor < smallest && !count.is_empty()).ok_or_else(not_a_time)?;
        let part = decimal(count)?.checked_mul(factor);
        let sum = part.and_then(|part| seconds.checked_add(part));
        seconds = sum.ok_or_else(|| Fault::new(format!("{text} is too long")))?;
        smallest = factor;
        rest = unit.get(unit_char.len_utf8()..).unwrap_or_default();
    }
    if text.is_empty() { Err(not_a_time()) } else { Ok(seconds) }
}

/// Reads a time such as `90s` or `1h30m`, in seconds: for what is no expression, but
/// should be written as in one.
///
/// # Errors
/// It is none; the text says what it should look like.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    duration(text).map_err(Fault::into_text)
}

/// Reads a size in bytes such as `64MiB` or `10M`.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_size(text: &str) -> Result<u64, String> {
    scaled(text, true).map_err(Fault::into_text)
}

/// Seconds as they are read again: `1h30m`.
pub(super) fn write_duration(mut seconds: u64) -> String {
    if seconds == 0 {
        return "0".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in TIME_UNITS {
        if seconds >= factor {
            text.push_str(&format!("{}{unit}", seconds / factor));
            seconds %= factor;
        }
    }
    text
}

/// An address, a network or a range: its first and its last address.
pub(super) fn addresses(text: &str) -> Result<(IpAddr, IpAddr), Fault> {
    if let Some((address, prefix)) = text.split_once('/') {
        return network(text, address, prefix);
    }
    let Some((low, high)) = text.split_once('-') else {
        return address(text).map(|address| (address, address));
    };
    let behind = low.len() + 1;
    let (from, to) = (
        address(low).map_err(|fault| fault.shift(0, low.len()))?,
        address(high).map_err(|fault| fault.shift(behind, high.len()))?,
    );
    if from.is_ipv4() != to.is_ipv4() {
        return Err(Fault::new("a range cannot go from one address family to the other"));
    }
    if from > to {
        return Err(Fault::new("this range runs backwards").hint(format!("{high}-{low}")));
    }
    Ok((from, to))
}

fn network(text: &str, host: &str, prefix: &str) -> Result<(IpAddr, IpAddr), Fault> {
    let address = address(host).map_err(|fault| fault.shift(0, host.len()))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let part = |fault: Fault| fault.part(host.len(), text.len());
    let length = decimal(prefix).map_err(|fault| {
        let fault = if fault.hint.is_none() { fault.hint("the length of the prefix: 10.0.0.0/8") } else { fault };
        part(fault)
    })?;
    let length = u8::try_from(length).ok().filter(|length| *length <= longest);
    let network = length.and_then(|length| IpNet::new(address, length).ok());
    let Some(network) = network else {
        let family = if longest == 32 { "IPv4" } else { "IPv6" };
        return Err(part(Fault::new(format!("/{prefix} is too long: an {family} prefix has at most {longest} bits"))));
    };
    // `broadcast` is the last address, in IPv6 too.
    Ok((network.network(), network.broadcast()))
}

fn address(text: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_| {
        let fault = Fault::new(format!("\"{text}\" is not an address"));
        if text.contains('%') {
            fault.hint("without the interface: conntrack does not keep it")
        } else if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') {
            fault.hint("names are not looked up: write the address")
        } else if text.split('.').any(|part| part.len() > 1 && part.starts_with('0')) {
            fault.hint("write its numbers without leading zeros")
        } else {
            fault.hint("192.0.2.1, 10.0.0.0/8, 2001:db8::/32, 10.0.0.1-10.0.0.9")
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_units_in_falling_order() {
        let good = [("90s", 90), ("10m", 600), ("12h", 43_200), ("5d", 432_000), ("2w", 1_209_600), ("1h30m", 5_400)];
        for (text, seconds) in good {
            assert_eq!(duration(text).unwrap(), seconds, "{text}");
        }
        for text in ["", "s", "12", "1.5h", "30m1h", "1h1h", "1h30", "012s", "1y", "-1s", "1é", "99999999999999999w"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("0").unwrap(), 0);
    }

    #[test]
    fn a_written_duration_is_read_as_the_same() {
        for seconds in [0, 1, 59, 60, 61, 3_599, 3_600, 90_061, 604_800, 1_000_000_007, u64::MAX] {
            assert_eq!(duration(&write_duration(seconds)).unwrap(), seconds);
        }
    }

    #[test]
    fn a_number_is_strict() {
        assert_eq!((number("0", 9).unwrap(), number("0x1F", 255).unwrap()), (0, 31));
        for text in ["", "00", "007", "+1", "-1", "1 ", "0x", "0xg", "1_000", "10", "99999999999999999999"] {
            assert!(number(text, 9).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_has_decimal_and_binary_factors() {
        let good = [("500", 500), ("10k", 10_000), ("10Ki", 10_240), ("2GiB", 2 << 30), ("1M", 1_000_000), ("7B", 7)];
        for (text, bytes) in good {
            assert_eq!(scaled(text, true).unwrap(), bytes, "{text}");
        }
        for text in ["", "k", "10q", "1.5k", "010k", "10kk", "99999999T"] {
            assert!(scaled(text, true).is_err(), "{text}");
        }
        assert!(scaled("7B", false).is_err());
    }

    #[test]
    fn a_network_is_its_first_and_last_address() {
        let pair = |text: &str| addresses(text).map(|(low, high)| format!("{low} {high}")).unwrap();
        assert_eq!(pair("10.1.2.3/8"), "10.0.0.0 10.255.255.255");
        assert_eq!(pair("0.0.0.0/0"), "0.0.0.0 255.255.255.255");
        assert_eq!(pair("192.0.2.1/32"), "192.0.2.1 192.0.2.1");
        assert_eq!(pair("2001:db8::/127"), "2001:db8:: 2001:db8::1");
        assert_eq!(pair("10.0.0.1-10.0.0.9"), "10.0.0.1 10.0.0.9");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let bad = [
            "",
            "1.2.3",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/08",
            "::/129",
            "1.2.3.4/255.0.0.0",
            "010.0.0.1",
            "10.0.0.9-10.0.0.1",
            "10.0.0.1-::1",
            "example.org",
            "fe80::1%eth0",
            "1.2.3.4-",
            "1.2.3.4/+8",
            "[::1]",
        ];
        for text in bad {
            assert!(addresses(text).is_err(), "{text}");
        }
    }
}
