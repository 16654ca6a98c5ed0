//! A fact about the kernel.

use nix::errno::Errno;

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One of the row's words.
    Word(&'static str),
    /// The kernel's answer to the request.
    Refused(Errno),
    Number(u64),
    Names(Vec<String>),
    /// It could not be probed, and why.
    Unknown(String),
}

/// The word of [`Value::Refused`].
pub const REFUSED: &str = "refused";

impl Value {
    /// The word by which the row and the JSON have it; `None` for a list and for what is
    /// unknown.
    pub fn word(&self) -> Option<String> {
        match self {
            Value::Word(word) => Some((*word).to_owned()),
            Value::Refused(_) => Some(REFUSED.to_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Names(_) | Value::Unknown(_) => None,
        }
    }

    /// The value as text.
    pub fn text(&self) -> String {
        match self {
            Value::Refused(errno) => format!("refused ({errno:?})"),
            Value::Names(names) if names.is_empty() => "none".to_owned(),
            Value::Names(names) => names.join(" "),
            Value::Unknown(_) => "unknown".to_owned(),
            value => value.word().unwrap_or_default().replace('_', " "),
        }
    }
}

/// A fact of this kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub name: &'static str,
    pub title: &'static str,
    pub value: Value,
    pub meaning: String,
}
