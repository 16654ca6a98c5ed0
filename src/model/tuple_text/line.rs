//! The words of a line, in the order in which conntrack(8) prints them.

use std::str::FromStr;

use super::super::protocol::protocol_from_name;
use super::error::{FORMAT_HINT, NamedEntryError, PREFIX_HINT, PartError};
use super::named_entry::NamedEntry;
use super::reader::{Reader, endpoint, read_protocol};
use super::words::{Word, is_state, words};
use super::{json, row};
use crate::units::parse_decimal;
use crate::wire::Family;

impl FromStr for NamedEntry {
    type Err = NamedEntryError;

    fn from_str(text: &str) -> Result<Self, NamedEntryError> {
        let named =
            entry(text).map_err(|fault| if has_prefix(text, &fault) { fault.with_hint(PREFIX_HINT) } else { fault });
        named.map_err(|fault| NamedEntryError::new(text, fault))
    }
}

fn entry(text: &str) -> Result<NamedEntry, PartError> {
    read(text).and_then(|reader| reader.finish(text.len()))
}

/// Whether an entry follows what is at fault, as in the line of a log: `Nov 28 20:00:00 fw kernel: tcp 6 …`.
fn has_prefix(text: &str, fault: &PartError) -> bool {
    // A text of many protocols is read a few times only.
    const TRIED: usize = 4;
    if !fault.has_default_hint() {
        return false;
    }
    let words = words(text);
    let behind = words.iter().skip(1).filter(|word| word.span.start >= fault.span.start && may_begin_entry(word.text));
    behind.take(TRIED).any(|word| text.get(word.span.start..).is_some_and(|rest| entry(rest).is_ok()))
}

/// Whether an entry may begin with `word`. A number may be a part of anything.
fn may_begin_entry(word: &str) -> bool {
    let is_name = word.starts_with(|character: char| character.is_ascii_alphabetic());
    word.starts_with('{') || is_name && (matches!(word, "ipv4" | "ipv6") || protocol_from_name(word).is_some())
}

fn read(text: &str) -> Result<Reader, PartError> {
    if text.trim_start().starts_with('{') {
        return json::read(text);
    }
    let words = words(text);
    refuse_other_lines(&words)?;
    row::read(&words).unwrap_or_else(|| read_line(&words))
}

/// Refuses the lines of other formats, and of what is no entry.
fn refuse_other_lines(words: &[Word<'_>]) -> Result<(), PartError> {
    // conntrack(8) prints `300 proto=6 src=…` for an expectation, and no key `proto` for an entry.
    if let Some(word) = words.iter().find(|word| word.text.starts_with("proto=")) {
        return Err(PartError::new(word.span.clone(), "an expectation is not an entry"));
    }
    let Some(first) = words.first() else { return Ok(()) };
    let format = match first.text {
        "-A" | "-I" | "-U" | "-D" => "'-o save'",
        text if is_syslog(text) => return Ok(()),
        text if text.starts_with('<') => "XML",
        text if text.contains(',') => "CSV",
        _ => return Ok(()),
    };
    let fault = PartError::new(first.span.clone(), format!("a line of {format} is not supported here"));
    Err(fault.with_hint(FORMAT_HINT))
}

/// Whether a line begins with the priority of a syslog message: `<134>1 …`.
fn is_syslog(word: &str) -> bool {
    word.strip_prefix('<').is_some_and(|rest| rest.starts_with(|character: char| character.is_ascii_digit()))
}

/// Reads all words of a line.
fn read_line(words: &[Word<'_>]) -> Result<Reader, PartError> {
    let mut reader = Reader::default();
    let mut line = Line::default();
    let mut rest = words;
    while let Some((word, following)) = rest.split_first() {
        rest = following;
        if let Some(endpoint) = endpoint(word.text) {
            reader.add_endpoint(endpoint, word.span.clone());
            line.has_addresses = true;
        } else if word.text.starts_with('[') {
            rest = after_flag(word, following)?;
        } else if let Some((key, value)) = word.text.split_once('=') {
            rest = read_pair(&mut reader, (key, value), word, following)?;
            line.has_addresses = true;
        } else {
            line.read(word, following.first(), &mut reader)?;
        }
    }
    // Only a row of a table has a state before addresses without a key, and a row shows no zone.
    reader.is_row = line.has_state && reader.has_endpoints();
    Ok(reader)
}

/// The words after a flag such as `[UNREPLIED]`, `[NEW]` or `[start=Sun Nov 22 02:53:28 2026]`.
fn after_flag<'w, 'a>(flag: &Word<'a>, mut rest: &'w [Word<'a>]) -> Result<&'w [Word<'a>], PartError> {
    if flag.text == "[GAP]" {
        return Err(PartError::new(flag.span.clone(), "a gap in a stream is not an entry"));
    }
    let mut is_closed = flag.text.ends_with(']');
    while !is_closed {
        let Some((word, following)) = rest.split_first() else {
            return Err(PartError::new(flag.span.clone(), format!("unclosed '[' in '{}'", flag.text)));
        };
        (is_closed, rest) = (word.text.ends_with(']'), following);
    }
    Ok(rest)
}

/// Reads `key=value`; a value that is a name may have spaces. Returns the words after it.
fn read_pair<'w, 'a>(
    reader: &mut Reader,
    (key, value): (&str, &str),
    word: &Word<'a>,
    rest: &'w [Word<'a>],
) -> Result<&'w [Word<'a>], PartError> {
    let more = match key {
        // Behind it are only `netns=` and flags.
        "progname" => length_of_process_name(rest)?,
        // `pid:77(tmux: server)`
        "netns" if value.starts_with("pid:") && !value.ends_with(')') => {
            rest.iter().position(|word| word.text.ends_with(')')).map_or(0, |place| place + 1)
        }
        "helper" | "secctx" | "labels" => {
            rest.iter().take_while(|word| !word.text.contains('=') && !word.text.starts_with('[')).count()
        }
        _ => 0,
    };
    let (of_value, after) = rest.split_at_checked(more).unwrap_or((rest, &[]));
    let value = of_value.iter().fold(value.to_owned(), |value, word| format!("{value} {}", word.text));
    let end = of_value.last().map_or(word.span.end, |last| last.span.end);
    reader.read_pair(key, &value, word.span.start..end)?;
    Ok(after)
}

/// How many words belong to the name of a process. What looks like a part of the tuple may be one of the name.
fn length_of_process_name(rest: &[Word<'_>]) -> Result<usize, PartError> {
    let is_end = |word: &&Word<'_>| word.text.starts_with("netns=") || is_origin(word.text);
    let name = rest.iter().take_while(|word| !is_end(word));
    match name.clone().find(|word| word.text.contains('=')) {
        Some(word) => {
            let message = format!("ambiguous '{}': it may belong to the name of the process in front of it", word.text);
            Err(PartError::new(word.span.clone(), message)
                .with_hint("put it in front of '[USERSPACE]', or leave the process out"))
        }
        None => Ok(name.count()),
    }
}

/// The flags of events that no packet caused.
fn is_origin(word: &str) -> bool {
    matches!(word, "[SEED]" | "[RESYNC]" | "[RECONCILE]" | "[NETNS]")
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
    fn read(&mut self, word: &Word<'_>, next: Option<&Word<'_>>, reader: &mut Reader) -> Result<(), PartError> {
        let fault = |message: String| Err(PartError::new(word.span.clone(), message));
        let number = parse_decimal(word.text).ok();
        match (reader.protocol, number) {
            (None, Some(number)) if self.may_be_family_number(next, reader) => {
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

    /// Whether a number is that of the family in front of it. One in front of an address is the protocol.
    fn may_be_family_number(&self, next: Option<&Word<'_>>, reader: &Reader) -> bool {
        let is_before_address = next.is_some_and(|next| endpoint(next.text).is_some() || next.text.contains('='));
        reader.family.is_some() && !self.has_family_number && !self.is_unnamed && !is_before_address
    }

    fn read_protocol(&mut self, word: &Word<'_>, reader: &mut Reader) -> Result<(), PartError> {
        match word.text {
            "ipv4" if reader.family.is_none() => reader.family = Some(Family::V4),
            "ipv6" if reader.family.is_none() => reader.family = Some(Family::V6),
            "unknown" if !self.is_unnamed => self.is_unnamed = true,
            _ => {
                read_protocol(reader, word)?;
                self.has_protocol_number = self.is_unnamed;
            }
        }
        Ok(())
    }
}
