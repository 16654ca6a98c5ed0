//! The entry that `add` creates: its tuple as `get` and `delete` read one, and options.

use std::net::{IpAddr, SocketAddr};

use ctnl::model::{Flow, HelperName, L4, Labels, NamedEntry, NamedEntryError, ProtoInfo, Protocol, Status, TcpInfo};
use ctnl::model::{TcpState, Tuple};

/// What all entries of one call have, besides their tuples.
#[derive(Debug, Clone)]
pub struct Template {
    pub timeout: u32,
    pub mark: Option<u32>,
    pub zone: Option<u16>,
    pub state: Option<TcpState>,
    pub status: Status,
    pub labels: Option<Labels>,
    pub helper: Option<HelperName>,
    pub src_nat: Option<Endpoint>,
    pub dst_nat: Option<Endpoint>,
}

/// An address, and a port if it is rewritten, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    address: IpAddr,
    port: Option<u16>,
}

/// `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    let of = |address: IpAddr, port| Endpoint { address, port };
    let alone = text.parse().map(|address| of(address, None));
    let with_port = || text.parse().map(|socket: SocketAddr| of(socket.ip(), Some(socket.port())));
    alone
        .or_else(|_| with_port())
        .map_err(|_| format!("'{text}' is no address: expected 192.0.2.1, 192.0.2.1:80 or [2001:db8::1]:80"))
}

/// The keys of a tuple, the only ones that are read: what else a line shows of an entry has to be given as an option.
const KEYS: [&str; 10] = ["src", "dst", "sport", "dport", "type", "code", "id", "srckey", "dstkey", "zone"];

impl Template {
    /// The entry of one tuple.
    ///
    /// # Errors
    /// The text is not a tuple, or has more than one; it contradicts the options.
    pub fn flow(&self, text: &str) -> Result<Flow, String> {
        check_words(text)?;
        let named: NamedEntry = text.parse().map_err(|error: NamedEntryError| error.render())?;
        if named.may_be_ipv6 {
            return Err("ambiguous: write ipv4 or ipv6 in front of the protocol".to_owned());
        }
        if named.zone.is_some() && self.zone.is_some() && named.zone != self.zone {
            return Err("--zone: the tuple has another zone".to_owned());
        }
        let reply = self.reply(&named.tuple, named.reply)?;
        let zone_both = named.zone.or(self.zone).filter(|zone| *zone != 0);
        let status = Status::Confirmed | self.status | nat_bits(&named.tuple, &reply);
        Ok(Flow {
            timeout: Some(self.timeout),
            mark: self.mark,
            zone_both,
            status,
            labels: self.labels,
            helper: self.helper,
            protoinfo: self.protoinfo(named.tuple.protocol)?,
            ..Flow::new(named.tuple, reply)
        })
    }

    fn reply(&self, orig: &Tuple, given: Option<Tuple>) -> Result<Tuple, String> {
        if given.is_some() && (self.src_nat.is_some() || self.dst_nat.is_some()) {
            return Err("the tuple has a reply tuple, which --src-nat and --dst-nat would change".to_owned());
        }
        let mut reply = given.unwrap_or_else(|| orig.inverse());
        if given.is_some_and(|given| given.protocol != orig.protocol) {
            return Err("the reply tuple is of another protocol".to_owned());
        }
        for (nat, flag) in [(self.src_nat, "--src-nat"), (self.dst_nat, "--dst-nat")] {
            let Some(Endpoint { address, port }) = nat else { continue };
            if address.is_ipv4() != orig.src.is_ipv4() {
                return Err(format!("{flag}: the address is of another family than the tuple"));
            }
            let is_src = flag == "--src-nat";
            if is_src {
                reply.dst = address;
            } else {
                reply.src = address;
            }
            match (&mut reply.l4, port) {
                (_, None) => {}
                (L4::Ports { dst, .. }, Some(port)) if is_src && orig.ports().is_some() => *dst = port,
                (L4::Ports { src, .. }, Some(port)) if !is_src && orig.ports().is_some() => *src = port,
                _ => return Err(format!("{flag}: the protocol has no ports")),
            }
        }
        Ok(reply)
    }

    fn protoinfo(&self, protocol: Protocol) -> Result<ProtoInfo, String> {
        if u8::from(protocol) == u8::from(Protocol::Tcp) {
            let state = self.state.unwrap_or(TcpState::Established);
            return Ok(ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() }));
        }
        if self.state.is_some() {
            return Err("--state: only TCP has one here".to_owned());
        }
        Ok(ProtoInfo::None)
    }
}

/// The NAT that is the difference of the tuples.
fn nat_bits(orig: &Tuple, reply: &Tuple) -> Status {
    let plain = orig.inverse();
    let (sport, dport) = (plain.dport() != reply.dport(), plain.sport() != reply.sport());
    let mut bits = Status::empty();
    bits.set(Status::SrcNat, plain.dst != reply.dst || sport);
    bits.set(Status::DstNat, plain.src != reply.src || dport);
    bits
}

/// Refuses what `get` reads of a pasted line and ignores, such as its mark and its timeout.
fn check_words(text: &str) -> Result<(), String> {
    if text.trim_start().starts_with('{') {
        return Err("expected a tuple, not JSON: `ctnl restore` reads whole entries".to_owned());
    }
    let mut plain = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('=') {
            Some((key, _)) if KEYS.contains(&key) => {}
            None if is_endpoint(word) => {}
            None if !word.starts_with('[') => plain.push(word),
            _ => {
                return Err(format!(
                    "'{word}' is not a part of a tuple: give it as an option, e.g. --mark or --status"
                ));
            }
        }
    }
    match *plain {
        [_] | [] | ["ipv4" | "ipv6", _] => Ok(()),
        [.., word] => Err(format!(
            "'{word}' is not a part of a tuple: expected one protocol (of a line, give timeout and state as options)"
        )),
    }
}

/// Whether it is an address, with or without brackets and port.
fn is_endpoint(word: &str) -> bool {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    bare.parse::<IpAddr>().is_ok() || word.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn template() -> Template {
        Template {
            timeout: 60,
            mark: Some(5),
            zone: None,
            state: None,
            status: Status::Assured,
            labels: None,
            helper: None,
            src_nat: None,
            dst_nat: None,
        }
    }

    #[test]
    fn nat_is_given_by_an_option_or_by_a_reply_tuple() {
        let with = Template { src_nat: Some(endpoint("192.0.2.9:4000").unwrap()), ..template() };
        let flow = with.flow("tcp 10.0.0.1:1 10.0.0.2:443").unwrap();
        assert_eq!((flow.reply.dst.to_string(), flow.reply.ports()), ("192.0.2.9".into(), Some((443, 4000))));
        assert!(flow.status.contains(Status::SrcNat) && !flow.status.contains(Status::DstNat));
        let line = "udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=53 src=10.9.9.9 dst=10.0.0.1 sport=53 dport=1 zone=4";
        let flow = template().flow(line).unwrap();
        assert!(flow.status.contains(Status::DstNat) && !flow.status.contains(Status::SrcNat));
        assert_eq!((flow.zone_both, flow.mark, flow.timeout), (Some(4), Some(5), Some(60)));
        assert!(with.flow(line).unwrap_err().contains("--src-nat"));
        let plain = template().flow("icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=7").unwrap();
        assert_eq!(plain.status, Status::Confirmed | Status::Assured);
    }

    #[test]
    fn what_of_a_line_would_be_ignored_is_refused() {
        for (line, part) in [
            ("tcp 6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2", "timeout and state"),
            ("udp 17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2", "'29'"),
            ("tcp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 mark=5", "'mark=5'"),
            ("tcp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [ASSURED]", "'[ASSURED]'"),
            ("{\"proto\":\"tcp\"}", "not JSON"),
            ("tcp 10.0.0.1:1 10.0.0.2", "missing 'dport'"),
        ] {
            let error = template().flow(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        for tuple in [
            "udp [2001:db8::1]:53 [2001:db8::2]:4000",
            "ipv4 udp 10.0.0.1:1 10.0.0.2:53 zone=5",
            "icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=1",
            "17 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2",
        ] {
            assert!(template().flow(tuple).is_ok(), "{tuple}: {:?}", template().flow(tuple));
        }
    }

    #[test]
    fn an_option_that_does_not_fit_the_protocol_is_refused() {
        let udp = "udp 10.0.0.1:1 10.0.0.2:53";
        let state = Template { state: Some(TcpState::Close), ..template() };
        assert!(state.flow(udp).is_err() && state.flow("tcp 10.0.0.1:1 10.0.0.2:53").is_ok());
        let nat6 = Template { dst_nat: Some(endpoint("2001:db8::1").unwrap()), ..template() };
        assert!(nat6.flow(udp).is_err());
        let port = Template { dst_nat: Some(endpoint("10.0.0.3:5").unwrap()), ..template() };
        assert!(port.flow("esp 10.0.0.1 10.0.0.2").is_err() && port.flow(udp).is_ok());
    }
}
