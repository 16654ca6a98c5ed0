//! The values of a JSON object, with their keys and places. Strings are not unescaped: what names an entry
//! has no escapes.

use std::ops::Range;

use super::error::Fault;

/// Objects and arrays in each other. ctnl prints three.
const MAX_DEPTH: usize = 8;

/// A value that is no object, with its bytes in the text.
#[derive(Debug, Clone)]
pub(super) struct Value<'a> {
    pub kind: ValueKind<'a>,
    pub span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind<'a> {
    /// A string, between its quotes.
    Text(&'a str),
    /// A number, `true`, `false` or `null`.
    Word(&'a str),
    Array,
}

/// A text that is read from left to right.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// Called with the keys of a value, from the outermost, and the value.
type Visit<'v, 'a> = dyn FnMut(&[&'a str], Value<'a>) -> Result<(), Fault> + 'v;

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    /// Reads the object that is all of the text.
    pub(super) fn read(mut self, visit: &mut Visit<'_, 'a>) -> Result<(), Fault> {
        self.object(&mut Vec::new(), visit)?;
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault("unexpected text after the JSON object")),
        }
    }

    fn object(&mut self, path: &mut Vec<&'a str>, visit: &mut Visit<'_, 'a>) -> Result<(), Fault> {
        self.expect('{')?;
        if self.skip('}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(':')?;
            path.push(key);
            self.value(path, visit)?;
            path.pop();
            if !self.skip(',') {
                return self.expect('}');
            }
        }
    }

    fn value(&mut self, path: &mut Vec<&'a str>, visit: &mut Visit<'_, 'a>) -> Result<(), Fault> {
        let next = self.peek();
        if next == Some('{') && path.len() < MAX_DEPTH {
            return self.object(path, visit);
        }
        let start = self.at;
        let kind = match next {
            Some('"') => ValueKind::Text(self.string()?),
            Some('[') => {
                self.array(path.len())?;
                ValueKind::Array
            }
            _ => ValueKind::Word(self.word()?),
        };
        visit(path, Value { kind, span: start..self.at })
    }

    /// Skips an array.
    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        self.expect('[')?;
        if self.skip(']') {
            return Ok(());
        }
        loop {
            match self.peek() {
                Some('[') if depth < MAX_DEPTH => self.array(depth + 1)?,
                Some('{') if depth < MAX_DEPTH => self.object(&mut vec![""; depth + 1], &mut |_, _| Ok(()))?,
                Some('"') => _ = self.string()?,
                _ => _ = self.word()?,
            }
            if !self.skip(',') {
                return self.expect(']');
            }
        }
    }

    fn string(&mut self) -> Result<&'a str, Fault> {
        let opening = self.at;
        self.expect('"')?;
        let text = self.rest();
        let mut is_escaped = false;
        let is_end = |character: char| {
            let is_end = character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            is_end
        };
        let string = text.find(is_end).and_then(|length| text.get(..length));
        let unclosed = || Fault::new(opening..self.text.len(), "unclosed '\"'");
        let string = string.ok_or_else(unclosed)?;
        self.at += string.len() + 1;
        Ok(string)
    }

    fn word(&mut self) -> Result<&'a str, Fault> {
        let text = self.rest();
        let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '+' | '.');
        let length = text.find(|character| !is_part(character)).unwrap_or(text.len());
        match text.get(..length).filter(|word| !word.is_empty()) {
            Some(word) => {
                self.at += length;
                Ok(word)
            }
            None => Err(self.fault("invalid JSON: expected a value")),
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), Fault> {
        if self.skip(wanted) { Ok(()) } else { Err(self.fault(&format!("invalid JSON: expected '{wanted}'"))) }
    }

    fn skip(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault(&self, message: &str) -> Fault {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        Fault::new(self.at..self.at + length, message)
    }
}
