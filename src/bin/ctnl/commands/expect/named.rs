//! The tuple of an expectation as an argument, and the search for it.

use anyhow::Result;
use ctnl::model::{Expectation, NamedEntry, NamedEntryError, Tuple};
use ctnl::netlink::Connection;
use ctnl::table;

use super::select::Chosen;
use crate::term::exit::usage;

/// Reads `PROTOCOL SRC[:PORT] DST[:PORT]`, `src=… dst=…`, or the line of an expectation that ctnl or conntrack printed.
/// Returns the tuple, and its zone if the text has one.
///
/// # Errors
/// A usage error: it is no tuple, or has another one as well.
pub fn tuple(text: &str) -> Result<(Tuple, Option<u16>)> {
    let named: NamedEntry = expected_of_line(text).parse().map_err(|error: NamedEntryError| usage(error.render()))?;
    if named.may_be_ipv6 {
        return Err(usage("ambiguous: write ipv4 or ipv6 in front of the protocol"));
    }
    if named.reply.is_some() {
        return Err(usage("expected the tuple of an expectation, not the line of an entry"));
    }
    Ok((named.tuple, named.zone))
}

/// The tuple, and its zone or that of `--zone`.
///
/// # Errors
/// As [`tuple`]; both zones are given and differ.
pub fn tuple_in_zone(text: &str, zone: Option<u16>) -> Result<(Tuple, Option<u16>)> {
    let (tuple, named) = tuple(text)?;
    if named.is_some() && zone.is_some() && named != zone {
        return Err(usage("--zone: the tuple has another zone"));
    }
    Ok((tuple, named.or(zone)))
}

/// The expected tuple in the line of an expectation: what is between `proto=` and `mask-src=`. Another text as it is.
fn expected_of_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let protocol = words.iter().position(|word| word.starts_with("proto="));
    let mask = words.iter().position(|word| word.starts_with("mask-src="));
    let (Some(protocol), Some(mask)) = (protocol, mask) else { return text.to_owned() };
    let number = words.get(protocol).map_or("", |word| word.trim_start_matches("proto="));
    let tuple = words.get(protocol + 1..mask).unwrap_or_default();
    format!("{number} {}", tuple.join(" "))
}

/// The expectations with exactly this tuple, and this id where one is given, with their zones.
pub fn find(connection: &mut Connection, tuple: &Tuple, id: Option<u32>) -> Result<Vec<Chosen>> {
    let mut found: Vec<Expectation> = Vec::new();
    table::expectations(connection, |expectation| {
        if is_same(tuple, &expectation.tuple) && id.is_none_or(|id| expectation.id == Some(id)) {
            // The kernel may send one twice.
            found.retain(|known| known.id.is_none() || known.id != expectation.id);
            found.push(expectation);
        }
    })?;
    let zones = table::expect_zones(connection, &found)?;
    Ok(found.into_iter().zip(zones).map(|(expectation, zone)| Chosen { expectation, zone }).collect())
}

/// Zones are not compared.
fn is_same(named: &Tuple, found: &Tuple) -> bool {
    (named.src, named.dst, named.protocol, named.l4) == (found.src, found.dst, found.protocol, found.l4)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_list_or_of_an_event_names_its_expected_tuple() {
        let line = "300 proto=6 src=10.0.0.1 dst=192.0.2.1 sport=0 dport=4000 mask-src=255.255.255.255 \
                    mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.0.0.1 master-dst=192.0.2.1 sport=40000 \
                    dport=21 class=0 helper=ftp";
        let short = tuple("tcp 10.0.0.1:0 192.0.2.1:4000").unwrap();
        assert_eq!(tuple(line).unwrap(), short);
        assert_eq!(tuple(&format!("    [NEW] {line}")).unwrap(), short);
        assert_eq!(tuple("tcp src=10.0.0.1 dst=192.0.2.1 sport=0 dport=4000 zone=7").unwrap(), (short.0, Some(7)));
        for wrong in [
            "tcp 10.0.0.1 192.0.2.1",
            "tcp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
            "udp ::ffff:192.0.2.1:1 10.0.0.1:2",
            "",
        ] {
            assert!(tuple(wrong).is_err(), "{wrong}");
        }
    }
}
