//! Reads a line of `conntrack -o save`: the options with which conntrack(8) creates the entry again.
//!
//! Only what `-o save` writes is read, and `-m` for a mark; the whole command line of conntrack(8) is the
//! program's.

use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::model::{
    DccpInfo, DccpState, Flow, L4, ProtoInfo, Protocol, SctpInfo, SctpState, Status, TcpInfo, TcpState, Tuple,
    protocol_from_name,
};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineError {
    /// Longer than any line of conntrack.
    #[error("the line is too long")]
    TooLong,
    /// Not text.
    #[error("not UTF-8")]
    NotText,
    /// Another command than -A.
    #[error("expected -A, which conntrack -o save writes for each entry")]
    NotAnEntry,
    /// An option that `-o save` does not write.
    #[error("unknown option '{0}'")]
    UnknownOption(String),
    /// An option without its value.
    #[error("option '{0}' has no value")]
    NoValue(String),
    /// A value that is not one of the option.
    #[error("invalid value '{value}' of '{option}'")]
    Invalid {
        /// The option.
        option: String,
        /// The value.
        value: String,
    },
    /// What every entry needs.
    #[error("{0} missing")]
    Missing(&'static str),
    /// Addresses of both families.
    #[error("addresses of both IPv4 and IPv6")]
    MixedFamilies,
}

/// The options of a line.
#[derive(Debug, Default)]
struct Options {
    timeout: Option<u32>,
    mark: Option<u32>,
    status: u32,
    zones: [Option<u16>; 3],
    addresses: [Option<IpAddr>; 4],
    protocol: Option<Protocol>,
    /// Ports or keys: source and destination, of the original and of the reply direction.
    ports: [Option<u16>; 4],
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    icmp_id: Option<u16>,
    state: Option<String>,
    vtags: [Option<u32>; 2],
    role: Option<u8>,
}

/// Parses a line without its newline.
pub(super) fn parse(line: &[u8]) -> Result<Flow, LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::NotText)?;
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some("-A") {
        return Err(LineError::NotAnEntry);
    }
    let mut options = Options::default();
    while let Some(option) = words.next() {
        let value = words.next();
        options.set(option, value)?;
    }
    options.flow()
}

impl Options {
    fn set(&mut self, option: &str, value: Option<&str>) -> Result<(), LineError> {
        let Options { zones: [zone, zone_orig, zone_reply], addresses: [src, dst, reply_src, reply_dst], .. } = self;
        let [sport, dport, reply_sport, reply_dport] = &mut self.ports;
        let [vtag_orig, vtag_reply] = &mut self.vtags;
        let value = Value { option, value };
        match option {
            "-t" => value.put(&mut self.timeout),
            "-m" => value.put(&mut self.mark),
            "-u" => self.set_status(&value),
            "-w" => value.put(zone),
            "--orig-zone" => value.put(zone_orig),
            "--reply-zone" => value.put(zone_reply),
            "-s" => value.put(src),
            "-d" => value.put(dst),
            "-r" | "-g" => value.put(reply_src),
            "-q" | "-n" => value.put(reply_dst),
            "-p" => self.set_protocol(&value),
            "--sport" | "--srckey" => value.put(sport),
            "--dport" | "--dstkey" => value.put(dport),
            "--reply-port-src" | "--reply-key-src" => value.put(reply_sport),
            "--reply-port-dst" | "--reply-key-dst" => value.put(reply_dport),
            "--icmp-type" | "--icmpv6-type" => value.put(&mut self.icmp_type),
            "--icmp-code" | "--icmpv6-code" => value.put(&mut self.icmp_code),
            "--icmp-id" | "--icmpv6-id" => value.put(&mut self.icmp_id),
            "--state" => value.put(&mut self.state),
            "--orig-vtag" => value.put(vtag_orig),
            "--reply-vtag" => value.put(vtag_reply),
            "--role" => self.set_role(&value),
            _ => Err(LineError::UnknownOption(option.to_owned())),
        }
    }

    fn set_status(&mut self, value: &Value<'_>) -> Result<(), LineError> {
        for name in value.text()?.split(',') {
            self.status |= match name {
                "UNSET" => Status::empty(),
                "EXPECTED" => Status::Expected,
                "SEEN_REPLY" => Status::SeenReply,
                "ASSURED" => Status::Assured,
                "FIXED_TIMEOUT" => Status::FixedTimeout,
                _ => return Err(value.invalid()),
            }
            .bits();
        }
        Ok(())
    }

    fn set_protocol(&mut self, value: &Value<'_>) -> Result<(), LineError> {
        self.protocol = Some(protocol_from_name(value.text()?).ok_or_else(|| value.invalid())?);
        Ok(())
    }

    fn set_role(&mut self, value: &Value<'_>) -> Result<(), LineError> {
        self.role = Some(match value.text()? {
            "client" => 0,
            "server" => 1,
            _ => return Err(value.invalid()),
        });
        Ok(())
    }

    fn flow(self) -> Result<Flow, LineError> {
        let (orig, reply) = self.tuples()?;
        let mut flow = Flow::new(orig, reply);
        flow.timeout = self.timeout;
        flow.mark = self.mark;
        flow.zone_both = self.zones.first().copied().flatten();
        flow.status = Status::from_bits_retain(self.status) | Status::Confirmed | nat(&orig, &reply);
        flow.protoinfo = self.protoinfo(orig.protocol)?;
        Ok(flow)
    }

    fn tuples(&self) -> Result<(Tuple, Tuple), LineError> {
        let [src, dst, reply_src, reply_dst] = self.addresses;
        let [_, zone_orig, zone_reply] = self.zones;
        let (src, dst) = (src.ok_or(LineError::Missing("-s is"))?, dst.ok_or(LineError::Missing("-d is"))?);
        let protocol = self.protocol.ok_or(LineError::Missing("-p is"))?;
        let l4 = self.l4();
        let orig = Tuple { src, dst, protocol, l4, zone: zone_orig, has_unknown_part: false };
        let inverse = orig.inverse();
        let (src, dst) = (reply_src.unwrap_or(inverse.src), reply_dst.unwrap_or(inverse.dst));
        let [_, _, reply_sport, reply_dport] = self.ports;
        let l4 = match inverse.l4 {
            L4::Ports { src, dst } => L4::Ports { src: reply_sport.unwrap_or(src), dst: reply_dport.unwrap_or(dst) },
            other => other,
        };
        let reply = Tuple { src, dst, l4, zone: zone_reply, ..inverse };
        if [orig.dst, src, dst].iter().any(|address| address.is_ipv4() != orig.src.is_ipv4()) {
            return Err(LineError::MixedFamilies);
        }
        if !orig.is_complete() {
            return Err(LineError::Missing("ports, keys, or the ICMP type, code and id are"));
        }
        Ok((orig, reply))
    }

    fn l4(&self) -> L4 {
        match (self.ports, self.icmp_type, self.icmp_code, self.icmp_id) {
            ([Some(src), Some(dst), ..], None, None, None) => L4::Ports { src, dst },
            ([None, None, ..], Some(kind), Some(code), Some(id)) => L4::Icmp { kind, code, id },
            _ => L4::None,
        }
    }

    fn protoinfo(&self, protocol: Protocol) -> Result<ProtoInfo, LineError> {
        let Some(name) = &self.state else { return Ok(ProtoInfo::None) };
        let invalid = || LineError::Invalid { option: "--state".to_owned(), value: name.clone() };
        // The bytes of a tag as they are in memory, as conntrack(8) prints and reads them.
        let [vtag_orig, vtag_reply] = self.vtags.map(|tag| tag.map(u32::from_be));
        Ok(match protocol {
            Protocol::Tcp => {
                let state = TcpState::all().find(|state| state.name() == Some(name)).ok_or_else(invalid)?;
                ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() })
            }
            Protocol::Sctp => {
                let state = SctpState::all().find(|state| state.name() == Some(name)).ok_or_else(invalid)?;
                ProtoInfo::Sctp(SctpInfo { state, vtag_orig, vtag_reply })
            }
            Protocol::Dccp => {
                let state = DccpState::all().find(|state| state.name() == Some(name)).ok_or_else(invalid)?;
                ProtoInfo::Dccp(DccpInfo { state, role: self.role, handshake_seq: None })
            }
            _ => return Err(invalid()),
        })
    }
}

/// The NAT that is the difference of the tuples. A line has no word for a change of the port alone.
fn nat(orig: &Tuple, reply: &Tuple) -> Status {
    let is_src = reply.dst != orig.src || reply.dport() != orig.sport();
    let is_dst = reply.src != orig.dst || reply.sport() != orig.dport();
    let bit = |is_set, bit| if is_set { bit } else { Status::empty() };
    bit(is_src, Status::SrcNat) | bit(is_dst, Status::DstNat)
}

/// The value of an option.
struct Value<'a> {
    option: &'a str,
    value: Option<&'a str>,
}

impl Value<'_> {
    fn text(&self) -> Result<&str, LineError> {
        self.value.ok_or_else(|| LineError::NoValue(self.option.to_owned()))
    }

    fn invalid(&self) -> LineError {
        LineError::Invalid { option: self.option.to_owned(), value: self.value.unwrap_or_default().to_owned() }
    }

    fn put<T: FromStr>(&self, place: &mut Option<T>) -> Result<(), LineError> {
        *place = Some(self.text()?.parse().map_err(|_| self.invalid())?);
        Ok(())
    }
}
