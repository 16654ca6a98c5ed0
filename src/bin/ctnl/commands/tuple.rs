//! One exact tuple, as `get` and `delete` take it: short (`tcp 10.0.0.1:40000
//! 10.0.0.2:443`) or as conntrack prints it (`tcp src=… dst=… sport=… dport=…`),
//! so that a line of `ctnl list` can be pasted.

use std::net::{IpAddr, SocketAddr};

use ctnl::model::{L4, Protocol, Tuple, Zone, protocol_from_name};

/// A tuple with what else was said of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedEntry {
    /// The tuple, of either direction.
    pub tuple: Tuple,
    /// The zone it is looked up in.
    pub zone: u16,
    /// The id that it must have.
    pub id: Option<u32>,
}

/// A word that was not understood: its place and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TupleError {
    words: Vec<String>,
    place: usize,
    message: String,
}

impl std::fmt::Display for TupleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let before: usize = self.words.iter().take(self.place).map(|word| word.chars().count() + 1).sum();
        let width = self.words.get(self.place).map_or(1, |word| word.chars().count().max(1));
        writeln!(f, "{}", self.message)?;
        writeln!(f, "  {}", self.words.join(" "))?;
        writeln!(f, "  {}{}", " ".repeat(before), "^".repeat(width))?;
        write!(f, "a tuple is PROTOCOL SRC[:PORT] DST[:PORT], or a line that `ctnl list` or conntrack printed")
    }
}

impl std::error::Error for TupleError {}

/// Reads a tuple from the words of the command line.
pub fn parse(arguments: &[String]) -> Result<NamedEntry, TupleError> {
    let words: Vec<String> = arguments.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned).collect();
    let fault = |place: usize, message: String| TupleError { words: words.clone(), place, message };
    let mut parts = Parts::default();
    for (place, word) in words.iter().enumerate() {
        parts.read(word).map_err(|message| fault(place, message))?;
    }
    parts.finish().map_err(|message| fault(words.len(), message))
}

#[derive(Default)]
struct Parts {
    protocol: Option<Protocol>,
    addresses: Vec<(IpAddr, Option<u16>)>,
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    sport: Option<u16>,
    dport: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    icmp_id: Option<u16>,
    ids_seen: u8,
    zone: Option<u16>,
    zone_orig: Option<u16>,
    id: Option<u32>,
    keys_seen: bool,
    is_unnamed: bool,
}

impl Parts {
    fn read(&mut self, word: &str) -> Result<(), String> {
        if let Some((key, value)) = word.split_once('=') {
            return self.read_pair(key, value);
        }
        if let Some(endpoint) = endpoint(word) {
            self.addresses.push(endpoint);
            return Ok(());
        }
        if self.protocol.is_some() {
            // In a pasted line: protocol number, seconds left, state, [ASSURED] …
            return if self.addresses.is_empty() && is_line_noise(word) || self.keys_seen && word.starts_with('[') {
                Ok(())
            } else {
                Err(format!("`{word}` is neither an address nor a part of a tuple"))
            };
        }
        match word {
            "ipv4" | "ipv6" => Ok(()),
            // The family's number in `-o extended` lines, before the protocol.
            "2" | "10" if !self.keys_seen && !self.is_unnamed => Ok(()),
            // Before the number of a protocol that conntrack has no name for.
            "unknown" => {
                self.is_unnamed = true;
                Ok(())
            }
            word => {
                self.protocol = Some(protocol_from_name(word).ok_or(format!("`{word}` is not a protocol"))?);
                Ok(())
            }
        }
    }

    /// The first of each key counts: the second one is of the reply.
    fn read_pair(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.keys_seen = true;
        match key {
            "src" => first(&mut self.src, value, number),
            "dst" => first(&mut self.dst, value, number),
            "sport" | "srckey" => first(&mut self.sport, value, port_or_key),
            "dport" | "dstkey" => first(&mut self.dport, value, port_or_key),
            "type" => first(&mut self.icmp_type, value, number),
            "code" => first(&mut self.icmp_code, value, number),
            "id" if self.icmp_type.is_some() => self.read_icmp_id(value),
            "id" => first(&mut self.id, value, number),
            "zone" => first(&mut self.zone, value, number),
            "zone-orig" => first(&mut self.zone_orig, value, number),
            "zone-reply" | "packets" | "bytes" | "mark" | "use" | "secctx" | "helper" | "labels" | "delta-time"
            | "start" | "stop" => Ok(()),
            _ => Err(format!("`{key}` is not a part of a tuple")),
        }
    }

    /// ICMP has an `id=` in each direction, before that of the entry.
    fn read_icmp_id(&mut self, value: &str) -> Result<(), String> {
        self.ids_seen = self.ids_seen.saturating_add(1);
        match self.ids_seen {
            1 => first(&mut self.icmp_id, value, number),
            2 => Ok(()),
            _ => first(&mut self.id, value, number),
        }
    }

    fn finish(mut self) -> Result<NamedEntry, String> {
        self.take_addresses()?;
        let (Some(src), Some(dst)) = (self.src, self.dst) else {
            return Err("a tuple has two addresses: source and destination".into());
        };
        let protocol = self.protocol.ok_or("the protocol is missing")?;
        let tuple = Tuple { src, dst, protocol, l4: self.l4()?, zone: self.zone_orig, has_unknown_part: false };
        if !tuple.is_complete() {
            return Err(format!("the tuple is not complete: {}", what_is_needed(protocol)));
        }
        let zone = Zone::from_dump(self.zone, self.zone_orig, None).orig();
        Ok(NamedEntry { tuple: Tuple { zone: None, ..tuple }, zone, id: self.id })
    }

    fn take_addresses(&mut self) -> Result<(), String> {
        let mut addresses = std::mem::take(&mut self.addresses).into_iter();
        for (address, port) in [(&mut self.src, &mut self.sport), (&mut self.dst, &mut self.dport)] {
            if address.is_none()
                && let Some((given, given_port)) = addresses.next()
            {
                *address = Some(given);
                *port = port.or(given_port);
            }
        }
        match addresses.next() {
            Some((extra, _)) => Err(format!("{extra} is one address too many")),
            None => Ok(()),
        }
    }

    fn l4(&self) -> Result<L4, String> {
        match (self.sport, self.dport, self.icmp_type) {
            (Some(src), Some(dst), None) => Ok(L4::Ports { src, dst }),
            (None, None, Some(kind)) => {
                Ok(L4::Icmp { kind, code: self.icmp_code.unwrap_or(0), id: self.icmp_id.unwrap_or(0) })
            }
            (None, None, None) => Ok(L4::None),
            _ => Err("half of the ports is missing".into()),
        }
    }
}

fn what_is_needed(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Icmp | Protocol::Ipv6Icmp => "ICMP needs type=, code= and id=",
        Protocol::Gre => "GRE needs srckey= and dstkey=",
        _ => "both addresses must be of one family, and both ports are needed",
    }
}

fn endpoint(word: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some((address, None));
    }
    if let Ok(socket) = word.parse::<SocketAddr>() {
        return Some((socket.ip(), Some(socket.port())));
    }
    let bare = word.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse().ok().map(|address| (address, None))
}

fn is_line_noise(word: &str) -> bool {
    let is_state = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'2'));
    word.bytes().all(|byte| byte.is_ascii_digit()) || word.starts_with('[') || is_state
}

fn first<T>(place: &mut Option<T>, value: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<(), String> {
    if place.is_none() {
        *place = Some(parse(value)?);
    }
    Ok(())
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{value}` does not fit here"))
}

fn port_or_key(value: &str) -> Result<u16, String> {
    match value.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).map_err(|_| format!("`{value}` is not a key")),
        None => number(value),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NamedEntry, TupleError> {
        parse(&[text.to_owned()])
    }

    #[test]
    fn the_short_form_and_a_pasted_line_name_the_same_tuple() {
        let short = read("tcp 10.0.0.1:40000 10.0.0.2:443").unwrap();
        let line = "tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=443 src=10.0.0.2 \
                    dst=10.0.0.1 sport=443 dport=40000 [ASSURED] mark=0 use=1";
        assert_eq!(read(line).unwrap(), short);
        let extended = format!("ipv4     2 {line} id=77");
        assert_eq!(read(&extended).unwrap(), NamedEntry { id: Some(77), ..short });
    }

    #[test]
    fn a_protocol_without_a_name_is_read_from_a_line() {
        let line = "ipv4     2 unknown  2 599 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1 mark=0 use=1";
        assert_eq!(read(line).unwrap(), read("igmp 10.0.0.1 10.0.0.2").unwrap());
    }

    #[test]
    fn icmp_has_an_id_of_its_own() {
        let entry = read("icmp 1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=5 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=5 mark=0 id=3000000000").unwrap();
        assert_eq!(entry.tuple.l4, L4::Icmp { kind: 8, code: 0, id: 5 });
        assert_eq!(entry.id, Some(3_000_000_000));
    }

    #[test]
    fn zones_are_read_from_a_line() {
        assert_eq!(read("udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 zone=7").unwrap().zone, 7);
        assert_eq!(read("udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 zone-orig=8").unwrap().zone, 8);
    }

    #[test]
    fn what_is_not_understood_is_pointed_at() {
        let error = read("tcp 10.0.0.1:40000 10.0.0.2:x").unwrap_err().to_string();
        assert!(error.contains("\n  tcp 10.0.0.1:40000 10.0.0.2:x\n                     ^^^^^^^^^^\n"), "{error}");
        for bad in [
            "tcp 10.0.0.1:1 10.0.0.2",
            "tcp",
            "10.0.0.1 10.0.0.2",
            "foo 10.0.0.1 10.0.0.2",
            "tcp 10.0.0.1:1 fe80::1",
            "udp 10.0.0.1:1 10.0.0.2:2 10.0.0.3:3",
            "udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=99999",
            "tcp 10.0.0.1:1 10.0.0.2:2 fnord=1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv6_ports_stand_behind_brackets() {
        let entry = read("udp [2001:db8::1]:53 [2001:db8::2]:4000").unwrap();
        assert_eq!(entry.tuple.ports(), Some((53, 4000)));
    }
}
