//! The parts of a name as they were given, and the name that they make.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::super::protocol::{Protocol, protocol_from_name, protocol_name};
use super::super::tuple::Tuple;
use super::direction::{Direction, Given, parse_icmp_type, parse_key, parse_number};
use super::error::{PartError, ROW_HINT};
use super::named_entry::NamedEntry;
use super::words::Word;
use crate::wire::Family;

/// One of the two directions.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Orig,
    Reply,
}

/// What was given.
#[derive(Default)]
pub(super) struct Reader {
    pub family: Option<Family>,
    pub protocol: Option<Protocol>,
    /// Addresses without a key, with their ports.
    endpoints: Vec<Given<(IpAddr, Option<u16>)>>,
    orig: Direction,
    reply: Direction,
    /// Each `id=`: of an ICMP query, of its reply, of the entry.
    ids: Vec<Given<u32>>,
    zone: Option<Given<u16>>,
    zone_orig: Option<Given<u16>>,
    netns: Option<Given<Box<str>>>,
    /// The text is JSON: `ids` has that of the entry alone, since those of an ICMP query have keys of their own.
    pub is_json: bool,
    /// The text is a row of a table, or what else shows only some columns.
    pub is_row: bool,
}

impl Reader {
    /// A reader of what shows only some columns of an entry.
    pub(super) fn of_columns() -> Self {
        Reader { is_row: true, ..Reader::default() }
    }

    pub(super) fn add_endpoint(&mut self, endpoint: (IpAddr, Option<u16>), span: Range<usize>) {
        self.endpoints.push(Given { value: endpoint, span });
    }

    pub(super) fn has_endpoints(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// Reads `key=value`. The first of a key that each direction has is of the original one.
    pub(super) fn read_pair(&mut self, key: &str, value: &str, span: Range<usize>) -> Result<(), PartError> {
        match key {
            "id" => {
                self.ids.push(Given { value: parse_number(key, value, &span)?, span });
                Ok(())
            }
            "zone" => put(&mut self.zone, key, &span, parse_number(key, value, &span)?),
            "zone-orig" => put(&mut self.zone_orig, key, &span, parse_number(key, value, &span)?),
            "netns" => put(&mut self.netns, key, &span, value.into()),
            // Printed of an entry or of an event, and no part of the identity.
            "zone-reply" | "packets" | "bytes" | "mark" | "use" | "secctx" | "helper" | "labels" | "delta-time"
            | "portid" | "progname" => Ok(()),
            _ => self.read_part(None, key, value, span),
        }
    }

    /// Reads a part of a tuple. Without a side, the first of each key is of the original direction.
    pub(super) fn read_part(
        &mut self,
        side: Option<Side>,
        key: &str,
        value: &str,
        span: Range<usize>,
    ) -> Result<(), PartError> {
        let at = &span;
        match key {
            "src" => self.set(side, |direction| &mut direction.src, key, at, parse_address(key, value, at)?),
            "dst" => self.set(side, |direction| &mut direction.dst, key, at, parse_address(key, value, at)?),
            "sport" => self.set(side, |direction| &mut direction.sport, key, at, parse_number(key, value, at)?),
            "dport" => self.set(side, |direction| &mut direction.dport, key, at, parse_number(key, value, at)?),
            "srckey" => self.set(side, |direction| &mut direction.srckey, key, at, parse_key(key, value, at)?),
            "dstkey" => self.set(side, |direction| &mut direction.dstkey, key, at, parse_key(key, value, at)?),
            "type" => self.set(side, |direction| &mut direction.icmp_type, key, at, parse_icmp_type(value, at)?),
            "code" => self.set(side, |direction| &mut direction.icmp_code, key, at, parse_number(key, value, at)?),
            "id" => self.set(side, |direction| &mut direction.icmp_id, key, at, parse_number(key, value, at)?),
            _ => Err(PartError::new(span, format!("unknown key '{key}': not a part of a tuple"))),
        }
    }

    fn set<T>(
        &mut self,
        side: Option<Side>,
        field: impl Fn(&mut Direction) -> &mut Option<Given<T>>,
        key: &str,
        span: &Range<usize>,
        value: T,
    ) -> Result<(), PartError> {
        let first_free = if field(&mut self.orig).is_none() { Side::Orig } else { Side::Reply };
        let direction = match side.unwrap_or(first_free) {
            Side::Orig => &mut self.orig,
            Side::Reply => &mut self.reply,
        };
        put(field(direction), key, span, value)
    }

    /// The name that the parts make. `end` is the length of the text.
    pub(super) fn finish(self, end: usize) -> Result<NamedEntry, PartError> {
        let is_row = self.is_row;
        let entry = self.entry(end);
        let is_of_row = |fault: &PartError| is_row && fault.span.is_empty() && fault.has_default_hint();
        entry.map_err(|fault| if is_of_row(&fault) { fault.with_hint(ROW_HINT) } else { fault })
    }

    fn entry(mut self, end: usize) -> Result<NamedEntry, PartError> {
        let missing = |message: String| PartError::new(end..end, message);
        let protocol = self.protocol.ok_or_else(|| missing("missing protocol: expected e.g. tcp".to_owned()))?;
        self.place_endpoints()?;
        let id = self.place_ids(protocol)?;
        let is_ipv6 = self.is_ipv6(protocol);
        let may_be_ipv6 = !is_ipv6 && self.is_written_as_ipv6(protocol);
        let tuple = self.orig.tuple(protocol, is_ipv6, "tuple", end)?;
        let reply = match self.reply.is_empty() {
            true => None,
            false => Some(self.reply.tuple(protocol, is_ipv6, "reply tuple", end)?),
        };
        self.check_family(&[Some(tuple), reply])?;
        if let (Some(both), Some(orig)) = (&self.zone, &self.zone_orig)
            && both.value != orig.value
            && both.value != 0
        {
            return Err(PartError::new(orig.span.clone(), "'zone-orig' and 'zone' are different"));
        }
        // The column 'zone' may be that of the reply direction.
        let is_certain = |zone: &Given<u16>| !(self.is_json && self.is_row) || zone.value == 0;
        let zone = self.zone_orig.or(self.zone.filter(is_certain)).map(|zone| zone.value);
        let netns = self.netns.map(|netns| netns.value);
        Ok(NamedEntry { tuple, reply, zone, lacks_zone: self.is_row && zone.is_none(), may_be_ipv6, id, netns })
    }

    /// Whether the entry is certainly one of IPv6: by the family, the protocol or an address that is not IPv4-mapped.
    fn is_ipv6(&self, protocol: Protocol) -> bool {
        let is_shown = self.family == Some(Family::V6) || protocol == Protocol::Ipv6Icmp;
        is_shown || self.addresses().any(|address| address.to_canonical().is_ipv6())
    }

    /// Whether no address is written as IPv4, and neither family nor protocol shows that the entry is one of IPv4.
    fn is_written_as_ipv6(&self, protocol: Protocol) -> bool {
        self.family.is_none() && protocol != Protocol::Icmp && self.addresses().all(|address| address.is_ipv6())
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let given = [&self.orig.src, &self.orig.dst, &self.reply.src, &self.reply.dst];
        given.into_iter().flatten().map(|given| given.value)
    }

    /// Addresses without a key are source and destination, in this order.
    fn place_endpoints(&mut self) -> Result<(), PartError> {
        if self.endpoints.is_empty() {
            return Ok(());
        }
        if let Some(key) = self.orig.src.as_ref().or(self.orig.dst.as_ref()) {
            return Err(PartError::new(key.span.clone(), "addresses are given with and without 'src=' and 'dst='"));
        }
        let is_gre = self.protocol == Some(Protocol::Gre);
        let orig = &mut self.orig;
        let (sport, dport) =
            if is_gre { (&mut orig.srckey, &mut orig.dstkey) } else { (&mut orig.sport, &mut orig.dport) };
        let mut endpoints = self.endpoints.drain(..);
        for (address, port, key) in [(&mut orig.src, sport, "source port"), (&mut orig.dst, dport, "destination port")]
        {
            let Some(Given { value: (given, given_port), span }) = endpoints.next() else { break };
            put(address, "address", &span, given)?;
            if let Some(given_port) = given_port {
                put(port, key, &span, given_port)?;
            }
        }
        match endpoints.next() {
            Some(Given { value: (address, _), span }) => {
                Err(PartError::new(span, format!("unexpected third address '{address}'")))
            }
            None => Ok(()),
        }
    }

    /// Which `id=` is which: for ICMP, each direction has one before that of the entry.
    fn place_ids(&mut self, protocol: Protocol) -> Result<Option<u32>, PartError> {
        let mut ids = std::mem::take(&mut self.ids).into_iter();
        if matches!(protocol, Protocol::Icmp | Protocol::Ipv6Icmp) && !self.is_json {
            self.orig.icmp_id = ids.next().map(icmp_id).transpose()?;
            if !self.reply.is_empty() {
                self.reply.icmp_id = ids.next().map(icmp_id).transpose()?;
            } else if let Some(second) = ids.next() {
                return Err(PartError::new(
                    second.span,
                    "repeated 'id=': without a reply tuple, only the query's id can be given here (--id is the entry's)",
                ));
            }
        }
        let id = ids.next().map(|id| id.value);
        match ids.next() {
            Some(extra) => Err(PartError::new(extra.span, "repeated 'id='")),
            None => Ok(id),
        }
    }

    fn check_family(&self, tuples: &[Option<Tuple>]) -> Result<(), PartError> {
        let Some(family) = self.family else { return Ok(()) };
        let is_other = |tuple: &Tuple| tuple.src.is_ipv4() != (family == Family::V4);
        match self.orig.src.as_ref().filter(|_| tuples.iter().flatten().any(is_other)) {
            Some(src) => Err(PartError::new(src.span.clone(), "the addresses are not of the family that is given")),
            None => Ok(()),
        }
    }
}

fn icmp_id(id: Given<u32>) -> Result<Given<u16>, PartError> {
    match u16::try_from(id.value) {
        Ok(value) => Ok(Given { value, span: id.span }),
        Err(_) => {
            Err(PartError::new(id.span, format!("invalid id '{}': the id of an ICMP query is at most 65535", id.value)))
        }
    }
}

/// Sets a part that must not be given twice.
fn put<T>(part: &mut Option<Given<T>>, key: &str, span: &Range<usize>, value: T) -> Result<(), PartError> {
    if part.is_some() {
        return Err(PartError::new(span.clone(), format!("repeated {key}")));
    }
    *part = Some(Given { value, span: span.clone() });
    Ok(())
}

/// Reads the name or the number of the protocol.
pub(super) fn read_protocol(reader: &mut Reader, word: &Word<'_>) -> Result<(), PartError> {
    let protocol = protocol_from_name(word.text);
    let unknown = || {
        let fault = PartError::new(word.span.clone(), format!("unknown protocol '{}'", word.text));
        if word.text.eq_ignore_ascii_case("icmp6") { fault.with_hint("did you mean icmpv6?") } else { fault }
    };
    reader.protocol = Some(protocol.ok_or_else(unknown)?);
    Ok(())
}

fn parse_address(key: &str, value: &str, span: &Range<usize>) -> Result<IpAddr, PartError> {
    value.parse().map_err(|_| PartError::new(span.clone(), format!("invalid {key} '{value}': expected an address")))
}

/// `10.0.0.1`, `10.0.0.1:80`, `::1`, `[::1]` or `[::1]:80`.
pub(super) fn endpoint(word: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some((address, None));
    }
    if let Ok(socket) = word.parse::<SocketAddr>() {
        return Some((socket.ip(), Some(socket.port())));
    }
    let bare = word.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse().ok().map(|address| (address, None))
}

impl Direction {
    /// The tuple of this direction, if nothing is missing and nothing is too much.
    ///
    /// Two IPv4-mapped addresses are the IPv4 addresses, unless the entry is certainly one of IPv6.
    fn tuple(&self, protocol: Protocol, is_ipv6: bool, what: &str, end: usize) -> Result<Tuple, PartError> {
        let l4 = self.l4(protocol);
        let mut missing = self.missing_addresses();
        let l4 = match l4 {
            Ok(l4) => l4,
            Err(names) => {
                missing.extend(names);
                None
            }
        };
        let label = protocol_label(protocol);
        if let Some((key, span)) = self.unexpected(protocol) {
            return Err(PartError::new(span, format!("unexpected '{key}': {label} entries have no {key}")));
        }
        if let Some(span) = self.type_of_other_protocol(protocol) {
            return Err(PartError::new(span, format!("invalid type: {label} has none of this name")));
        }
        let (Some(src), Some(dst), Some(l4)) = (&self.src, &self.dst, l4) else {
            let names: Vec<String> = missing.iter().map(|name| format!("'{name}'")).collect();
            let fault = PartError::new(end..end, format!("incomplete {label} {what}: missing {}", names.join(", ")));
            return Err(match self.protocol_of_family(protocol) {
                Some(hint) => fault.with_hint(hint),
                None => fault,
            });
        };
        let (from, to) = match (src.value.to_canonical(), dst.value.to_canonical()) {
            (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) if !is_ipv6 => (from, to),
            _ => (src.value, dst.value),
        };
        if from.is_ipv4() != to.is_ipv4() {
            return Err(PartError::new(dst.span.clone(), "source and destination are of different address families"));
        }
        Ok(Tuple { src: from, dst: to, protocol, l4, ..Tuple::UNSPECIFIED })
    }
}

/// The name of a protocol in messages.
fn protocol_label(protocol: Protocol) -> String {
    protocol_name(protocol).map_or_else(|| format!("protocol {}", u8::from(protocol)), str::to_owned)
}
