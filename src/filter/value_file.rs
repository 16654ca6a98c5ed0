//! Files of values: `@FILE`.
//!
//! One or more values on each line, separated by blanks or commas; `#` and `;` begin a comment. What
//! lists from other systems have is accepted: a byte order mark, line ends of any system, comments in any
//! encoding.

use super::error::{Origin, ParseError, Source, TextSpan, ValueError};
use super::value::Values;

/// Adds the values of a file; returns an error with the line of the first one that is not valid.
pub(super) fn add_values(values: &mut Values<'_>, path: &str, bytes: &[u8]) -> Result<(), ParseError> {
    for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let text = String::from_utf8_lossy(bytes);
        let source = || Source { text: &text, origin: Origin::File { path: path.into(), line } };
        // A line end of old Macintosh files ends a comment, too.
        for word in text.split('\r').flat_map(words) {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            let span = TextSpan::new(start, start + word.len());
            if word.contains(char::REPLACEMENT_CHARACTER) {
                return Err(source().value_error(span, not_utf8(bytes)));
            }
            values.add_at(word, span, source)?;
        }
    }
    Ok(())
}

/// The values of a line, without its comment and byte order mark.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_start_matches('\u{feff}');
    let values = line.split(['#', ';']).next().unwrap_or_default();
    values.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
}

#[cold]
fn not_utf8(line: &[u8]) -> ValueError {
    let error = ValueError::new("invalid value: not UTF-8");
    let is_utf16 = line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff]);
    if is_utf16 { error.hint("the file is UTF-16: convert it with iconv -f UTF-16 -t UTF-8") } else { error }
}
