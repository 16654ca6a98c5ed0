//! Values of options: numbers, marks, addresses, NAT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

use super::error::SyntaxError;
use super::request::{Mark, NatArgument};

/// A number of `strtoul` or `strtol`, with what follows it.
struct Number<'a> {
    negative: bool,
    /// `None` where it does not fit.
    magnitude: Option<u64>,
    rest: &'a [u8],
}

/// The number at the start of `text`, after white space and a sign; `None` without a digit. With `prefixes`,
/// `0x` is hexadecimal and `0` octal.
fn leading_number(text: &[u8], prefixes: bool) -> Option<Number<'_>> {
    let text = text.get(text.iter().take_while(|byte| is_space(**byte)).count()..)?;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        text => (false, text),
    };
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', first, ..] if prefixes && first.is_ascii_hexdigit() => (16, digits.get(2..)?),
        [b'0', ..] if prefixes => (8, digits),
        digits => (10, digits),
    };
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let length = digits.iter().take_while(is_digit).count();
    let (number, rest) = digits.split_at_checked(length).filter(|(number, _)| !number.is_empty())?;
    let magnitude = str::from_utf8(number).ok().and_then(|number| u64::from_str_radix(number, radix).ok());
    Some(Number { negative, magnitude, rest })
}

/// isspace(3), which has the vertical tab as well.
fn is_space(byte: u8) -> bool {
    byte == 0x0b || byte.is_ascii_whitespace()
}

impl Number<'_> {
    /// Its value, if that is not negative and not above `max`. `-0` is 0.
    fn within(&self, max: u64) -> Option<u64> {
        self.magnitude.filter(|magnitude| *magnitude <= max && (!self.negative || *magnitude == 0))
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// A value that conntrack(8) reads with `atoi`: it ignores what follows the digits, and the upper bits.
pub fn decimal<N: TryFrom<u64>>(option: &str, text: &[u8], max: N) -> Result<N, SyntaxError>
where
    u64: From<N>,
{
    lenient(option, text, u64::from(max), false)
}

/// A key of GRE, decimal or hexadecimal.
pub fn key(option: &str, text: &[u8]) -> Result<u16, SyntaxError> {
    lenient(option, text, u64::from(u16::MAX), true)
}

fn lenient<N: TryFrom<u64>>(option: &str, text: &[u8], max: u64, prefixes: bool) -> Result<N, SyntaxError> {
    let number = leading_number(text, prefixes).filter(|number| number.rest.is_empty());
    let value = number.and_then(|number| number.within(max)).and_then(|value| N::try_from(value).ok());
    let refused = || format!("invalid value '{}' of --{option}: expected a number up to {max}", shown(text));
    value.ok_or_else(|| SyntaxError::stricter(refused()))
}

/// A value that conntrack(8) checks since 1.4.9: `--id`, `--secmark`, zones.
pub fn checked(option: &str, text: &[u8], max: u32) -> Result<u32, SyntaxError> {
    let number = leading_number(text, true).filter(|number| number.rest.is_empty());
    let value = number.as_ref().and_then(|number| number.within(u64::from(max)));
    let refused = format!("invalid value '{}' of --{option}: expected a number up to {max}", shown(text));
    match value.and_then(|value| u32::try_from(value).ok()) {
        Some(value) => Ok(value),
        None if number.is_some_and(|number| wraps(&number, u64::from(max))) => Err(SyntaxError::stricter(refused)),
        None => Err(SyntaxError::failed(refused)),
    }
}

/// Whether `strtoul` makes a negative number one that is in range.
fn wraps(number: &Number<'_>, max: u64) -> bool {
    number.negative && number.magnitude.is_some_and(|magnitude| magnitude.wrapping_neg() <= max)
}

/// `VALUE[/MASK]`.
pub fn mark(text: &[u8]) -> Result<Mark, SyntaxError> {
    let (value, mask) = match text.iter().position(|byte| *byte == b'/').and_then(|at| text.split_at_checked(at)) {
        Some((value, mask)) => (value, mask.get(1..)),
        None => (text, None),
    };
    let value = checked("mark", value, u32::MAX).map_err(|error| SyntaxError { message: bad_mark(text), ..error })?;
    let mask = mask.map_or(Ok(u32::MAX), |mask| mark_mask(mask, text))?;
    Ok(Mark { value, mask })
}

/// conntrack(8) takes an empty mask for 0, which every mark matches, and the lower half of a large one.
fn mark_mask(mask: &[u8], whole: &[u8]) -> Result<u32, SyntaxError> {
    let Some(number) = leading_number(mask, true) else {
        let refused = if mask.is_empty() { SyntaxError::stricter } else { SyntaxError::failed };
        return Err(refused(bad_mark(whole)));
    };
    if !number.rest.is_empty() {
        return Err(SyntaxError::failed(bad_mark(whole)));
    }
    let value = number.within(u64::from(u32::MAX)).and_then(|value| u32::try_from(value).ok());
    value.ok_or_else(|| SyntaxError::stricter(bad_mark(whole)))
}

fn bad_mark(text: &[u8]) -> String {
    format!("invalid mark '{}': expected VALUE or VALUE/MASK, of 32 bits each", shown(text))
}

/// The number of `-p`, as far as it is one.
pub fn protocol_number(text: &[u8]) -> Option<u8> {
    let number = leading_number(text, true).filter(|number| number.rest.is_empty())?;
    number.within(u64::from(u8::MAX)).and_then(|number| u8::try_from(number).ok())
}

/// An address, and the number of leading ones of its netmask where one is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: Option<u8>,
}

impl Network {
    /// The netmask of the prefix; `None` without one, and where it is all ones.
    pub fn netmask(self) -> Option<IpAddr> {
        let prefix = u32::from(self.prefix?);
        match self.address {
            IpAddr::V4(_) if prefix < 32 => {
                Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into())
            }
            IpAddr::V6(_) if prefix < 128 => {
                Some(Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into())
            }
            _ => None,
        }
    }
}

/// The address before a `/`.
pub fn address(text: &[u8]) -> Result<IpAddr, SyntaxError> {
    let text = text.split(|byte| *byte == b'/').next().unwrap_or_default();
    let ipv6 = || str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok()).map(IpAddr::V6);
    match inet_aton(text) {
        Some((ipv4, rest)) if rest.trim_ascii().is_empty() => Ok(ipv4.into()),
        Some(_) => Err(SyntaxError::stricter(format!("invalid address '{}'", shown(text)))),
        None => ipv6().ok_or_else(|| SyntaxError::usage(format!("invalid address '{}'", shown(text)))),
    }
}

/// The prefix after a `/`; the outer `None` without one.
pub fn prefix(text: &[u8], address: IpAddr) -> Result<Option<u8>, SyntaxError> {
    let Some(at) = text.iter().position(|byte| *byte == b'/') else { return Ok(None) };
    let max = if address.is_ipv4() { 32 } else { 128 };
    let refused = || format!("invalid netmask in '{}': expected a length up to {max}", shown(text));
    let length = text.get(at + 1..).unwrap_or_default();
    if length.is_empty() {
        // To conntrack(8) this is /0, which matches every address.
        return Err(SyntaxError::stricter(refused()));
    }
    let number = leading_number(length, false).filter(|number| number.rest.is_empty());
    let Some(number) = number else { return Err(SyntaxError::usage(refused())) };
    match number.within(max).and_then(|prefix| u8::try_from(prefix).ok()) {
        Some(prefix) => Ok(Some(prefix)),
        // conntrack(8) ignores all but the lower 32 bits.
        None if number.magnitude.is_none_or(|magnitude| magnitude > u64::from(u32::MAX) / 2) => {
            Err(SyntaxError::stricter(refused()))
        }
        None => Err(SyntaxError::usage(refused())),
    }
}

/// An IPv4 address as inet_aton(3) reads it, and what follows: `10.1` is 10.0.0.1, `0x0a000001` too.
/// White space and anything after it may follow.
fn inet_aton(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (mut bits, mut rest, mut parts) = (0u32, text, 0u32);
    loop {
        if !rest.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let number = leading_number(rest, true)?;
        let value = u32::try_from(number.magnitude?).ok()?;
        rest = number.rest;
        parts += 1;
        match rest {
            [b'.', after @ ..] if parts < 4 && value <= 0xff => {
                bits |= value << (32 - 8 * parts);
                rest = after;
            }
            _ if rest.first().is_none_or(|byte| is_space(*byte)) => {
                let max = u32::MAX >> (8 * (parts - 1));
                return (value <= max).then_some((Ipv4Addr::from_bits(bits | value), rest));
            }
            _ => return None,
        }
    }
}

/// `ADDRESS`, `IPV4:PORT` or `[IPV6]:PORT`.
pub fn nat(option: &str, text: &[u8]) -> Result<NatArgument, SyntaxError> {
    let (address_text, port) = split_port(text)?;
    let found = address(address_text)?;
    if address_text.contains(&b'/') {
        return Err(SyntaxError::usage(format!("--{option} takes no netmask: '{}'", shown(text))));
    }
    Ok(NatArgument { address: Some(found), port })
}

fn split_port(text: &[u8]) -> Result<(&[u8], Option<u16>), SyntaxError> {
    let invalid = |what: &str| SyntaxError::usage(format!("{what} in '{}'", shown(text)));
    if let Some(open) = text.iter().position(|byte| *byte == b'[') {
        let inside = text.get(open + 1..).unwrap_or_default();
        let close = inside.iter().position(|byte| *byte == b']').ok_or_else(|| invalid("no closing ']'"))?;
        let (address, after) = (inside.get(..close).unwrap_or_default(), inside.get(close + 1..).unwrap_or_default());
        return match after {
            _ if address.is_empty() => Err(invalid("no address between '[' and ']'")),
            [b':', port_text @ ..] if open == 0 => Ok((address, Some(port(port_text, text)?))),
            // conntrack(8) searches the colon in all that follows, and ignores what stands before '['.
            after => match after.iter().position(|byte| *byte == b':') {
                Some(_) => Err(SyntaxError { is_stricter: true, ..invalid("expected ':' and a port after ']'") }),
                None => Err(invalid("expected ':' and a port after ']'")),
            },
        };
    }
    let mut colons = text.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
    match (colons.next(), colons.next()) {
        (Some(at), None) => {
            let port = port(text.get(at + 1..).unwrap_or_default(), text)?;
            Ok((text.get(..at).unwrap_or_default(), Some(port)))
        }
        _ => Ok((text, None)),
    }
}

fn port(port: &[u8], whole: &[u8]) -> Result<u16, SyntaxError> {
    let number = port.iter().all(u8::is_ascii_digit).then(|| str::from_utf8(port).ok()?.parse().ok()).flatten();
    number
        .ok_or_else(|| SyntaxError::usage(format!("invalid port in '{}': expected a number up to 65535", shown(whole))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::error::ErrorExit;
    use super::*;

    /// The value, or how it is refused: `failed`, `usage` or `stricter`.
    fn outcome<T>(result: Result<T, SyntaxError>) -> Result<T, &'static str> {
        result.map_err(|error| match (error.is_stricter, error.exit) {
            (true, _) => "stricter",
            (_, ErrorExit::Usage) => "usage",
            (_, ErrorExit::Failed) => "failed",
        })
    }

    #[test]
    fn a_mark_has_a_mask_of_all_ones_or_the_one_that_is_written() {
        let mark = |text: &str| outcome(mark(text.as_bytes())).map(|mark| (mark.value, mark.mask));
        assert_eq!(mark("5"), Ok((5, u32::MAX)));
        assert_eq!(mark("0x10/0xff"), Ok((16, 255)));
        assert_eq!(mark("010/1"), Ok((8, 1)));
        assert_eq!(mark(" +4294967295"), Ok((u32::MAX, u32::MAX)));
        for text in ["", "x", "5x", "0x", "-1", "4294967296", "5/1x", "5/ 1 ", "/1", "5/x"] {
            assert_eq!(mark(text), Err("failed"), "{text}");
        }
        for text in ["5/", "5/4294967296", "5/-1", "-18446744073709551615"] {
            assert_eq!(mark(text), Err("stricter"), "{text}");
        }
    }

    #[test]
    fn a_port_that_is_not_wholly_a_number_is_refused() {
        let port = |text: &str| outcome(decimal("dport", text.as_bytes(), u16::MAX));
        assert_eq!(port("80"), Ok(80));
        assert_eq!(port("0080"), Ok(80));
        assert_eq!(port(" \x0b+80"), Ok(80));
        for text in ["80,443", "1000:2000", "http", "", "-1", "65536", "0x50", "80 "] {
            assert_eq!(port(text), Err("stricter"), "{text}");
        }
    }

    #[test]
    fn a_key_is_decimal_octal_or_hexadecimal() {
        assert_eq!(outcome(key("srckey", b"0x1F")), Ok(31));
        assert_eq!(outcome(key("srckey", b"010")), Ok(8));
        assert_eq!(outcome(key("srckey", b"0x1ffff")), Err("stricter"));
    }

    #[test]
    fn an_address_is_read_as_inet_aton_or_as_ipv6() {
        let read = |text: &str| outcome(address(text.as_bytes())).map(|address| address.to_string());
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("10.1", "10.0.0.1"),
            ("10.1.258", "10.1.1.2"),
            ("0x0a000001", "10.0.0.1"),
            ("010.0.0.1", "8.0.0.1"),
            ("10.0.0.1 ", "10.0.0.1"),
            ("10.0.0.1/24", "10.0.0.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "10.", "256.0.0.1", "10.1.65536", "1.2.3.4.5", "4294967296", "x", "10.0.0.1x", "::1%lo", "-1"]
        {
            assert_eq!(read(text), Err("usage"), "{text}");
        }
        assert_eq!(read("10.0.0.1 x"), Err("stricter"));
    }

    #[test]
    fn a_prefix_is_a_length_and_an_empty_one_is_not_zero() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let read = |text: &str| outcome(prefix(text.as_bytes(), v4));
        assert_eq!(read("10.0.0.1"), Ok(None));
        assert_eq!(read("10.0.0.1/0"), Ok(Some(0)));
        assert_eq!(read("10.0.0.1/32"), Ok(Some(32)));
        for text in ["10.0.0.1/33", "10.0.0.1/-1", "10.0.0.1/24x", "10.0.0.1/24/8", "10.0.0.1/255.0.0.0"] {
            assert_eq!(read(text), Err("usage"), "{text}");
        }
        assert_eq!(read("10.0.0.1/"), Err("stricter"));
        assert_eq!(read("10.0.0.1/4294967304"), Err("stricter"));
        let mask = |prefix| Network { address: v4, prefix: Some(prefix) }.netmask().map(|mask| mask.to_string());
        assert_eq!(mask(0).as_deref(), Some("0.0.0.0"));
        assert_eq!(mask(20).as_deref(), Some("255.255.240.0"));
        assert_eq!(mask(32), None);
    }

    #[test]
    fn a_nat_argument_has_an_address_and_perhaps_a_port() {
        let read = |text: &str| {
            outcome(nat("src-nat", text.as_bytes())).map(|nat| (nat.address.map(|a| a.to_string()), nat.port))
        };
        assert_eq!(read("192.0.2.1:80"), Ok((Some("192.0.2.1".into()), Some(80))));
        assert_eq!(read("[2001:db8::1]:0"), Ok((Some("2001:db8::1".into()), Some(0))));
        assert_eq!(read("2001:db8::1"), Ok((Some("2001:db8::1".into()), None)));
        for text in [":80", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:+1", "[]:80", "[::1", "[::1]", "192.0.2.0/24"] {
            assert_eq!(read(text), Err("usage"), "{text}");
        }
        assert_eq!(read("x[::1]:80"), Err("stricter"));
    }
}
