//! The tokens of an expression.

use super::error::{ParseError, Source, TextSpan};
use super::mask_notation;

/// Comparison operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign<'a> {
    Open,
    Close,
    OpenSet,
    CloseSet,
    Comma,
    And,
    Or,
    Not,
    Op(Op),
    Word(&'a str),
    /// A word in quotes: never a keyword.
    Quoted(&'a str),
    /// `@FILE`
    File(&'a str),
    End,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub sign: Sign<'a>,
    pub span: TextSpan,
}

/// The signs of one or two characters, longest first.
const SIGNS: [(&str, Sign<'_>); 15] = [
    ("&&", Sign::And),
    ("||", Sign::Or),
    ("==", Sign::Op(Op::Equal)),
    ("!=", Sign::Op(Op::NotEqual)),
    ("<=", Sign::Op(Op::LessEqual)),
    (">=", Sign::Op(Op::GreaterEqual)),
    ("=", Sign::Op(Op::Equal)),
    ("<", Sign::Op(Op::Less)),
    (">", Sign::Op(Op::Greater)),
    ("!", Sign::Not),
    ("(", Sign::Open),
    (")", Sign::Close),
    ("{", Sign::OpenSet),
    ("}", Sign::CloseSet),
    (",", Sign::Comma),
];

/// Whether `c` ends a word.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '{' | '}' | ',' | '!' | '=' | '<' | '>' | '&' | '|' | '"' | '\0')
}

/// The tokens of a text; the last one is [`Sign::End`].
pub(super) fn tokens<'a>(source: &Source<'a>) -> Result<Vec<Token<'a>>, ParseError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.text.get(at..).filter(|rest| !rest.is_empty()) {
        let blank = rest.len() - rest.trim_start().len();
        if blank > 0 {
            at += blank;
            continue;
        }
        let token = next(source, rest, at)?;
        at = token.span.end;
        tokens.push(token);
    }
    tokens.push(Token { sign: Sign::End, span: TextSpan::new(source.text.len(), source.text.len()) });
    Ok(tokens)
}

fn next<'a>(source: &Source<'a>, rest: &'a str, at: usize) -> Result<Token<'a>, ParseError> {
    if let Some(file) = rest.strip_prefix('@') {
        return file_name(source, file, at);
    }
    if rest.starts_with('"') {
        let (text, end) = quoted(source, rest, at)?;
        return Ok(Token { sign: Sign::Quoted(text), span: TextSpan::new(at, end) });
    }
    if let Some((text, sign)) = SIGNS.iter().find(|(text, _)| rest.starts_with(text)) {
        return Ok(Token { sign: *sign, span: TextSpan::new(at, at + text.len()) });
    }
    let word = rest.split(ends_word).next().unwrap_or_default();
    let span = TextSpan::new(at, at + word.len());
    let sign = match word {
        "" => return Err(stray(source, rest, at)),
        word if word.eq_ignore_ascii_case("and") => Sign::And,
        word if word.eq_ignore_ascii_case("or") => Sign::Or,
        word if word.eq_ignore_ascii_case("not") => Sign::Not,
        word => Sign::Word(word),
    };
    Ok(Token { sign, span })
}

fn file_name<'a>(source: &Source<'a>, rest: &'a str, at: usize) -> Result<Token<'a>, ParseError> {
    let (path, end) = if rest.starts_with('"') {
        quoted(source, rest, at + 1)?
    } else {
        let path = rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | ')' | '}')).next().unwrap_or_default();
        (path, at + 1 + path.len())
    };
    let span = TextSpan::new(at, end);
    if path.is_empty() {
        return Err(source.error(span, "expected the name of a file after '@'").hint("src @blocked.txt"));
    }
    Ok(Token { sign: Sign::File(path), span })
}

fn quoted<'a>(source: &Source<'a>, rest: &'a str, at: usize) -> Result<(&'a str, usize), ParseError> {
    let inner = rest.get(1..).unwrap_or_default();
    match inner.split_once('"') {
        Some((text, _)) => Ok((text, at + 1 + text.len() + 1)),
        None => Err(source.error(TextSpan::new(at, at + 1), "unclosed '\"'")),
    }
}

#[cold]
fn stray(source: &Source<'_>, rest: &str, at: usize) -> ParseError {
    let c = rest.chars().next().unwrap_or(' ');
    let error = source.error(TextSpan::new(at, at + c.len_utf8()), format!("unexpected character {c:?}"));
    match c {
        '&' => match mask_notation::as_term(source.text) {
            Some(term) => error.hint(term),
            None => error.hint("'and' or '&&'"),
        },
        '|' => error.hint("'or' or '||'"),
        _ => error,
    }
}
