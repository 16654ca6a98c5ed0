//! Values that are names: families, protocols, states, status bits, NAT, labels, ICMP types.

use super::{Values, pattern};
use crate::field::{Tracker, UNREPLIED, ValueKind, state_codes, status_bit};
use crate::filter::error::ValueError;
use crate::filter::hint;
use crate::filter::literal;
use crate::filter::term::Pattern;
use crate::model::{
    Family, ICMP_TYPE_NAMES, STATUS_BITS, Status, TcpState, icmp_types, is_untracked_icmp_type, protocol_from_name,
    protocol_name,
};
use crate::text::nearest;

impl Values<'_> {
    pub(super) fn add_family(&mut self, word: &str) -> Result<(), ValueError> {
        let family = match &*word.to_ascii_lowercase() {
            "ipv4" | "2" => Family::V4,
            "ipv6" | "10" => Family::V6,
            _ => return Err(ValueError::new(format!("unknown address family '{word}'")).hint("ipv4 or ipv6")),
        };
        self.add_code(family.number().into());
        Ok(())
    }

    pub(super) fn add_protocol(&mut self, word: &str) -> Result<(), ValueError> {
        let number = if word.starts_with(|c: char| c.is_ascii_digit() || c == '+') {
            literal::number(word, self.field.kind.max())?
        } else {
            let protocol = protocol_from_name(word);
            u8::from(protocol.ok_or_else(|| unknown_protocol(word))?).into()
        };
        self.add_code(u16::try_from(number).unwrap_or(u16::MAX));
        Ok(())
    }

    pub(super) fn add_state(&mut self, word: &str) -> Result<(), ValueError> {
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        if is_number {
            literal::number(word, u8::MAX.into())?;
        }
        let codes = state_codes(word);
        let Some(first) = codes.first() else {
            return Err(unknown_state(word));
        };
        let name = if is_number { word.to_owned() } else { ValueKind::State.named(*first).to_string() };
        let name = name.to_ascii_lowercase();
        self.requirement = requirement(&codes, word, &name);
        self.numbers.extend(codes.into_iter().map(|code| (code.into(), code.into())));
        self.words.push(name.into());
        Ok(())
    }

    pub(super) fn add_status(&mut self, word: &str) -> Result<(), ValueError> {
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            literal::number(word, 31)?;
        }
        if word.eq_ignore_ascii_case(UNREPLIED) {
            self.unset |= u128::from(Status::SeenReply.bits());
            self.words.push(UNREPLIED.into());
            return Ok(());
        }
        let Some(bit) = status_bit(word) else {
            return Err(unknown_status(word));
        };
        let row = STATUS_BITS.iter().find(|row| row.bit == bit);
        self.set |= u128::from(bit.bits());
        self.words.push(row.map_or(word, |row| row.name).into());
        Ok(())
    }

    pub(super) fn add_nat(&mut self, word: &str) -> Result<(), ValueError> {
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

    pub(super) fn add_label(&mut self, word: &str) -> Result<(), ValueError> {
        if let Some((value, mask)) = word.split_once('/') {
            return self.add_label_bits(pattern(value, mask, literal::bits)?);
        }
        let number = if let Some(number) = (self.context.label)(word) {
            number.into()
        } else if word.starts_with("0x") || word.starts_with("0X") {
            return Err(hexadecimal_label(word));
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            literal::number(word, 127)?
        } else {
            return Err(ValueError::new(format!("unknown label '{word}'"))
                .hint("a number from 0 to 127, a name from connlabel.conf, or VALUE/MASK of 128 bits"));
        };
        self.set |= 1 << (number & 127);
        self.words.push(number.to_string().into());
        Ok(())
    }

    /// Bits of all labels under a mask. With a mask of one bit, the term is that of a single label.
    fn add_label_bits(&mut self, pattern: Pattern) -> Result<(), ValueError> {
        match (pattern.value, pattern.mask.is_power_of_two()) {
            (0, true) => self.unset |= pattern.mask,
            (_, true) => self.set |= pattern.mask,
            (_, false) => self.patterns.push(pattern),
        }
        self.words.push(pattern.to_string().into());
        Ok(())
    }

    pub(super) fn add_icmp_type(&mut self, word: &str) -> Result<(), ValueError> {
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.add_number(word);
        }
        let types = icmp_types(word);
        if types.is_empty() {
            return Err(unknown_icmp_type(word));
        }
        self.numbers.extend(types.iter().map(|kind| (u64::from(*kind), u64::from(*kind))));
        Ok(())
    }

    fn add_code(&mut self, code: u16) {
        self.numbers.push((code.into(), code.into()));
        self.words.push(self.field.kind.named(code).to_string().into());
    }
}

/// What a state requires of the filter if TCP does not have it: one of the protocols that do.
///
/// Without it, `not state timewait` would match connections of TCP that are in TIME_WAIT, if the name
/// were DCCP's alone.
fn requirement(codes: &[u16], word: &str, name: &str) -> Option<(Vec<Tracker>, ValueError)> {
    let trackers: Vec<Tracker> = codes.iter().filter_map(|code| Tracker::of_code(*code)).collect();
    if trackers.contains(&Tracker::Tcp) {
        return None;
    }
    let protocols: Vec<&str> = trackers.iter().filter_map(|tracker| protocol_name(tracker.protocol())).collect();
    let keyword = protocols.first()?;
    let error = ValueError::new(format!(
        "'{word}' is a state of {} alone, and the filter is not restricted to that protocol",
        protocols.join(", ").to_ascii_uppercase()
    ));
    let explanation = hint::for_foreign_state(word).map(|hint| format!("{hint}; ")).unwrap_or_default();
    let hint = format!("{explanation}{keyword} and state {name}; states of TCP: {}", tcp_states().join(", "));
    Some((trackers, error.hint(hint)))
}

/// The states of TCP, lower case.
fn tcp_states() -> Vec<String> {
    TcpState::all().filter_map(TcpState::name).map(str::to_ascii_lowercase).collect()
}

#[cold]
fn unknown_protocol(word: &str) -> ValueError {
    let error = ValueError::new(format!("unknown protocol '{word}'"));
    error.hint(if word.eq_ignore_ascii_case("icmp6") {
        "did you mean icmpv6?"
    } else {
        "a name such as tcp, or a number"
    })
}

#[cold]
fn unknown_state(word: &str) -> ValueError {
    if let Some(hint) = hint::for_foreign_state(word) {
        return ValueError::new(format!("unknown state '{word}'")).hint(hint);
    }
    if word.eq_ignore_ascii_case(UNREPLIED) || status_bit(word).is_some() {
        let hint = format!("it is a term of its own: {}", word.to_ascii_lowercase().replace('_', "-"));
        return ValueError::new(format!("unknown state '{word}'")).hint(hint);
    }
    let states = tcp_states();
    let states: Vec<&str> = states.iter().map(String::as_str).collect();
    unknown(word, "state", &states.join(", "), &states)
}

#[cold]
fn unknown_status(word: &str) -> ValueError {
    let names: Vec<&str> = STATUS_BITS.iter().map(|row| row.name).chain([UNREPLIED]).collect();
    match hint::for_opposite(word, names.iter().copied()) {
        Some(hint) => ValueError::new(format!("unknown status bit '{word}'")).hint(hint),
        None => unknown(word, "status bit", &names.join(", "), &names),
    }
}

/// Open vSwitch writes the bits of all labels in hexadecimal, `ct_label=0x2`: the number of a bit is decimal.
#[cold]
fn hexadecimal_label(word: &str) -> ValueError {
    let bits = match literal::bits(word) {
        Ok(bits) => bits,
        Err(error) => return error,
    };
    let error = ValueError::new(format!("ambiguous label '{word}': expected the number of a bit, or VALUE/MASK"));
    match (bits, bits.is_power_of_two()) {
        (0, _) => error.hint("none"),
        (_, true) => error.hint(format!("{word}/{word}, or the number of its bit: {}", bits.trailing_zeros())),
        (_, false) => error.hint(format!("{word}/{word}")),
    }
}

#[cold]
fn unknown_icmp_type(word: &str) -> ValueError {
    if is_untracked_icmp_type(word) {
        let error = ValueError::new(format!("no entry has the ICMP type '{word}'"));
        return error.hint("conntrack has entries of queries; an ICMP error belongs to the entry of its flow");
    }
    let names: Vec<&str> = ICMP_TYPE_NAMES.iter().map(|(name, _)| *name).collect();
    unknown(word, "ICMP type", &format!("a number, {}", names.join(", ")), &names)
}

fn unknown(word: &str, what: &str, otherwise: &str, candidates: &[&str]) -> ValueError {
    let error = ValueError::new(format!("unknown {what} '{word}'"));
    match nearest(&word.replace('-', "_"), candidates.iter().copied()).or(nearest(word, candidates.iter().copied())) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(otherwise),
    }
}
