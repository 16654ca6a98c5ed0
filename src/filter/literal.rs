//! Parsers of single values: numbers, sizes, durations, ports, addresses.
//!
//! A text with two meanings (`010`) is refused.

use std::net::IpAddr;

use ipnet::IpNet;

use super::error::ValueError;
use crate::units::{Bytes, QuantityErrorKind, Seconds, parse_count, parse_decimal};

/// A whole number, decimal without leading zeros or `0x…`, up to `max`.
pub(super) fn number(text: &str, max: u64) -> Result<u64, ValueError> {
    let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => hexadecimal(text, digits)?,
        None => decimal(text)?,
    };
    if value > max {
        return Err(ValueError::new(format!("number '{text}' is too large: expected at most {max}")));
    }
    Ok(value)
}

/// A decimal number without leading zeros.
pub(super) fn decimal(text: &str) -> Result<u64, ValueError> {
    parse_decimal(text).map_err(|error| match error.kind {
        QuantityErrorKind::LeadingZero => {
            let plain = text.trim_start_matches('0');
            let plain = if plain.is_empty() { "0" } else { plain };
            ValueError::new(format!("invalid number '{text}': expected no leading zeros")).hint(plain)
        }
        QuantityErrorKind::TooLarge => ValueError::new(format!("number '{text}' is too large")),
        _ => ValueError::new(format!("invalid number '{text}'")),
    })
}

fn hexadecimal(text: &str, digits: &str) -> Result<u64, ValueError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ValueError::new(format!("invalid number '{text}'")));
    }
    u64::from_str_radix(digits, 16).map_err(|_| ValueError::new(format!("number '{text}' is too large")))
}

/// A number with an optional factor: `10k`, `2Gi`.
pub(super) fn count(text: &str) -> Result<u64, ValueError> {
    parse_count(text).map_err(ValueError::from)
}

/// A number of bytes: `64MiB`.
pub(super) fn size(text: &str) -> Result<u64, ValueError> {
    Ok(text.parse::<Bytes>()?.0)
}

/// A number of seconds: `90s`, `1h30m`, `0`.
///
/// A number without a unit is refused, unlike in options such as `--soft`: a filter decides
/// what is deleted, and `--older 12` would match nearly every entry where hours were meant.
pub(super) fn duration(text: &str) -> Result<u64, ValueError> {
    let Seconds(seconds) = text.parse()?;
    if seconds != 0 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let error = ValueError::new(format!("invalid duration '{text}': a unit is missing"));
        return Err(error.hint(format!("{text}s, {text}m, {text}h or {text}d")));
    }
    Ok(seconds)
}

/// A port number.
pub(super) fn port(text: &str) -> Result<u64, ValueError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let error = ValueError::new(format!("not a port: '{text}'"));
        let range = text.split_once(':').filter(|(low, high)| decimal(low).is_ok() && decimal(high).is_ok());
        return Err(match range {
            Some((low, high)) => error.hint(format!("{low}-{high} for a range")),
            None => error.hint("a number from 0 to 65535, a range a-b, or a name from /etc/services"),
        });
    }
    let port = decimal(text)?;
    if port > u16::MAX.into() {
        return Err(ValueError::new(format!("not a port: '{text}': expected at most 65535")));
    }
    Ok(port)
}

/// An address, a network or a range: its first and its last address.
pub(super) fn addresses(text: &str) -> Result<(IpAddr, IpAddr), ValueError> {
    if let Some((address, prefix)) = text.split_once('/') {
        return network(text, address, prefix);
    }
    let Some((low, high)) = text.split_once('-') else {
        return address(text).map(|address| (address, address));
    };
    let behind = low.len() + 1;
    let (from, to) = (
        address(low).map_err(|error| error.shift(0, low.len()))?,
        address(high).map_err(|error| error.shift(behind, high.len()))?,
    );
    if from.is_ipv4() != to.is_ipv4() {
        return Err(ValueError::new("invalid range: expected addresses of one family"));
    }
    if from > to {
        return Err(ValueError::new("invalid range: the end is less than the start").hint(format!("{high}-{low}")));
    }
    Ok((from, to))
}

fn network(text: &str, host: &str, prefix: &str) -> Result<(IpAddr, IpAddr), ValueError> {
    let address = address(host).map_err(|error| error.shift(0, host.len()))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let part = |error: ValueError| error.part(host.len(), text.len());
    let length = decimal(prefix).map_err(|error| {
        let error = if error.hint.is_none() { error.hint("a prefix length, e.g. 10.0.0.0/8") } else { error };
        part(error)
    })?;
    let length = u8::try_from(length).ok().filter(|length| *length <= longest);
    let network = length.and_then(|length| IpNet::new(address, length).ok());
    let Some(network) = network else {
        let family = if longest == 32 { "IPv4" } else { "IPv6" };
        return Err(part(ValueError::new(format!(
            "invalid prefix length '/{prefix}': expected at most {longest} for {family}"
        ))));
    };
    // `broadcast` returns the last address of an IPv6 network, too.
    Ok((network.network(), network.broadcast()))
}

fn address(text: &str) -> Result<IpAddr, ValueError> {
    text.parse().map_err(|_| {
        let error = ValueError::new(format!("invalid address '{text}'"));
        if text.contains('%') {
            error.hint("remove the interface: conntrack entries have none")
        } else if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') {
            error.hint("host names are not resolved; use an address")
        } else if text.split('.').any(|part| part.len() > 1 && part.starts_with('0')) {
            error.hint("remove leading zeros")
        } else {
            error.hint("e.g. 192.0.2.1, 10.0.0.0/8, 2001:db8::/32, 10.0.0.1-10.0.0.9")
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_strict() {
        assert_eq!((number("0", 9).unwrap(), number("0x1F", 255).unwrap()), (0, 31));
        for text in ["", "00", "007", "+1", "-1", "1 ", "0x", "0xg", "1_000", "10", "99999999999999999999"] {
            assert!(number(text, 9).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_needs_a_unit_unless_it_is_zero() {
        for (text, seconds) in [("0", 0), ("0s", 0), ("90s", 90), ("12h", 43_200), ("1h30m", 5_400)] {
            assert_eq!(duration(text).unwrap(), seconds, "{text}");
        }
        for text in ["12", "1", "5400", "99999999999999999999", "012", ""] {
            assert!(duration(text).is_err(), "{text}");
        }
        let error = duration("12").unwrap_err();
        assert_eq!(error.message, "invalid duration '12': a unit is missing");
        assert_eq!(error.hint.as_deref(), Some("12s, 12m, 12h or 12d"));
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
    fn an_invalid_address_is_refused() {
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
