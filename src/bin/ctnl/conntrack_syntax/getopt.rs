//! Arguments as getopt_long(3) of glibc splits them: options before and after operands, clusters of short
//! options, attached values, long options by an unambiguous beginning.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::error::SyntaxError;

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    None,
    Required,
    /// Only when attached (`--name=VALUE`); the next word is [`Getopt::optional_word`].
    Optional,
}

/// A long option. Two names of one option have the same code.
#[derive(Debug, Clone, Copy)]
pub struct LongOption {
    pub name: &'static str,
    pub value: Value,
    pub code: u16,
}

/// An option that was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    pub code: u16,
    pub value: Option<OsString>,
}

/// The state of getopt_long(3).
pub struct Getopt<'a> {
    words: Vec<&'a OsStr>,
    /// `optind`, from 0: the next word.
    next: usize,
    /// The rest of a cluster of short options.
    cluster: &'a [u8],
    /// The operands that were skipped, and are moved behind the options that follow.
    operands: std::ops::Range<usize>,
}

impl<'a> Getopt<'a> {
    /// `arguments` without the name of the program.
    pub fn new(arguments: impl IntoIterator<Item = &'a OsStr>) -> Self {
        Getopt { words: arguments.into_iter().collect(), next: 0, cluster: &[], operands: 0..0 }
    }

    /// The next option; `None` at the end. What is not an option is skipped.
    pub fn next_option(
        &mut self,
        short: impl Fn(u8) -> Option<Value>,
        long: &[LongOption],
    ) -> Result<Option<Given>, SyntaxError> {
        if self.cluster.is_empty() {
            let Some(word) = self.next_option_word() else { return Ok(None) };
            match word {
                [b'-', b'-', name @ ..] => return self.long_option(name, long).map(Some),
                [_, letters @ ..] => self.cluster = letters,
                [] => return Ok(None),
            }
        }
        self.short_option(short).map(Some)
    }

    /// The word that follows, as the value of an option: unless it begins with `-` or `!`.
    pub fn optional_word(&mut self) -> Option<OsString> {
        let word = self.words.get(self.next)?;
        if matches!(word.as_bytes().first(), Some(b'-' | b'!')) {
            return None;
        }
        self.next += 1;
        Some(OsString::from(word))
    }

    /// The first operand, once there are no more options: what begins with `#` is a comment of a line.
    pub fn operand(&self) -> Option<&'a OsStr> {
        let operands = self.words.get(self.operands.clone()).unwrap_or_default();
        operands.iter().copied().find(|word| *word != "--").filter(|word| !word.as_bytes().starts_with(b"#"))
    }

    /// Skips operands, and `--` with all that follows it.
    fn next_option_word(&mut self) -> Option<&'a [u8]> {
        self.operands = self.operands.start.min(self.next)..self.operands.end.min(self.next);
        self.move_operands();
        while self.words.get(self.next).is_some_and(|word| !is_option(word)) {
            self.next += 1;
        }
        self.operands.end = self.next;
        let word = self.words.get(self.next)?.as_bytes();
        if word == b"--" {
            self.next = self.words.len();
            self.operands.end = self.next;
            return None;
        }
        Some(word)
    }

    /// Moves the operands that were skipped behind the options that were read after them.
    fn move_operands(&mut self) {
        let (first, last) = (self.operands.start, self.operands.end);
        if first == last || last == self.next {
            if last != self.next {
                self.operands.start = self.next;
            }
            return;
        }
        if let Some(words) = self.words.get_mut(first..self.next) {
            words.rotate_left(last - first);
        }
        self.operands = first + (self.next - last)..self.next;
    }

    fn short_option(&mut self, short: impl Fn(u8) -> Option<Value>) -> Result<Given, SyntaxError> {
        let Some((&letter, rest)) = self.cluster.split_first() else { return Err(unknown(OsStr::new("-"))) };
        let word = self.words.get(self.next).copied().unwrap_or_default();
        self.cluster = rest;
        if rest.is_empty() {
            self.next += 1;
        }
        let value = match short(letter).ok_or_else(|| unknown(word))? {
            Value::None => return Ok(Given { code: u16::from(letter), value: None }),
            Value::Optional if rest.is_empty() => None,
            Value::Required if rest.is_empty() => Some(self.required_word(word)?),
            Value::Optional | Value::Required => {
                self.next += 1;
                Some(OsString::from_vec(rest.to_vec()))
            }
        };
        self.cluster = &[];
        Ok(Given { code: u16::from(letter), value })
    }

    fn long_option(&mut self, text: &'a [u8], long: &[LongOption]) -> Result<Given, SyntaxError> {
        let word = self.words.get(self.next).copied().unwrap_or_default();
        self.next += 1;
        let equals = text.iter().position(|byte| *byte == b'=');
        let name = equals.and_then(|at| text.get(..at)).unwrap_or(text);
        let attached = equals.and_then(|at| text.get(at + 1..)).map(|value| OsString::from_vec(value.to_vec()));
        let option = find(name, word, long)?;
        let value = match (option.value, attached) {
            (Value::None, Some(_)) => {
                return Err(SyntaxError::usage(format!("option '{}' takes no value", word.display())));
            }
            (Value::Required, None) => Some(self.required_word(word)?),
            (_, attached) => attached,
        };
        Ok(Given { code: option.code, value })
    }

    fn required_word(&mut self, option: &OsStr) -> Result<OsString, SyntaxError> {
        let word = self.words.get(self.next);
        let word = word.ok_or_else(|| SyntaxError::usage(format!("option '{}' needs a value", option.display())))?;
        self.next += 1;
        Ok(OsString::from(word))
    }
}

/// `-` alone is an operand.
fn is_option(word: &OsStr) -> bool {
    matches!(word.as_bytes(), [b'-', _, ..])
}

fn unknown(word: &OsStr) -> SyntaxError {
    SyntaxError::usage(format!("unknown option '{}'", word.display()))
}

/// The option of that name, or the only one whose name begins so.
fn find(name: &[u8], word: &OsStr, long: &[LongOption]) -> Result<LongOption, SyntaxError> {
    if let Some(option) = long.iter().find(|option| option.name.as_bytes() == name) {
        return Ok(*option);
    }
    let mut candidates = long.iter().filter(|option| option.name.as_bytes().starts_with(name));
    let Some(first) = candidates.next() else { return Err(unknown(word)) };
    match candidates.find(|other| (other.code, other.value) != (first.code, first.value)) {
        None => Ok(*first),
        Some(other) => Err(SyntaxError::usage(format!(
            "ambiguous option '{}': it may be --{} or --{}",
            word.display(),
            first.name,
            other.name
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const LONG: &[LongOption] = &[
        LongOption { name: "value", value: Value::Required, code: 118 },
        LongOption { name: "vales", value: Value::Required, code: 118 },
        LongOption { name: "optional", value: Value::Optional, code: 111 },
        LongOption { name: "flag", value: Value::None, code: 102 },
        LongOption { name: "flagship", value: Value::None, code: 115 },
    ];

    fn short(letter: u8) -> Option<Value> {
        match letter {
            b'v' => Some(Value::Required),
            b'o' => Some(Value::Optional),
            b'f' | b's' => Some(Value::None),
            _ => None,
        }
    }

    /// The options of `line` as `f`, `v=VALUE`; `o` is followed by the word that it takes.
    fn read(line: &str) -> Result<Vec<String>, String> {
        let words: Vec<&OsStr> = line.split(' ').map(OsStr::new).collect();
        let (mut getopt, mut options) = (Getopt::new(words), Vec::new());
        while let Some(given) = getopt.next_option(short, LONG).map_err(|error| error.to_string())? {
            let letter = char::from_u32(u32::from(given.code)).unwrap();
            let value = given.value.or_else(|| if letter == 'o' { getopt.optional_word() } else { None });
            options.push(value.map_or(letter.to_string(), |value| format!("{letter}={}", value.display())));
        }
        Ok(options)
    }

    fn options(line: &str) -> Vec<String> {
        read(line).unwrap()
    }

    #[test]
    fn short_options_are_clustered_and_their_values_attached_or_apart() {
        assert_eq!(options("-fs -v 1"), ["f", "s", "v=1"]);
        assert_eq!(options("-fv1"), ["f", "v=1"]);
        assert_eq!(options("-fv 1 -f"), ["f", "v=1", "f"]);
        assert_eq!(options("-v -f"), ["v=-f"]);
        assert_eq!(options("-v -- -f"), ["v=--", "f"]);
    }

    #[test]
    fn long_options_are_abbreviated_as_long_as_one_is_meant() {
        assert_eq!(options("--value=1 --va 2 --val=3 --value ="), ["v=1", "v=2", "v=3", "v=="]);
        assert_eq!(options("--flag --flags"), ["f", "s"]);
        assert!(read("--fla").unwrap_err().contains("--flag or --flagship"));
        assert!(read("--x").unwrap_err().contains("unknown option '--x'"));
        assert!(read("--flag=1").unwrap_err().contains("takes no value"));
        assert!(read("--value").unwrap_err().contains("needs a value"));
        assert!(read("--=1").unwrap_err().contains("ambiguous"));
    }

    #[test]
    fn operands_are_skipped_and_two_dashes_end_the_options() {
        assert_eq!(options("a -f b - --flag c"), ["f", "f"]);
        assert_eq!(options("a -f -- -s"), ["f"]);
        assert_eq!(options(""), [""; 0]);
    }

    #[test]
    fn an_optional_value_is_attached_or_the_next_word() {
        assert_eq!(options("-o a -f"), ["o=a", "f"]);
        assert_eq!(options("-o -f"), ["o", "f"]);
        assert_eq!(options("-o !a -f"), ["o", "f"]);
        assert_eq!(options("-oa b"), ["o=a"]);
        assert_eq!(options("--optional=a b"), ["o=a"]);
        assert_eq!(options("--opt b -v1"), ["o=b", "v=1"]);
    }

    #[test]
    fn an_operand_before_an_option_is_not_its_value() {
        assert_eq!(options("a b -f -o c -s"), ["f", "o=c", "s"]);
        assert_eq!(options("a -f b -o"), ["f", "o"]);
        assert_eq!(options("a -o"), ["o"]);
    }
}
