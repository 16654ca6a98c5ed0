//! Serialisation of the values of a flow: equal bytes are equal values.
//!
//! ```text
//! per value: tag, then
//!   absent -   undecided u8   number u64 without its leading zero bytes (the tag says how many)
//!   named u16   v4 4   v6 16   network u8 + v4 or v6   status u32   labels u128
//!   numbers u8 + u16 each
//!   span u32 + u8 + u32 + u8   text u32 + bytes
//! ```

use std::net::IpAddr;

use ipnet::IpNet;

use crate::field::{Field, Numbers, SecondsRange, Value};
use crate::model::{Labels, Status, Undecided};

const ABSENT: u8 = 0;
const UNDECIDED: u8 = 1;
const NAMED: u8 = 2;
const V4: u8 = 3;
const V6: u8 = 4;
const STATUS: u8 = 5;
const LABELS: u8 = 6;
const NUMBERS: u8 = 7;
const SPAN: u8 = 8;
const TEXT: u8 = 9;
/// Followed by 0 to 8 bytes: `NUMBER + 3` by 3.
const NUMBER: u8 = 10;
const NETWORK: u8 = 19;

/// Appends `value`.
#[inline]
pub(super) fn pack(value: Value<'_>, key: &mut Vec<u8>) {
    match value {
        Value::Address(address) => pack_address(address, key),
        Value::Network(network) => {
            put(key, NETWORK, &[network.prefix_len()]);
            pack_address(network.addr(), key);
        }
        Value::Number(number) => pack_number(number, key),
        Value::Named(named) => put(key, NAMED, &named.code.to_be_bytes()),
        Value::Absent => key.push(ABSENT),
        Value::Undecided(why) => put(key, UNDECIDED, &[code_of(why)]),
        Value::Status(status) => put(key, STATUS, &status.bits().to_be_bytes()),
        Value::Labels(labels) => put(key, LABELS, &labels.to_bytes()),
        Value::Text(text) => {
            put(key, TEXT, &u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        Value::Numbers(numbers) => {
            put(key, NUMBERS, &[u8::try_from(numbers.as_slice().len()).unwrap_or(0)]);
            numbers.as_slice().iter().for_each(|number| key.extend_from_slice(&number.to_be_bytes()));
        }
        Value::Seconds(span) => {
            put(key, SPAN, &span.at_least.to_be_bytes());
            key.push(u8::from(span.at_most.is_some()));
            key.extend_from_slice(&span.at_most.unwrap_or(0).to_be_bytes());
            key.push(code_of(span.why));
        }
        // Fields with these values are not groupable.
        _ => key.push(ABSENT),
    }
}

#[inline]
fn put(key: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    key.push(tag);
    key.extend_from_slice(bytes);
}

#[inline]
fn pack_address(address: IpAddr, key: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => put(key, V4, &address.octets()),
        IpAddr::V6(address) => put(key, V6, &address.octets()),
    }
}

#[inline]
fn pack_number(number: u64, key: &mut Vec<u8>) {
    let zeros = number.leading_zeros() / 8;
    let length = 8 - zeros as usize;
    let bytes = number.to_be_bytes();
    put(key, NUMBER + (8 - zeros as u8), bytes.get(8 - length..).unwrap_or_default());
}

fn code_of(why: Undecided) -> u8 {
    let code = Undecided::ALL.iter().position(|known| *known == why);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn undecided(code: u8) -> Undecided {
    Undecided::ALL.get(usize::from(code)).copied().unwrap_or(Undecided::NotSent)
}

/// The value of `field` at the start of `key`, and the remaining bytes.
pub(super) fn unpack<'a>(field: &Field, key: &'a [u8]) -> Option<(Value<'a>, &'a [u8])> {
    let (tag, rest) = key.split_first()?;
    Some(match *tag {
        ABSENT => (Value::Absent, rest),
        UNDECIDED => {
            let ([code], rest) = rest.split_first_chunk()?;
            (Value::Undecided(undecided(*code)), rest)
        }
        NAMED => {
            let (code, rest) = rest.split_first_chunk()?;
            (Value::Named(field.kind.named(u16::from_be_bytes(*code))), rest)
        }
        V4 => {
            let (octets, rest) = rest.split_first_chunk::<4>()?;
            (Value::Address((*octets).into()), rest)
        }
        V6 => {
            let (octets, rest) = rest.split_first_chunk::<16>()?;
            (Value::Address((*octets).into()), rest)
        }
        STATUS => {
            let (bits, rest) = rest.split_first_chunk()?;
            (Value::Status(Status::from_bits_retain(u32::from_be_bytes(*bits))), rest)
        }
        LABELS => {
            let (bytes, rest) = rest.split_first_chunk::<16>()?;
            (Value::Labels(Labels::from_bytes(bytes)), rest)
        }
        NETWORK => unpack_network(field, rest)?,
        NUMBERS => unpack_numbers(rest)?,
        SPAN => unpack_span(rest)?,
        TEXT => {
            let (length, rest) = rest.split_first_chunk()?;
            let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            (Value::Text(std::str::from_utf8(text).ok()?), rest)
        }
        number => {
            let (bytes, rest) = rest.split_at_checked(usize::from(number.checked_sub(NUMBER)?))?;
            (Value::Number(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))), rest)
        }
    })
}

fn unpack_network<'a>(field: &Field, bytes: &'a [u8]) -> Option<(Value<'a>, &'a [u8])> {
    let ([length], rest) = bytes.split_first_chunk()?;
    match unpack(field, rest)? {
        (Value::Address(address), rest) => Some((Value::Network(IpNet::new(address, *length).ok()?), rest)),
        _ => None,
    }
}

fn unpack_numbers(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let ([count], rest) = bytes.split_first_chunk()?;
    let (numbers, rest) = rest.split_at_checked(usize::from(*count) * 2)?;
    let numbers = numbers.as_chunks::<2>().0.iter().map(|number| u16::from_be_bytes(*number));
    Some((Value::Numbers(Numbers::new(numbers)), rest))
}

fn unpack_span(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (at_least, rest) = bytes.split_first_chunk()?;
    let ([is_known], rest) = rest.split_first_chunk()?;
    let (at_most, rest) = rest.split_first_chunk()?;
    let ([why], rest) = rest.split_first_chunk()?;
    let at_most = (*is_known == 1).then_some(u32::from_be_bytes(*at_most));
    Some((
        Value::Seconds(SecondsRange { at_least: u32::from_be_bytes(*at_least), at_most, why: undecided(*why) }),
        rest,
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::field::field;

    #[test]
    fn a_packed_value_is_unpacked_as_the_same() {
        let state = field("state").unwrap();
        let values = [
            Value::Absent,
            Value::Undecided(Undecided::NoAccounting),
            Value::Number(0),
            Value::Number(255),
            Value::Number(256),
            Value::Number(u64::MAX),
            Value::Named(state.kind.named(3)),
            Value::Address("10.0.0.1".parse().unwrap()),
            Value::Address("2001:db8::1".parse().unwrap()),
            Value::Network("10.0.0.0/8".parse().unwrap()),
            Value::Network("2001:db8::/64".parse().unwrap()),
            Value::Status(Status::Assured),
            Value::Labels(Labels::from_numbers([0, 127])),
            Value::Text("ftp"),
            Value::Text(""),
            Value::Numbers(Numbers::new([1, 65535])),
            Value::Seconds(SecondsRange { at_least: 5, at_most: None, why: Undecided::Offloaded }),
            Value::Seconds(SecondsRange { at_least: 5, at_most: Some(6), why: Undecided::WithinOneSecond }),
        ];
        let mut key = Vec::new();
        values.iter().for_each(|value| pack(*value, &mut key));
        let mut rest = key.as_slice();
        for value in values {
            let (read, behind) = unpack(state, rest).unwrap();
            assert_eq!(read, value);
            rest = behind;
        }
        assert!(rest.is_empty() && unpack(state, rest).is_none());
    }
}
