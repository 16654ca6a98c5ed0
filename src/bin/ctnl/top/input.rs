//! Keys from the bytes that a terminal sends.
//!
//! crossterm's reader is not used: once the terminal is gone, it reads again and again without an end.

use super::keys::Key;

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A key, of so many bytes.
    Key(Key, usize),
    /// So many bytes that are no key.
    Other(usize),
    /// The start of something: more bytes are missing.
    Incomplete,
}

const ESCAPE: u8 = 0x1b;

/// The first key of `bytes`, which are not empty. `is_over`: no more bytes come at once, so that an escape is the key.
pub fn first_key(bytes: &[u8], is_over: bool) -> Parsed {
    let parsed = match bytes {
        [] => Parsed::Other(0),
        [ESCAPE, rest @ ..] => escaped(rest),
        [b'\r' | b'\n', ..] => Parsed::Key(Key::Enter, 1),
        [b'\t', ..] => Parsed::Key(Key::Tab, 1),
        [0x7f | 0x08, ..] => Parsed::Key(Key::Backspace, 1),
        [control @ 0x01..=0x1a, ..] => Parsed::Key(Key::Ctrl(char::from(control + b'a' - 1)), 1),
        [control, ..] if *control < b' ' => Parsed::Other(1),
        _ => character(bytes),
    };
    match parsed {
        Parsed::Incomplete if !is_over => Parsed::Incomplete,
        Parsed::Incomplete if bytes.first() == Some(&ESCAPE) => Parsed::Key(Key::Escape, 1),
        Parsed::Incomplete => Parsed::Other(1),
        parsed => parsed,
    }
}

/// A character of one to four bytes.
fn character(bytes: &[u8]) -> Parsed {
    let length = match bytes.first() {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    let Some(part) = bytes.get(..length) else { return Parsed::Incomplete };
    match std::str::from_utf8(part).ok().and_then(|text| text.chars().next()) {
        Some(c) => Parsed::Key(Key::Char(c), length),
        None => Parsed::Other(1),
    }
}

/// What stands behind an escape: a control sequence (ECMA-48), a function key, or another key.
fn escaped(rest: &[u8]) -> Parsed {
    match rest {
        [] | [b'O'] | [b'[', b'['] => Parsed::Incomplete,
        [b'O', last, ..] => named(*last, b"", 3),
        // F1 of the Linux console.
        [b'[', b'[', last, ..] => {
            if *last == b'A' {
                Parsed::Key(Key::Char('?'), 4)
            } else {
                Parsed::Other(4)
            }
        }
        [b'[', sequence @ ..] => {
            let Some(end) = sequence.iter().position(|byte| !(0x20..0x40).contains(byte)) else {
                return if sequence.len() > LONGEST { Parsed::Other(2) } else { Parsed::Incomplete };
            };
            let (parameters, last) = (sequence.get(..end).unwrap_or_default(), sequence.get(end).copied());
            named(last.unwrap_or(0), parameters, end + 3)
        }
        _ => Parsed::Key(Key::Escape, 1),
    }
}

/// Bytes of a sequence that is waited for.
const LONGEST: usize = 32;

/// The key of a sequence that ends with `last`.
fn named(last: u8, parameters: &[u8], length: usize) -> Parsed {
    let key = match (last, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"3") => Key::Delete,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        (b'P', b"") | (b'~', b"11") => Key::Char('?'),
        _ => return Parsed::Other(length),
    };
    Parsed::Key(key, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All keys of `bytes`, and the bytes that wait for more.
    fn keys(mut bytes: &[u8], is_over: bool) -> (Vec<Key>, usize) {
        let mut keys = Vec::new();
        while !bytes.is_empty() {
            let length = match first_key(bytes, is_over) {
                Parsed::Key(key, length) => {
                    keys.push(key);
                    length
                }
                Parsed::Other(length) => length,
                Parsed::Incomplete => break,
            };
            assert!(length > 0);
            bytes = bytes.get(length..).unwrap_or_default();
        }
        (keys, bytes.len())
    }

    #[test]
    fn keys_are_read_from_the_sequences_of_several_terminals() {
        let all = b"\x1b[A\x1bOB\x1b[1;5C\x1b[D\x1b[H\x1b[4~\x1b[5~\x1b[6~\x1b[3~\x1bOP\x1b[[A\x1b[11~";
        let expected = [
            Key::Up,
            Key::Down,
            Key::Right,
            Key::Left,
            Key::Home,
            Key::End,
            Key::PageUp,
            Key::PageDown,
            Key::Delete,
            Key::Char('?'),
            Key::Char('?'),
            Key::Char('?'),
        ];
        assert_eq!(keys(all, false), (expected.to_vec(), 0));
        let plain =
            [Key::Char('a'), Key::Char('ä'), Key::Enter, Key::Tab, Key::Backspace, Key::Ctrl('c'), Key::Ctrl('z')];
        assert_eq!(keys("aä\r\t\x7f\x03\x1a".as_bytes(), false), (plain.to_vec(), 0));
    }

    #[test]
    fn an_escape_is_a_key_when_nothing_follows_at_once() {
        assert_eq!(keys(b"\x1b", false), (vec![], 1));
        assert_eq!(keys(b"\x1b", true), (vec![Key::Escape], 0));
        assert_eq!(keys(b"\x1b[", false), (vec![], 2));
        assert_eq!(keys(b"\x1b[1;", true), (vec![Key::Escape, Key::Char('['), Key::Char('1'), Key::Char(';')], 0));
        assert_eq!(keys(b"\x1bq", false), (vec![Key::Escape, Key::Char('q')], 0));
    }

    #[test]
    fn what_is_no_key_is_left_out_and_nothing_waits_for_ever() {
        assert_eq!(keys(b"\x1b[200~x\x1b[[Zy\xff\xc3(\x00z", true).0.last(), Some(&Key::Char('z')));
        let endless = [&b"\x1b["[..], &[b'1'; 40]].concat();
        assert_eq!(keys(&endless, false).1, 0);
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                assert_eq!(keys(&[first, second], true).1, 0);
                keys(&[ESCAPE, first, second], true);
            }
        }
    }
}
