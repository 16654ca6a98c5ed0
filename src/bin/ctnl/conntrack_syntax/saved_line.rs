//! The lines that `-o save` writes for TCP and UDP, read without getopt.
//!
//! A file of `-R` has a million of them, and is parsed twice: as any other command line, each took 2.2 us, and now the
//! whole of `-R` takes 1.1 times as long as `ctnl restore`. What is read here is read by `parse_request` to the same request; whatever is different, be it an
//! error, is left to that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names;
use super::protocols::tcp_state;
use super::request::{AddressPair, Command, PortPair, ProtocolArguments, Request, StatusArgument};
use ctnl::model::{Family, Status};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Parses a line without its line feed. `None`: it has another form.
pub fn parse(line: &[u8]) -> Option<Request> {
    let options = line.strip_prefix(b"-A ")?;
    // What quotes and other white space mean is not known here.
    if !options.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"' || *byte == b' ') {
        return None;
    }
    let mut saved = Saved::default();
    let mut words = options.split(|byte| *byte == b' ');
    while let Some(option) = words.next() {
        saved.set(option, words.next()?)?;
    }
    saved.request()
}

/// What a line has to have, and its status.
#[derive(Default)]
struct Saved {
    timeout: Option<u32>,
    status: Option<Status>,
    protocol: Option<u8>,
    original: AddressPair,
    reply: AddressPair,
    original_ports: PortPair,
    reply_ports: PortPair,
    state: Option<u8>,
}

impl Saved {
    /// `None` where the option is not one of these, was given before, or has another kind of value.
    fn set(&mut self, option: &[u8], value: &[u8]) -> Option<()> {
        match option {
            b"-t" => once(&mut self.timeout, number(value, u32::MAX)?),
            b"-u" => once(&mut self.status, status(value)?),
            b"-s" => once(&mut self.original.src, address(value)?),
            b"-d" => once(&mut self.original.dst, address(value)?),
            b"-r" => once(&mut self.reply.src, address(value)?),
            b"-q" => once(&mut self.reply.dst, address(value)?),
            b"-p" => once(&mut self.protocol, protocol(value)?),
            // These are options of the protocol: it is before them.
            _ if self.protocol.is_none() => None,
            b"--sport" => once(&mut self.original_ports.src, port(value)?),
            b"--dport" => once(&mut self.original_ports.dst, port(value)?),
            b"--reply-port-src" => once(&mut self.reply_ports.src, port(value)?),
            b"--reply-port-dst" => once(&mut self.reply_ports.dst, port(value)?),
            b"--state" if self.protocol == Some(TCP) => once(&mut self.state, tcp_state(value)?),
            _ => None,
        }
    }

    fn request(self) -> Option<Request> {
        let addresses = [self.original.src?, self.original.dst?, self.reply.src?, self.reply.dst?];
        let is_ipv4 = self.original.src?.is_ipv4();
        if addresses.iter().any(|address| address.is_ipv4() != is_ipv4) {
            return None;
        }
        let ports = [self.original_ports, self.reply_ports];
        if ports.iter().any(|pair| pair.src.is_none() || pair.dst.is_none()) {
            return None;
        }
        let (protocol, timeout) = (self.protocol?, self.timeout?);
        if protocol == TCP && self.state.is_none() {
            return None;
        }
        Some(Request {
            command: Command::Add,
            family: Some(if is_ipv4 { Family::V4 } else { Family::V6 }),
            original: self.original,
            reply: self.reply,
            protocol: Some(protocol),
            protocol_arguments: ProtocolArguments {
                original: self.original_ports,
                reply: self.reply_ports,
                state: self.state,
                ..ProtocolArguments::default()
            },
            timeout: Some(timeout),
            status: self.status.map(|set| StatusArgument { set, unset: Status::empty() }),
            ..Request::empty()
        })
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// Digits, and nothing else.
fn number(text: &[u8], max: u32) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let digits =
        text.iter().try_fold(0_u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')));
    digits.and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= max)
}

fn port(text: &[u8]) -> Option<u16> {
    number(text, u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
}

fn protocol(text: &[u8]) -> Option<u8> {
    match text {
        b"tcp" => Some(TCP),
        b"udp" => Some(UDP),
        _ => None,
    }
}

/// Four decimal parts without leading zeros, which would be octal, or IPv6.
fn address(text: &[u8]) -> Option<IpAddr> {
    if text.contains(&b':') {
        return std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let (mut octets, mut parts) = ([0_u8; 4], text.split(|byte| *byte == b'.'));
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 1 || part.first() != Some(&b'0'))?;
        *octet = number(part, u32::from(u8::MAX)).and_then(|part| u8::try_from(part).ok())?;
    }
    parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

/// Bits that a request can set, by names in full, as they are written.
fn status(text: &[u8]) -> Option<Status> {
    match text {
        b"UNSET" => Some(Status::empty()),
        b"ASSURED" => Some(Status::Assured),
        b"SEEN_REPLY" => Some(Status::SeenReply),
        b"SEEN_REPLY,ASSURED" | b"ASSURED,SEEN_REPLY" => Some(Status::SeenReply | Status::Assured),
        _ => {
            let (mut argument, mut warnings) =
                (StatusArgument { set: Status::empty(), unset: Status::empty() }, Vec::new());
            names::statuses(text, &mut argument, &mut warnings).ok()?;
            let settable = Status::SeenReply | Status::Assured | Status::FixedTimeout;
            (warnings.is_empty() && argument.unset.is_empty() && settable.contains(argument.set))
                .then_some(argument.set)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsStr;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::parse::parse_request;
    use super::*;

    const TCP: &str = "-A -t 431999 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 192.0.2.1 -r 192.0.2.1 -q 203.0.113.5 -p tcp --sport 40000 \
                       --dport 443 --reply-port-src 443 --reply-port-dst 1024 --state ESTABLISHED";
    const UDP: &str = "-A -t 29 -u UNSET -s 2001:db8::1 -d ::1 -r ::1 -q 2001:db8::1 -p udp --sport 0 --dport 65535 \
                       --reply-port-src 53 --reply-port-dst 1";

    fn by_getopt(line: &str) -> Option<Request> {
        parse_request(line.split(' ').filter(|word| !word.is_empty()).map(OsStr::new), &|_: &[u8]| None).ok()
    }

    #[test]
    fn what_save_writes_of_tcp_and_udp_is_read_to_the_same_request() {
        for line in [TCP, UDP] {
            let request = parse(line.as_bytes());
            assert!(request.is_some() && request == by_getopt(line), "{line}: {request:?}");
        }
    }

    #[test]
    fn another_form_is_left_to_getopt() {
        for (part, other) in [
            ("-A ", "-A  "),
            (" -t 431999", ""),
            ("431999", "4294967296"),
            ("10.0.0.1", "10.0.0.01"),
            ("10.0.0.1", "10.0.0.1/24"),
            ("10.0.0.1", "10.1"),
            ("10.0.0.1", "::1"),
            ("443 --", "\"443\" --"),
            ("-p tcp", "-p udp"),
            ("-p tcp", "-p TCP"),
            (" --state ESTABLISHED", ""),
            ("ESTABLISHED", "ESTABLISHED -m 1"),
            ("ESTABLISHED", "ESTABLISHED -t 5"),
            ("ESTABLISHED", "ESTABLISHED "),
            ("-A", "-I"),
        ] {
            assert_eq!(parse(TCP.replacen(part, other, 1).as_bytes()), None, "{part} -> {other}");
        }
    }

    fn word() -> impl Strategy<Value = String> {
        let words: Vec<String> =
            format!("{TCP} {UDP} -A -t 007 -s 1.2.3 -m 1 --state LISTEN -p 6 -u assured,!SEEN -n 1.2.3.4")
                .split(' ')
                .map(str::to_owned)
                .collect();
        select(words)
    }

    proptest! {
        #[test]
        fn a_line_that_is_read_here_is_read_by_getopt_to_the_same_request(
            udp in any::<bool>(), changes in vec((0..30_usize, word(), any::<bool>()), 0..3),
        ) {
            let mut words: Vec<String> = (if udp { UDP } else { TCP }).split(' ').map(str::to_owned).collect();
            for (at, word, inserts) in changes {
                let at = at.min(words.len() - 1);
                if inserts { words.insert(at, word) } else { words.splice(at..=at, [word]); }
            }
            let line = words.join(" ");
            let request = parse(line.as_bytes());
            prop_assert!(request.is_none() || request == by_getopt(&line), "{line}: {request:?}");
        }
    }
}
