//! A second parser and writer of netlink messages (netlink(7), `linux/netfilter/*.h`), which shares no
//! code with the library's. The parser is strict: it fails on whatever a kernel might interpret
//! differently.

use std::sync::{Arc, Mutex};

use ctnl::netlink::Connection;

pub const REQUEST: u16 = 1;
pub const MULTI: u16 = 2;
pub const ACK: u16 = 4;
pub const DUMP: u16 = 0x300;
pub const CT_NEW: u16 = 0x100;
pub const CT_GET: u16 = 0x101;
pub const CT_DELETE: u16 = 0x102;
const NESTED: u16 = 0x8000;

/// A message as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub family: u8,
    pub attributes: Vec<(u16, Vec<u8>)>,
}

impl Sent {
    /// The value of an attribute that must be there exactly once.
    #[track_caller]
    pub fn value(&self, kind: u16) -> &[u8] {
        one(&self.attributes, kind)
    }

    pub fn kinds(&self) -> Vec<u16> {
        self.attributes.iter().map(|(kind, _)| kind & !NESTED).collect()
    }
}

/// The messages of a datagram that was sent.
pub fn read(mut datagram: &[u8]) -> Vec<Sent> {
    assert!(datagram.len() <= 212_960 - 32, "{} bytes are more than a default send buffer takes", datagram.len());
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let length = u32::from_ne_bytes(datagram[..4].try_into().unwrap()) as usize;
        assert!(length >= 20 && length <= datagram.len() && length.is_multiple_of(4), "nlmsg_len {length}");
        let (message, rest) = datagram.split_at(length);
        let word = |at: usize| u16::from_ne_bytes(message[at..at + 2].try_into().unwrap());
        assert_eq!(message[12..16], [0; 4], "nlmsg_pid is the kernel's to set");
        assert_eq!(message[17..20], [0; 3], "nfgenmsg version and res_id");
        messages.push(Sent {
            kind: word(4),
            flags: word(6),
            sequence: u32::from_ne_bytes(message[8..12].try_into().unwrap()),
            family: message[16],
            attributes: attributes(&message[20..]),
        });
        datagram = rest;
    }
    messages
}

/// The attributes in `bytes`: lengths that add up, zeroes as padding.
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut attributes = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes.len() >= 4, "{} bytes left over", bytes.len());
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let padded = length.next_multiple_of(4);
        assert!(length >= 4 && padded <= bytes.len(), "nla_len {length} of {}", bytes.len());
        assert!(bytes[length..padded].iter().all(|&byte| byte == 0), "padding");
        attributes.push((u16::from_ne_bytes([bytes[2], bytes[3]]), bytes[4..length].to_vec()));
        bytes = &bytes[padded..];
    }
    attributes
}

/// The value of the attribute `kind`, which must be there exactly once.
#[track_caller]
pub fn one(attributes: &[(u16, Vec<u8>)], kind: u16) -> &[u8] {
    let mut found = attributes.iter().filter(|(number, _)| number & !NESTED == kind);
    let (Some((_, value)), None) = (found.next(), found.next()) else {
        panic!("attribute {kind} not exactly once in {attributes:?}");
    };
    value
}

/// An attribute's bytes.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A nest's bytes.
pub fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &parts.concat())
}

/// A message's bytes, whatever its type.
pub fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(u32::try_from(16 + payload.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An entry of a dump.
pub fn entry(sequence: u32, family: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let payload = [vec![family, 0, 0, 0], attributes.concat()].concat();
    message(CT_NEW, MULTI, sequence, &payload)
}

/// The end of a dump.
pub fn done(sequence: u32) -> Vec<u8> {
    message(3, MULTI, sequence, &0i32.to_ne_bytes())
}

/// The answer to `request`; 0 is an ACK.
pub fn answer(request: &Sent, errno: i32) -> Vec<u8> {
    let echo = message(request.kind, request.flags, request.sequence, &[0; 4]);
    message(2, 0, request.sequence, &[(-errno).to_ne_bytes().to_vec(), echo].concat())
}

/// What a fake kernel was sent.
#[derive(Debug, Clone, Default)]
pub struct Record(Arc<Mutex<Vec<Vec<u8>>>>);

impl Record {
    /// Every message so far, read strictly.
    pub fn messages(&self) -> Vec<Sent> {
        self.0.lock().unwrap().iter().flat_map(|datagram| read(datagram)).collect()
    }
}

/// A connection to a kernel that answers each datagram's messages, and a record
/// of what it was sent.
pub fn kernel(mut answers: impl FnMut(&[Sent]) -> Vec<Vec<u8>> + Send + 'static) -> (Connection, Record) {
    let record = Record::default();
    let recorder = record.clone();
    let connection = Connection::fake(move |datagram| {
        recorder.0.lock().unwrap().push(datagram.to_vec());
        answers(&read(datagram))
    });
    (connection, record)
}

/// Answers every request with success, and only if an ACK is requested.
pub fn obedient(requests: &[Sent]) -> Vec<Vec<u8>> {
    requests.iter().filter(|request| request.flags & ACK != 0).map(|request| answer(request, 0)).collect()
}
