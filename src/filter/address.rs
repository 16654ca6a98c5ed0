//! Addresses, networks and ranges of addresses.
//!
//! An IPv4-mapped IPv6 address (`::ffff:192.0.2.3`) is the IPv4 address: a socket of both families
//! shows its IPv4 peers that way, and conntrack has the entry of the IPv4 packets.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::error::ValueError;
use super::literal::decimal;

/// Bits of an IPv4-mapped address before the IPv4 address.
const MAPPED: u8 = 96;

/// An address, a network or a range: its first and its last address.
pub(super) fn addresses(text: &str) -> Result<(IpAddr, IpAddr), ValueError> {
    if let Some((address, prefix)) = text.split_once('/') {
        return network(text, address, prefix);
    }
    let Some((low, high)) = text.split_once('-') else {
        return address(text).map(|address| (address.to_canonical(), address.to_canonical()));
    };
    let behind = low.len() + 1;
    let from = address(low).map_err(|error| error.shift(0, low.len()))?.to_canonical();
    let to = address(high).map_err(|error| error.shift(behind, high.len()))?.to_canonical();
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
    let Some(length) = u8::try_from(length).ok().filter(|length| *length <= longest) else {
        let family = if longest == 32 { "IPv4" } else { "IPv6" };
        return Err(part(ValueError::new(format!(
            "invalid prefix length '/{prefix}': expected at most {longest} for {family}"
        ))));
    };
    let (address, length) = unmapped(address, length).map_err(part)?;
    let network = IpNet::new(address, length).map_err(|error| part(ValueError::new(error.to_string())))?;
    // `broadcast` returns the last address of an IPv6 network, too.
    Ok((network.network(), network.broadcast()))
}

/// The IPv4 network of an IPv4-mapped one; any other is returned as it is.
///
/// A shorter prefix than that of all mapped addresses is refused: it is most likely the length of an IPv4 prefix.
fn unmapped(address: IpAddr, length: u8) -> Result<(IpAddr, u8), ValueError> {
    let (IpAddr::V6(_), IpAddr::V4(v4)) = (address, address.to_canonical()) else {
        return Ok((address, length));
    };
    match length.checked_sub(MAPPED) {
        Some(length) => Ok((v4.into(), length)),
        None => Err(ValueError::new(format!(
            "invalid prefix length '/{length}': expected 96 to 128 for an IPv4-mapped address"
        ))
        .hint(if length <= 32 {
            format!("{v4}/{length}")
        } else {
            "0.0.0.0/0 for every IPv4 address".to_owned()
        })),
    }
}

/// An address; an IPv6 address may be in brackets.
fn address(text: &str) -> Result<IpAddr, ValueError> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parsed = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| invalid(text))
}

#[cold]
fn invalid(text: &str) -> ValueError {
    let error = ValueError::new(format!("invalid address '{text}'"));
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let port = socket.port();
        error.hint(format!("{}, and the port as another term: sport {port}, dport {port} or port {port}", socket.ip()))
    } else if matches!(text, "host" | "net") {
        error.hint("the address follows the field: src 192.0.2.1")
    } else if text == "port" {
        error.hint("ports have fields of their own: sport 443, dport 443")
    } else if text.contains('%') {
        error.hint("remove the interface: conntrack entries have none")
    } else if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':') {
        error.hint("host names are not resolved; use an address")
    } else if text.split('.').any(|part| part.len() > 1 && part.starts_with('0')) {
        error.hint("remove leading zeros")
    } else {
        error.hint("e.g. 192.0.2.1, 10.0.0.0/8, 2001:db8::/32, 10.0.0.1-10.0.0.9")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pair(text: &str) -> String {
        addresses(text).map(|(low, high)| format!("{low} {high}")).unwrap()
    }

    #[test]
    fn a_network_is_its_first_and_last_address() {
        assert_eq!(pair("10.1.2.3/8"), "10.0.0.0 10.255.255.255");
        assert_eq!(pair("0.0.0.0/0"), "0.0.0.0 255.255.255.255");
        assert_eq!(pair("192.0.2.1/32"), "192.0.2.1 192.0.2.1");
        assert_eq!(pair("2001:db8::/127"), "2001:db8:: 2001:db8::1");
        assert_eq!(pair("10.0.0.1-10.0.0.9"), "10.0.0.1 10.0.0.9");
    }

    #[test]
    fn an_ipv4_mapped_address_network_or_range_is_the_ipv4_one() {
        assert_eq!(pair("::ffff:192.0.2.3"), "192.0.2.3 192.0.2.3");
        assert_eq!(pair("::FFFF:c000:203"), "192.0.2.3 192.0.2.3");
        assert_eq!(pair("[::ffff:192.0.2.3]"), "192.0.2.3 192.0.2.3");
        assert_eq!(pair("::ffff:192.0.2.3/128"), "192.0.2.3 192.0.2.3");
        assert_eq!(pair("::ffff:192.0.2.3/120"), "192.0.2.0 192.0.2.255");
        assert_eq!(pair("::ffff:0:0/96"), "0.0.0.0 255.255.255.255");
        assert_eq!(pair("::ffff:10.0.0.1-::ffff:10.0.0.9"), "10.0.0.1 10.0.0.9");
        assert_eq!(pair("10.0.0.1-::ffff:10.0.0.9"), "10.0.0.1 10.0.0.9");
    }

    #[test]
    fn a_mapped_address_with_a_shorter_prefix_than_96_is_refused() {
        let error = addresses("::ffff:192.0.2.0/24").unwrap_err();
        assert!(error.message.contains("96 to 128"), "{}", error.message);
        assert_eq!(error.hint.as_deref(), Some("192.0.2.0/24"));
    }

    #[test]
    fn a_mapped_network_that_contains_every_ipv4_address_is_not_suggested_as_a_single_address() {
        for text in ["::ffff:0:0/95", "::ffff:192.0.2.0/33"] {
            let error = addresses(text).unwrap_err();
            assert_eq!(error.hint.as_deref(), Some("0.0.0.0/0 for every IPv4 address"), "{text}");
        }
    }

    #[test]
    fn a_range_with_one_mapped_end_is_a_range_of_two_families() {
        for text in [
            "::ffff:192.0.2.3-2001:db8::1",
            "::-::ffff:192.0.2.9",
            "::fffe:0:0-::ffff:ffff:ffff",
            "192.0.2.0-2001:db8::1",
        ] {
            assert!(addresses(text).is_err(), "{text}");
        }
        let error = addresses("::-::ffff:192.0.2.9").unwrap_err();
        assert_eq!(error.message, "invalid range: expected addresses of one family");
    }

    #[test]
    fn other_ipv6_addresses_that_contain_an_ipv4_address_stay_ipv6() {
        assert_eq!(pair("64:ff9b::192.0.2.3"), "64:ff9b::c000:203 64:ff9b::c000:203");
        assert_eq!(pair("::192.0.2.3"), "::c000:203 ::c000:203");
        assert_eq!(pair("::fffe:0:0/95"), "::fffe:0:0 ::ffff:255.255.255.255");
        assert_eq!(pair("::-2001:db8::1"), ":: 2001:db8::1");
    }

    #[test]
    fn an_ipv6_address_may_be_in_brackets() {
        assert_eq!(pair("[2001:db8::1]"), "2001:db8::1 2001:db8::1");
        assert_eq!(pair("[2001:db8::]/127"), "2001:db8:: 2001:db8::1");
        assert_eq!(pair("[::1]-[::9]"), "::1 ::9");
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
            "[::1",
            "::1]",
            "[10.0.0.1]",
            "[]",
        ];
        for text in bad {
            assert!(addresses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_with_a_port_is_refused_with_the_terms_for_both() {
        for text in ["192.0.2.1:443", "[2001:db8::1]:443"] {
            assert!(addresses(text).unwrap_err().hint.unwrap().contains("dport 443"), "{text}");
        }
    }
}
