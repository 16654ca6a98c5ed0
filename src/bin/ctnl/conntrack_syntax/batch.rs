//! The lines of `-R`: each is a command line, without the name of the program.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::error::SyntaxError;
use super::parse::parse_request;
use super::protocols::ProtocolNames;
use super::request::{Command, Request, Table};
use super::saved_line;

/// Words of a line, the name of the program not among them.
const MAX_WORDS: usize = 253;
/// Bytes of a word.
const MAX_WORD: usize = 1023;
/// Bytes of a line. conntrack(8) takes what follows for another line.
pub const MAX_LINE: usize = 10_238;

/// Parses a line, with or without its line feed. `None`: an empty line, or a comment.
///
/// # Errors
/// As for arguments, and for a command that changes no entry: it has no place in a file.
pub fn parse_line(line: &[u8], names: &dyn ProtocolNames) -> Result<Option<Request>, SyntaxError> {
    let (line, is_whole) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
    let start = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line = line.get(start..).unwrap_or_default();
    if line.starts_with(b"#") || line.is_empty() && is_whole {
        return Ok(None);
    }
    if let Some(request) = saved(line) {
        return Ok(Some(request));
    }
    let words = split(line)?;
    let request = parse_request(words.iter().map(OsString::as_os_str), names)?;
    match request.command {
        // The beginning of such a line selects more than the whole one.
        Command::Update | Command::Delete(_) | Command::Flush(_) if !is_whole => {
            Err(SyntaxError::stricter("the last line has no line feed: the file may be cut short"))
        }
        Command::Create(Table::Conntrack)
        | Command::Add
        | Command::Update
        | Command::Delete(Table::Conntrack)
        | Command::Flush(Table::Conntrack) => Ok(Some(request)),
        _ => Err(SyntaxError::usage("a file of --load-file may have -I, -A, -U, -D and -F of conntrack entries only")),
    }
}

/// Whether a line, with or without its line feed, is one that `-o save` writes for TCP or UDP: it can be run.
pub fn is_saved_line(line: &[u8]) -> bool {
    saved(line.strip_suffix(b"\n").unwrap_or(line)).is_some()
}

/// Its words are shorter than the longest that is accepted.
fn saved(line: &[u8]) -> Option<Request> {
    saved_line::parse(line).filter(|_| line.len() <= MAX_WORD)
}

/// The words of a line: between white space, or in double quotes, where a backslash escapes.
fn split(line: &[u8]) -> Result<Vec<OsString>, SyntaxError> {
    if line.len() > MAX_LINE {
        return Err(SyntaxError::stricter(format!("a line has more than {MAX_LINE} bytes")));
    }
    if line.contains(&0) {
        return Err(SyntaxError::stricter("a line has a NUL byte"));
    }
    let mut words = Words::default();
    let (mut is_quoted, mut is_escaped) = (false, false);
    for &byte in line {
        match byte {
            _ if is_escaped => {
                is_escaped = false;
                words.push(byte)?;
            }
            b'\\' if is_quoted => is_escaped = true,
            b'"' if is_quoted => {
                // The end of quotes is the end of the word.
                is_quoted = false;
                words.end()?;
            }
            b'"' => is_quoted = true,
            b' ' | b'\t' if !is_quoted && words.word.is_empty() => {}
            b' ' | b'\t' if !is_quoted => words.end()?,
            byte => words.push(byte)?,
        }
    }
    if is_quoted {
        return Err(SyntaxError::stricter("unclosed '\"'"));
    }
    if !words.word.is_empty() {
        words.end()?;
    }
    Ok(words.words)
}

#[derive(Default)]
struct Words {
    words: Vec<OsString>,
    word: Vec<u8>,
}

impl Words {
    fn push(&mut self, byte: u8) -> Result<(), SyntaxError> {
        self.word.push(byte);
        if self.word.len() > MAX_WORD {
            return Err(SyntaxError::usage(format!("a word has more than {MAX_WORD} bytes")));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        if self.words.len() >= MAX_WORDS {
            return Err(SyntaxError::usage(format!("a line has more than {MAX_WORDS} words")));
        }
        self.words.push(OsString::from_vec(std::mem::take(&mut self.word)));
        Ok(())
    }
}
