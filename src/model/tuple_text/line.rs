//! The words of a line, in the order in which conntrack(8) prints them.

use std::ops::Range;
use std::str::FromStr;

use super::super::protocol::protocol_from_name;
use super::error::{Fault, NamedEntryError};
use super::named_entry::NamedEntry;
use super::reader::{Reader, endpoint};
use crate::units::parse_decimal;
use crate::wire::Family;

impl FromStr for NamedEntry {
    type Err = NamedEntryError;

    fn from_str(text: &str) -> Result<Self, NamedEntryError> {
        let read = read(text).and_then(|reader| reader.finish(text.len()));
        read.map_err(|fault| NamedEntryError { message: fault.message.into(), text: text.into(), span: fault.span })
    }
}

/// A word and its bytes in the text.
struct Word<'a> {
    text: &'a str,
    span: Range<usize>,
}

/// Reads all words of `text`.
fn read(text: &str) -> Result<Reader, Fault> {
    let mut reader = Reader::default();
    let mut line = Line::default();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        if let Some(endpoint) = endpoint(word.text) {
            reader.add_endpoint(endpoint, word.span);
            line.has_addresses = true;
        } else if word.text.starts_with('[') {
            // A flag such as [UNREPLIED], or the words of [start=Sun Nov 22 02:53:28 2026].
            let ends = |word: &Word<'_>| word.text.ends_with(']');
            if !ends(&word) && !words.any(|word| ends(&word)) {
                return Err(Fault::new(word.span, format!("unclosed '[' in '{}'", word.text)));
            }
        } else if let Some((key, value)) = word.text.split_once('=') {
            reader.read_pair(key, value, word.span)?;
            line.has_addresses = true;
        } else {
            line.read(&word, &mut reader)?;
        }
    }
    Ok(reader)
}

fn words(text: &str) -> Vec<Word<'_>> {
    let starts = text.split_whitespace().map(|word| {
        // A word is a part of `text`.
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        Word { text: word, span: start..start + word.len() }
    });
    starts.collect()
}

/// How far the words before the addresses were read: `ipv4 2 tcp 6 431999 ESTABLISHED`.
#[derive(Default)]
struct Line {
    has_family_number: bool,
    /// The word `unknown`, before the number of a protocol without a name.
    is_unnamed: bool,
    has_protocol_number: bool,
    has_timeout: bool,
    has_state: bool,
    has_addresses: bool,
}

impl Line {
    fn read(&mut self, word: &Word<'_>, reader: &mut Reader) -> Result<(), Fault> {
        let fault = |message: String| Err(Fault::new(word.span.clone(), message));
        let number = parse_decimal(word.text).ok();
        match (reader.protocol, number) {
            (None, Some(number)) if reader.family.is_some() && !self.has_family_number && !self.is_unnamed => {
                self.has_family_number = true;
                match reader.family.map(|family| u64::from(family.number())) {
                    Some(expected) if expected != number => {
                        fault(format!("expected '{expected}', the family's number"))
                    }
                    _ => Ok(()),
                }
            }
            (None, _) => self.read_protocol(word, reader),
            (Some(protocol), Some(number)) if !self.has_protocol_number && !self.has_addresses => {
                self.has_protocol_number = true;
                let expected = u8::from(protocol);
                if number == u64::from(expected) {
                    Ok(())
                } else {
                    fault(format!("expected '{expected}', the protocol's number"))
                }
            }
            (Some(_), Some(_)) if !self.has_timeout && !self.has_addresses => {
                self.has_timeout = true;
                Ok(())
            }
            (Some(_), None) if !self.has_state && !self.has_addresses && is_state(word.text) => {
                self.has_state = true;
                Ok(())
            }
            _ => fault(format!("unexpected '{}': neither an address nor a part of a tuple", word.text)),
        }
    }

    fn read_protocol(&mut self, word: &Word<'_>, reader: &mut Reader) -> Result<(), Fault> {
        match word.text {
            "ipv4" if reader.family.is_none() => reader.family = Some(Family::V4),
            "ipv6" if reader.family.is_none() => reader.family = Some(Family::V6),
            "unknown" if !self.is_unnamed => self.is_unnamed = true,
            name => {
                let protocol = protocol_from_name(name);
                let fault = || Fault::new(word.span.clone(), format!("unknown protocol '{name}'"));
                reader.protocol = Some(protocol.ok_or_else(fault)?);
                self.has_protocol_number = self.is_unnamed;
            }
        }
        Ok(())
    }
}

/// Whether a word looks like the state of TCP, SCTP or DCCP.
fn is_state(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'2'))
}
