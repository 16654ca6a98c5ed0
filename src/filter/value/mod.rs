//! Collects the values of one term into a test.
//!
//! `named` has the kinds of values that are names.

mod named;

use std::net::IpAddr;

use super::address::addresses;
use super::context::Context;
use super::error::{ParseError, Source, TextSpan, ValueError};
use super::literal;
use super::ranges::{AddressSet, Ranges};
use super::rare_state::RareState;
use super::term::{Pattern, Term, Test};
use super::token::Op;
use crate::field::{Field, Tracker, ValueKind};

/// The values of a field, as far as they are parsed.
pub(super) struct Values<'a> {
    field: &'static Field,
    context: &'a Context<'a>,
    numbers: Vec<(u64, u64)>,
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    patterns: Vec<Pattern>,
    set: u128,
    unset: u128,
    words: Vec<Box<str>>,
    /// What the value that was added last requires of the filter: one of these trackers.
    requirement: Option<(Vec<Tracker>, ValueError)>,
    rare_states: Vec<RareState>,
    /// The files without values.
    pub empty_files: Vec<Box<str>>,
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
            words: Vec::new(),
            requirement: None,
            rare_states: Vec::new(),
            empty_files: Vec::new(),
            count: 0,
            has_range: false,
        }
    }

    /// Parses and adds one value. `source` and `span` are its position.
    pub(super) fn add_at<'s>(
        &mut self,
        word: &str,
        span: TextSpan,
        source: impl Fn() -> Source<'s>,
    ) -> Result<(), ParseError> {
        self.add(word).map_err(|error| source().value_error(span, error))?;
        if let Some((trackers, error)) = self.requirement.take() {
            self.rare_states.push(RareState { trackers, error: source().value_error(span, error) });
        }
        Ok(())
    }

    fn add(&mut self, word: &str) -> Result<(), ValueError> {
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
            ValueKind::IcmpType => self.add_icmp_type(word),
            _ => self.add_number(word),
        }
    }

    /// The term for any of the values.
    pub(super) fn finish(mut self) -> Term {
        let words = std::mem::take(&mut self.words);
        let (test, words) = match self.field.kind {
            ValueKind::Text => (Test::Texts(words.into()), Vec::new()),
            ValueKind::Address => {
                (Test::Addresses(AddressSet { v4: Ranges::new(self.v4), v6: Ranges::new(self.v6) }), words)
            }
            ValueKind::Status => (Test::Status { set: self.set as u32, unset: self.unset as u32 }, words),
            ValueKind::Label => {
                (Test::Labels { set: self.set, unset: self.unset, patterns: self.patterns.into() }, words)
            }
            ValueKind::Masked => {
                (Test::Masked { ranges: Ranges::new(self.numbers), patterns: self.patterns.into() }, words)
            }
            _ => (Test::Numbers(Ranges::new(self.numbers)), words),
        };
        let (rare_states, empty_files) = (self.rare_states, self.empty_files);
        Term { words, rare_states, empty_files, ..Term::new(self.field, test) }
    }

    /// The term for `op` and the one value.
    pub(super) fn compare(self, op: Op) -> Term {
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
        let test = match self.field.kind {
            ValueKind::Masked => Test::Masked { ranges, patterns: Box::default() },
            _ => Test::Numbers(ranges),
        };
        Term::new(self.field, test)
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
        match addresses(word)? {
            (IpAddr::V4(low), IpAddr::V4(high)) => self.v4.push((low.to_bits(), high.to_bits())),
            (IpAddr::V6(low), IpAddr::V6(high)) => self.v6.push((low.to_bits(), high.to_bits())),
            _ => return Err(ValueError::new("invalid range: expected addresses of one family")),
        }
        Ok(())
    }

    fn add_masked(&mut self, word: &str) -> Result<(), ValueError> {
        let Some((value, mask)) = word.split_once('/') else {
            return self.add_number(word);
        };
        let max = self.field.kind.max();
        let pattern = pattern(value, mask, |text| literal::number(text, max).map(u128::from))?;
        self.patterns.push(pattern);
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
}

/// `VALUE/MASK`, with numbers that `number` parses.
fn pattern(value: &str, mask: &str, number: impl Fn(&str) -> Result<u128, ValueError>) -> Result<Pattern, ValueError> {
    let behind = value.len() + 1;
    let value_bits = number(value).map_err(|error| error.shift(0, value.len()))?;
    let mask_bits = number(mask).map_err(|error| error.shift(behind, mask.len()))?;
    if value_bits & !mask_bits != 0 {
        let kept = value_bits & mask_bits;
        return Err(ValueError::new("value has bits outside of the mask, so nothing can match")
            .hint(format!("{kept:#x}/{mask_bits:#x}"))
            .part(0, value.len()));
    }
    Ok(Pattern { value: value_bits, mask: mask_bits })
}
