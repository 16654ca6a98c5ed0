//! The grammar.
//!
//! ```text
//! any      all (or all)*                    also ||
//! all      part (and part)*                 also &&
//! part     not part | ( any ) | term        also !
//! term     WORD | FIELD [=|==|!=] values | FIELD <|<=|>|>= value
//! values   value (, value)* | { value (, value)* }
//! value    word | "word" | @FILE
//! ```

use std::io;

use super::error::{Origin, ParseError, Source, TextSpan};
use super::node::Node;
use super::services::ServiceNames;
use super::term::{Term, Test};
use super::token::{Op, Sign, Token, tokens};
use super::value::Values;
use crate::field::{FIELDS, Field, ValueKind, field, keyword, keywords, state_codes};
use crate::text::nearest;

/// What an expression may refer to.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Names of ports.
    pub services: &'a ServiceNames,
    /// The number of the label of a name.
    pub label: &'a dyn Fn(&str) -> Option<u8>,
    /// The contents of the file of a path, for `@FILE`.
    pub read_file: &'a dyn Fn(&str) -> io::Result<String>,
}

static NO_SERVICES: ServiceNames = ServiceNames::NONE;

/// No names of ports or labels, and no files: an expression cannot make the process read any.
/// For files, set `read_file` to `&|path| std::fs::read_to_string(path)`.
impl Default for Context<'_> {
    fn default() -> Self {
        Context { services: &NO_SERVICES, label: &|_| None, read_file: &|_| Err(refused()) }
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "files are not read here")
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// Brackets and negations within each other: more than anyone writes, and few
/// enough for any stack.
const MAX_DEPTH: usize = 64;
/// Bytes of an expression.
const MAX_LENGTH: usize = 1 << 20;
/// Most bytes of a file of values: `@FILE`.
pub const MAX_FILE: usize = 64 << 20;

pub(super) struct Parser<'a> {
    source: Source<'a>,
    context: &'a Context<'a>,
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: Source<'a>, context: &'a Context<'a>) -> Result<Self, ParseError> {
        if source.text.len() > MAX_LENGTH {
            let message = format!("expression is longer than {MAX_LENGTH} bytes");
            return Err(source.error(TextSpan::new(0, 0), message).hint("read the values from a file: src @FILE"));
        }
        let tokens = tokens(&source)?;
        Ok(Parser { source, context, tokens, at: 0, depth: 0 })
    }

    /// The whole text as an expression; `None` when it is blank.
    pub(super) fn expression(mut self) -> Result<Option<Node>, ParseError> {
        if self.peek().sign == Sign::End {
            return Ok(None);
        }
        let node = self.any()?;
        self.end(node).map(Some)
    }

    /// The whole text as what may stand behind `field`.
    pub(super) fn value(mut self, field: &'static Field) -> Result<Node, ParseError> {
        let start = self.peek().span;
        let node = self.comparison(field, start)?;
        self.end(node)
    }

    /// The whole text as one value, which `field` is compared with by `op`.
    pub(super) fn single(mut self, field: &'static Field, op: Op) -> Result<Node, ParseError> {
        let node = self.ordered(field, op)?;
        self.end(node)
    }

    fn any(&mut self) -> Result<Node, ParseError> {
        let mut parts = vec![self.all()?];
        while self.take(Sign::Or) {
            parts.push(self.all()?);
        }
        Ok(Node::any(parts))
    }

    fn all(&mut self) -> Result<Node, ParseError> {
        let mut parts = vec![self.part()?];
        while self.take(Sign::And) {
            parts.push(self.part()?);
        }
        Ok(Node::all(parts))
    }

    fn part(&mut self) -> Result<Node, ParseError> {
        let token = self.next();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self
                .source
                .error(token.span, format!("more than {MAX_DEPTH} levels of parentheses and negations")));
        }
        let node = match token.sign {
            Sign::Not => Node::not(self.part()?),
            Sign::Open => self.bracket(token)?,
            Sign::Word(name) => self.term(name, token.span)?,
            _ => return Err(self.no_term(token)),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn bracket(&mut self, open: Token<'a>) -> Result<Node, ParseError> {
        let node = self.any()?;
        let token = self.next();
        match token.sign {
            Sign::Close => Ok(node),
            Sign::End => Err(self.source.error(open.span, "unclosed '('")),
            _ => Err(self.no_join(token)),
        }
    }

    fn term(&mut self, name: &str, span: TextSpan) -> Result<Node, ParseError> {
        let lower = name.to_ascii_lowercase();
        if let Some(field) = field(&lower) {
            return self.comparison(field, span);
        }
        let Some(keyword) = keyword(&lower) else {
            return Err(self.unknown(name, span));
        };
        let field = keyword.field.field();
        let mut values = Values::new(field, self.context);
        values.add(keyword.name).map_err(|fault| self.source.fault(span, fault))?;
        Ok(term(field, values.finish()))
    }

    /// What stands behind the name of a field.
    fn comparison(&mut self, field: &'static Field, name: TextSpan) -> Result<Node, ParseError> {
        let token = self.peek();
        let Sign::Op(op) = token.sign else {
            return self.values(field, name, false);
        };
        self.at += 1;
        match op {
            Op::Equal => self.values(field, name, true),
            Op::NotEqual => self.values(field, name, true).map(Node::not),
            _ if field.kind.is_ordered() => self.ordered(field, op),
            _ => Err(self
                .source
                .error(token.span, format!("field '{}' does not support < and >", field.name))
                .hint(field.example)),
        }
    }

    /// One number behind `<`, `<=`, `>` or `>=`.
    fn ordered(&mut self, field: &'static Field, op: Op) -> Result<Node, ParseError> {
        let token = self.next();
        let Sign::Word(word) = token.sign else {
            return Err(self.no_value(field, token));
        };
        let mut values = Values::new(field, self.context);
        values.add(word).map_err(|fault| self.source.fault(token.span, fault))?;
        if values.has_range || values.has_mask() || values.is_several() {
            return Err(self.source.error(token.span, "expected one number").hint(field.example));
        }
        if self.peek().sign == Sign::Comma {
            return Err(self.source.error(self.peek().span, "expected one number, not a list"));
        }
        Ok(term(field, (values.compare(op), Vec::new())))
    }

    /// One or more values, any of which is meant.
    fn values(&mut self, field: &'static Field, name: TextSpan, has_op: bool) -> Result<Node, ParseError> {
        if let Some(node) = self.any_or_none(field) {
            return Ok(node);
        }
        let first = self.peek();
        let mut values = Values::new(field, self.context);
        if self.take(Sign::OpenSet) {
            self.set(first.span, &mut values, field)?;
        } else {
            self.add_value(&mut values, field)?;
            while self.take(Sign::Comma) {
                self.add_value(&mut values, field)?;
            }
        }
        if field.kind == ValueKind::Duration && !has_op && values.count == 1 && !values.has_range {
            let text = self.source.text.get(first.span.start..first.span.end).unwrap_or_default();
            return Err(self
                .source
                .error(name.to(first.span), format!("'{0}' needs a comparison, e.g. {0} >= {text}", field.name))
                .hint(format!("{0} >= {text}, or {0} < {text}", field.name)));
        }
        Ok(term(field, values.finish()))
    }

    /// `any` and `none` behind a field whose values are free words.
    fn any_or_none(&mut self, field: &'static Field) -> Option<Node> {
        let Sign::Word(word) = self.peek().sign else { return None };
        let is_free = matches!(field.kind, ValueKind::Text | ValueKind::Label);
        let presence = term(field, (Test::Present, Vec::new()));
        let node = match &*word.to_ascii_lowercase() {
            "any" if is_free => presence,
            "none" if is_free => Node::not(presence),
            _ => return None,
        };
        self.at += 1;
        Some(node)
    }

    fn set(&mut self, open: TextSpan, values: &mut Values<'_>, field: &'static Field) -> Result<(), ParseError> {
        if self.peek().sign == Sign::CloseSet {
            return Err(self
                .source
                .error(open.to(self.peek().span), "empty set: expected a value")
                .hint(field.example));
        }
        loop {
            self.add_value(values, field)?;
            let token = self.next();
            match token.sign {
                Sign::Comma => {}
                Sign::CloseSet => return Ok(()),
                Sign::End => return Err(self.source.error(open, "unclosed '{'")),
                _ => return Err(self.source.error(token.span, "expected ',' or '}'")),
            }
        }
    }

    fn add_value(&mut self, values: &mut Values<'_>, field: &'static Field) -> Result<(), ParseError> {
        let token = self.next();
        match token.sign {
            Sign::Word(word) if is_reserved(field, word) => {
                let message = format!("'{word}' cannot be in a list");
                Err(self.source.error(token.span, message).hint(format!("for the name, quote it: \"{word}\"")))
            }
            Sign::Word(word) => values.add(word).map_err(|fault| self.source.fault(token.span, fault)),
            Sign::Quoted(word) => values.add(word).map_err(|fault| self.source.fault(token.span, quoted(fault))),
            Sign::File(path) => self.add_file(values, path, token.span),
            _ => Err(self.no_value(field, token)),
        }
    }

    fn add_file(&self, values: &mut Values<'_>, path: &str, span: TextSpan) -> Result<(), ParseError> {
        let read = (self.context.read_file)(path);
        let text = read.map_err(|error| self.source.error(span, format!("cannot read '{path}': {error}")))?;
        if text.len() > MAX_FILE {
            return Err(self.source.error(span, format!("'{path}' is larger than {} MiB", MAX_FILE >> 20)));
        }
        let before = values.count;
        for (line, text) in (1..).zip(text.lines()) {
            let source = Source { text, origin: Origin::File { path: path.into(), line } };
            add_line(values, &source)?;
        }
        if values.count == before {
            return Err(self.source.error(span, format!("'{path}' contains no values, so nothing can match")));
        }
        Ok(())
    }

    fn end(&mut self, node: Node) -> Result<Node, ParseError> {
        let token = self.next();
        if token.sign == Sign::End { Ok(node) } else { Err(self.no_join(token)) }
    }

    fn peek(&self) -> Token<'a> {
        let end = TextSpan::new(self.source.text.len(), self.source.text.len());
        self.tokens.get(self.at).copied().unwrap_or(Token { sign: Sign::End, span: end })
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn take(&mut self, sign: Sign<'_>) -> bool {
        let found = self.peek().sign == sign;
        self.at += usize::from(found);
        found
    }

    #[cold]
    fn no_value(&self, field: &Field, token: Token<'_>) -> ParseError {
        self.source.error(token.span, format!("expected a value of '{}'", field.name)).hint(field.example)
    }

    #[cold]
    fn no_term(&self, token: Token<'_>) -> ParseError {
        let message = match token.sign {
            Sign::End => "unexpected end: expected a term",
            Sign::Close => "unexpected ')': expected a term",
            Sign::Quoted(_) | Sign::File(_) => "expected a field before the value",
            _ => "expected a term",
        };
        self.source.error(token.span, message).hint("e.g. tcp, assured, dport 443, src 10.0.0.0/8, idle >= 12h")
    }

    #[cold]
    fn no_join(&self, token: Token<'_>) -> ParseError {
        match token.sign {
            Sign::Close => self.source.error(token.span, "unmatched ')'"),
            Sign::CloseSet => self.source.error(token.span, "unmatched '}'"),
            Sign::Comma => self.source.error(token.span, "expected a field before the list"),
            _ => self.source.error(token.span, "expected 'and' or 'or'").hint("join terms by 'and' or 'or'"),
        }
    }

    #[cold]
    fn unknown(&self, name: &str, span: TextSpan) -> ParseError {
        let names = FIELDS.iter().flat_map(|field| [field.name].into_iter().chain(field.aliases.iter().copied()));
        let near = nearest(name, names.chain(keywords().map(|keyword| keyword.name)));
        let hint = if name == "older" {
            Some("idle >= 12h".to_owned())
        } else if name.contains([':', '.', '/']) {
            Some(format!("src {name}, dst {name} or addr {name}"))
        } else if !state_codes(name).is_empty() && !name.bytes().all(|byte| byte.is_ascii_digit()) {
            Some(format!("state {name}"))
        } else {
            near.map(|near| format!("did you mean {near}?"))
        };
        let error = self.source.error(span, format!("unknown field '{name}'"));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

fn term(field: &'static Field, (test, words): (Test, Vec<Box<str>>)) -> Node {
    Node::Term(Term { field, test, words, index: 0 })
}

fn is_reserved(field: &Field, word: &str) -> bool {
    matches!(field.kind, ValueKind::Text | ValueKind::Label)
        && (word.eq_ignore_ascii_case("any") || word.eq_ignore_ascii_case("none"))
}

/// A fault in a word that has a quotation mark before it.
fn quoted(error: super::error::ValueError) -> super::error::ValueError {
    if error.part.is_some() { error.shift(1, 0) } else { error }
}

/// Values of one line of a file, up to a `#`.
fn add_line(values: &mut Values<'_>, source: &Source<'_>) -> Result<(), ParseError> {
    let text = source.text.split('#').next().unwrap_or_default();
    let mut at = 0;
    for word in text.split(|c: char| c.is_whitespace() || c == ',') {
        let span = TextSpan::new(at, at + word.len());
        if !word.is_empty() {
            values.add(word).map_err(|fault| source.fault(span, fault))?;
        }
        // Separators are of one byte, or of more: the next word begins behind this one's.
        at = span.end + text.get(span.end..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    }
    Ok(())
}
