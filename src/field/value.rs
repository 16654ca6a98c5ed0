//! The value of one field of one flow.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::value_kind::ValueKind;
use crate::model::{Flow, Labels, STATUS_BITS, Status, Undecided};

/// The value of one field of one flow.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// The flow has no such value (a port of an ICMP flow).
    Absent,
    /// The value cannot be determined.
    Undecided(Undecided),
    /// A number.
    Number(u64),
    /// Several numbers, all of which belong to the flow.
    Numbers(Numbers),
    /// A number that may have a name.
    Named(Named),
    /// Bounds of a number of seconds.
    Seconds(SecondsRange),
    /// An address.
    Address(IpAddr),
    /// A network; no field has it, only groups by network do.
    Network(IpNet),
    /// Several addresses, all of which belong to the flow.
    Addresses(Addresses<'a>),
    /// Status bits.
    Status(Status),
    /// Labels, at least one.
    Labels(Labels),
    /// A text.
    Text(&'a str),
}

/// Up to four numbers of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    values: [u16; 4],
    count: u8,
}

impl Numbers {
    /// The numbers of `values`; those beyond the fourth are left out.
    pub fn new(values: impl IntoIterator<Item = u16>) -> Self {
        let mut numbers = Numbers { values: [0; 4], count: 0 };
        for (place, value) in numbers.values.iter_mut().zip(values) {
            *place = value;
            numbers.count += 1;
        }
        numbers
    }

    /// The numbers.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        self.values.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// A number that may have a name: a protocol, a family, a state. The name is looked up when it
/// is printed; filters and groups need the number only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// The unique number of the value. For a state, tracker and number ([`super::Tracker`]).
    pub code: u16,
    /// The kind of value.
    pub kind: ValueKind,
}

/// Bounds of a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondsRange {
    /// Lower bound.
    pub at_least: u32,
    /// Upper bound, if known.
    pub at_most: Option<u32>,
    /// Why the exact value is not known.
    pub why: Undecided,
}

/// Some of the four addresses of a flow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Addresses<'a> {
    flow: &'a Flow,
    which: u8,
}

impl<'a> Addresses<'a> {
    /// The most addresses of a flow.
    pub const MOST: usize = 4;
    /// `orig.src`
    pub const ORIG_SRC: u8 = 1;
    /// `orig.dst`
    pub const ORIG_DST: u8 = 2;
    /// `reply.src`
    pub const REPLY_SRC: u8 = 4;
    /// `reply.dst`
    pub const REPLY_DST: u8 = 8;

    /// The addresses of `flow` whose bits are in `which`.
    #[must_use]
    pub fn new(flow: &'a Flow, which: u8) -> Self {
        Addresses { flow, which }
    }

    /// The addresses, original direction first.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let Addresses { flow, which } = self;
        let all = [
            (Self::ORIG_SRC, &flow.orig.src),
            (Self::ORIG_DST, &flow.orig.dst),
            (Self::REPLY_SRC, &flow.reply.src),
            (Self::REPLY_DST, &flow.reply.dst),
        ];
        all.into_iter().filter(move |(bit, _)| which & bit != 0).map(|(_, address)| *address)
    }
}

impl Value<'_> {
    /// Whether there is a value, and not merely a reason why it is unknown.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, Value::Absent | Value::Undecided(_))
    }

    /// Whether the value is one exact number, which JSON and CSV write without quotes.
    #[must_use]
    pub fn is_number(&self) -> bool {
        match self {
            Value::Number(_) => true,
            Value::Seconds(span) => span.at_most == Some(span.at_least),
            _ => false,
        }
    }

    /// The sort order: numbers by size, addresses by family and number, texts by their bytes,
    /// then undecided values, then absent ones.
    #[must_use]
    pub fn compare(&self, other: &Value<'_>) -> Ordering {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => a.cmp(b),
            (Value::Named(a), Value::Named(b)) => a.code.cmp(&b.code),
            (Value::Seconds(a), Value::Seconds(b)) => (a.at_least, a.upper()).cmp(&(b.at_least, b.upper())),
            (Value::Address(a), Value::Address(b)) => a.cmp(b),
            (Value::Network(a), Value::Network(b)) => a.cmp(b),
            (Value::Status(a), Value::Status(b)) => a.bits().cmp(&b.bits()),
            (Value::Labels(a), Value::Labels(b)) => a.bits().cmp(&b.bits()),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Numbers(a), Value::Numbers(b)) => a.as_slice().cmp(b.as_slice()),
            (Value::Addresses(a), Value::Addresses(b)) => a.iter().cmp(b.iter()),
            (Value::Undecided(a), Value::Undecided(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Number(_) => 0,
            Value::Numbers(_) => 1,
            Value::Named(_) => 2,
            Value::Seconds(_) => 3,
            Value::Address(_) => 4,
            Value::Addresses(_) => 5,
            Value::Network(_) => 6,
            Value::Status(_) => 7,
            Value::Labels(_) => 8,
            Value::Text(_) => 9,
            Value::Undecided(_) => 10,
            Value::Absent => 11,
        }
    }
}

impl SecondsRange {
    /// The upper bound; the largest number if there is none.
    #[must_use]
    pub fn upper(&self) -> u64 {
        self.at_most.map_or(u64::MAX, u64::from)
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Absent => f.write_str("-"),
            Value::Undecided(_) => f.write_str("?"),
            Value::Number(number) => number.fmt(f),
            Value::Numbers(numbers) => list(f, numbers.as_slice()),
            Value::Named(named) => named.fmt(f),
            Value::Seconds(span) => span.fmt(f),
            Value::Address(address) => address.fmt(f),
            Value::Network(network) => network.fmt(f),
            Value::Addresses(addresses) => list(f, addresses.iter()),
            Value::Status(status) => write_status(f, *status),
            Value::Labels(labels) => list(f, labels.numbers()),
            Value::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Display for Named {
    /// The name, or the number; for a state, the number within its tracker.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => name.fmt(f),
            None => (self.code & 0xff).fmt(f),
        }
    }
}

impl fmt::Display for SecondsRange {
    /// `300`, `300-301`, or `300+` where only the lower bound is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at_most {
            Some(at_most) if at_most == self.at_least => self.at_least.fmt(f),
            Some(at_most) => write!(f, "{}-{at_most}", self.at_least),
            None => write!(f, "{}+", self.at_least),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl IntoIterator<Item = T>) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

fn write_status(f: &mut fmt::Formatter<'_>, status: Status) -> fmt::Result {
    let mut comma = "";
    for number in (0..32u32).filter(|number| status.bits() >> number & 1 == 1) {
        f.write_str(comma)?;
        match STATUS_BITS.iter().find(|row| row.bit.bits() == 1 << number) {
            Some(row) => f.write_str(row.name)?,
            None => write!(f, "{number}")?,
        }
        comma = ",";
    }
    if comma.is_empty() { f.write_str("none") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_bit_is_shown_by_its_number() {
        let status = Status::Assured | Status::from_bits_retain(1 << 31);
        assert_eq!(Value::Status(status).to_string(), "assured,31");
        assert_eq!(Value::Status(Status::empty()).to_string(), "none");
    }

    #[test]
    fn undecided_and_absent_values_are_sorted_last() {
        let mut values = [Value::Absent, Value::Number(7), Value::Undecided(Undecided::NotSent), Value::Number(5)];
        values.sort_by(Value::compare);
        assert_eq!(values.map(|value| value.to_string()), ["5", "7", "?", "-"]);
    }

    #[test]
    fn only_an_exact_range_of_seconds_is_a_number() {
        let span = |at_least, at_most| Value::Seconds(SecondsRange { at_least, at_most, why: Undecided::NotSent });
        assert!(span(5, Some(5)).is_number() && !span(5, Some(6)).is_number() && !span(5, None).is_number());
        assert_eq!([span(5, Some(5)), span(5, Some(6)), span(5, None)].map(|s| s.to_string()), ["5", "5-6", "5+"]);
    }

    #[test]
    fn a_value_fits_into_half_a_cache_line() {
        assert!(size_of::<Value<'_>>() <= 32);
    }
}
