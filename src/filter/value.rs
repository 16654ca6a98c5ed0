//! Collects the values of one term into a test.

use std::net::IpAddr;

use super::context::Context;
use super::error::ValueError;
use super::literal;
use super::ranges::{AddressSet, Ranges};
use super::term::{Pattern, Test};
use super::token::Op;
use crate::field::{Field, UNREPLIED, ValueKind, state_codes, status_bit};
use crate::model::{Family, STATUS_BITS, Status, TcpState, protocol_from_name};
use crate::text::nearest;

/// The values of a field, as far as they are parsed.
pub(super) struct Values<'a> {
    field: &'static Field,
    context: &'a Context<'a>,
    numbers: Vec<(u64, u64)>,
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    patterns: Vec<Pattern>,
    set: u32,
    unset: u32,
    labels: u128,
    words: Vec<Box<str>>,
    /// Number of values.
    pub count: usize,
    /// One of the values was a range.
    pub has_range: bool,
}

impl<'a> Values<'a> {
    pub(super) fn new(field: &'static Field, context: &'a Context<'a>) -> Self {
        Values {
            field,
            context,
            numbers: Vec::new(),
            v4: Vec::new(),
            v6: Vec::new(),
            patterns: Vec::new(),
            set: 0,
            unset: 0,
            labels: 0,
            words: Vec::new(),
            count: 0,
            has_range: false,
        }
    }

    /// Parses and adds one value.
    pub(super) fn add(&mut self, word: &str) -> Result<(), ValueError> {
        self.count += 1;
        match self.field.kind {
            ValueKind::Address => self.add_addresses(word),
            ValueKind::Family => self.add_family(word),
            ValueKind::Protocol => self.add_protocol(word),
            ValueKind::State => self.add_state(word),
            ValueKind::Status => self.add_status(word),
            ValueKind::Nat => self.add_nat(word),
            ValueKind::Masked => self.add_masked(word),
            ValueKind::Label => self.add_label(word),
            ValueKind::Text => self.add_text(word),
            ValueKind::Port => self.add_port(word),
            _ => self.add_number(word),
        }
    }

    /// The test for any of the values, and the values as they were written.
    pub(super) fn finish(self) -> (Test, Vec<Box<str>>) {
        let test = match self.field.kind {
            ValueKind::Address => Test::Addresses(AddressSet { v4: Ranges::new(self.v4), v6: Ranges::new(self.v6) }),
            ValueKind::Status => Test::Status { set: self.set, unset: self.unset },
            ValueKind::Label => Test::Labels(self.labels),
            ValueKind::Text => return (Test::Texts(self.words.into()), Vec::new()),
            ValueKind::Masked => Test::Masked { ranges: Ranges::new(self.numbers), patterns: self.patterns.into() },
            _ => Test::Numbers(Ranges::new(self.numbers)),
        };
        (test, self.words)
    }

    /// The test for `op` and the one value.
    pub(super) fn compare(self, op: Op) -> Test {
        let (low, high) = self.numbers.first().copied().unwrap_or((1, 0));
        let max = self.field.kind.max();
        let range = match op {
            Op::Less => low.checked_sub(1).map(|below| (0, below)),
            Op::LessEqual => Some((0, high)),
            Op::Greater => high.checked_add(1).map(|above| (above, max)),
            Op::GreaterEqual => Some((low, max)),
            Op::Equal | Op::NotEqual => Some((low, high)),
        };
        let ranges = Ranges::new(range.into_iter().collect());
        match self.field.kind {
            ValueKind::Masked => Test::Masked { ranges, patterns: Box::default() },
            _ => Test::Numbers(ranges),
        }
    }

    /// Whether the one value is several numbers: a service with different ports over TCP and
    /// UDP.
    pub(super) fn is_several(&self) -> bool {
        self.numbers.len() > 1
    }

    /// Whether a mask was given.
    pub(super) fn has_mask(&self) -> bool {
        !self.patterns.is_empty()
    }

    fn add_addresses(&mut self, word: &str) -> Result<(), ValueError> {
        match literal::addresses(word)? {
            (IpAddr::V4(low), IpAddr::V4(high)) => self.v4.push((low.to_bits(), high.to_bits())),
            (IpAddr::V6(low), IpAddr::V6(high)) => self.v6.push((low.to_bits(), high.to_bits())),
            _ => return Err(ValueError::new("invalid range: expected addresses of one family")),
        }
        Ok(())
    }

    fn add_family(&mut self, word: &str) -> Result<(), ValueError> {
        let family = match &*word.to_ascii_lowercase() {
            "ipv4" | "2" => Family::V4,
            "ipv6" | "10" => Family::V6,
            _ => return Err(ValueError::new(format!("unknown address family '{word}'")).hint("ipv4 or ipv6")),
        };
        self.add_code(family.number().into());
        Ok(())
    }

    fn add_protocol(&mut self, word: &str) -> Result<(), ValueError> {
        let number = if word.starts_with(|c: char| c.is_ascii_digit() || c == '+') {
            literal::number(word, self.field.kind.max())?
        } else {
            let protocol = protocol_from_name(word);
            u8::from(protocol.ok_or_else(|| unknown(word, "protocol", "a name such as tcp, or a number", &[]))?).into()
        };
        self.add_code(u16::try_from(number).unwrap_or(u16::MAX));
        Ok(())
    }

    fn add_state(&mut self, word: &str) -> Result<(), ValueError> {
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            literal::number(word, u8::MAX.into())?;
        }
        let codes = state_codes(word);
        if codes.is_empty() {
            let names: Vec<&str> = TcpState::all().filter_map(TcpState::name).collect();
            let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
            let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
            return Err(unknown(word, "state", "established, syn_sent, time_wait, close_wait …", &lower));
        }
        self.numbers.extend(codes.into_iter().map(|code| (code.into(), code.into())));
        self.words.push(word.to_ascii_lowercase().replace('-', "_").into());
        Ok(())
    }

    fn add_status(&mut self, word: &str) -> Result<(), ValueError> {
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            literal::number(word, 31)?;
        }
        if word.eq_ignore_ascii_case(UNREPLIED) {
            self.unset |= Status::SeenReply.bits();
            self.words.push(UNREPLIED.into());
            return Ok(());
        }
        let Some(bit) = status_bit(word) else {
            let names: Vec<&str> = STATUS_BITS.iter().map(|row| row.name).chain([UNREPLIED]).collect();
            return Err(unknown(word, "status bit", &names.join(", "), &names));
        };
        let row = STATUS_BITS.iter().find(|row| row.bit == bit);
        self.set |= bit.bits();
        self.words.push(row.map_or(word, |row| row.name).into());
        Ok(())
    }

    fn add_nat(&mut self, word: &str) -> Result<(), ValueError> {
        // Codes: 1 source, 2 destination, 3 both.
        let range = match &*word.to_ascii_lowercase() {
            "none" => (0, 0),
            "any" => (1, 3),
            "dst" => (2, 3),
            "src" => {
                self.numbers.push((1, 1));
                (3, 3)
            }
            _ => return Err(unknown(word, "kind of NAT", "src, dst, any or none", &["src", "dst", "any", "none"])),
        };
        self.numbers.push(range);
        self.words.push(word.to_ascii_lowercase().into());
        Ok(())
    }

    fn add_masked(&mut self, word: &str) -> Result<(), ValueError> {
        let Some((value, mask)) = word.split_once('/') else {
            return self.add_number(word);
        };
        let max = self.field.kind.max();
        let behind = value.len() + 1;
        let number = |text: &str, at| literal::number(text, max).map_err(|error| error.shift(at, text.len()));
        let (value_bits, mask_bits) = (number(value, 0)?, number(mask, behind)?);
        if value_bits & !mask_bits != 0 {
            let kept = value_bits & mask_bits;
            return Err(ValueError::new("value has bits outside of the mask, so nothing can match")
                .hint(format!("{kept:#x}/{mask_bits:#x}"))
                .part(0, value.len()));
        }
        let bits = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        self.patterns.push(Pattern { value: bits(value_bits), mask: bits(mask_bits) });
        Ok(())
    }

    fn add_label(&mut self, word: &str) -> Result<(), ValueError> {
        let number = if let Some(number) = (self.context.label)(word) {
            number.into()
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            literal::number(word, 127)?
        } else {
            return Err(ValueError::new(format!("unknown label '{word}'"))
                .hint("a number from 0 to 127, or a name from connlabel.conf"));
        };
        self.labels |= 1 << (number & 127);
        self.words.push(number.to_string().into());
        Ok(())
    }

    fn add_text(&mut self, word: &str) -> Result<(), ValueError> {
        if word.is_empty() || word.contains('"') {
            return Err(ValueError::new("invalid name: expected at least one character and no quotation mark"));
        }
        self.words.push(word.into());
        Ok(())
    }

    fn add_port(&mut self, word: &str) -> Result<(), ValueError> {
        let ports = self.context.services.ports(word);
        if !ports.is_empty() {
            self.numbers.extend(ports.iter().map(|port| (u64::from(*port), u64::from(*port))));
            return Ok(());
        }
        self.add_number(word)
    }

    fn add_number(&mut self, word: &str) -> Result<(), ValueError> {
        let Some((low, high)) = word.split_once('-').filter(|(low, high)| !low.is_empty() && !high.is_empty()) else {
            let number = self.number(word)?;
            self.numbers.push((number, number));
            return Ok(());
        };
        let behind = low.len() + 1;
        let from = self.number(low).map_err(|error| error.shift(0, low.len()))?;
        let to = self.number(high).map_err(|error| error.shift(behind, high.len()))?;
        if from > to {
            return Err(ValueError::new("invalid range: the end is less than the start").hint(format!("{high}-{low}")));
        }
        self.has_range = true;
        self.numbers.push((from, to));
        Ok(())
    }

    fn number(&self, text: &str) -> Result<u64, ValueError> {
        match self.field.kind {
            ValueKind::Duration => literal::duration(text),
            ValueKind::Count => literal::count(text),
            ValueKind::Size => literal::size(text),
            ValueKind::Port => literal::port(text),
            kind => literal::number(text, kind.max()),
        }
    }

    fn add_code(&mut self, code: u16) {
        self.numbers.push((code.into(), code.into()));
        self.words.push(self.field.kind.named(code).to_string().into());
    }
}

fn unknown(word: &str, what: &str, otherwise: &str, candidates: &[&str]) -> ValueError {
    let error = ValueError::new(format!("unknown {what} '{word}'"));
    match nearest(&word.replace('-', "_"), candidates.iter().copied()).or(nearest(word, candidates.iter().copied())) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(otherwise),
    }
}
