//! What to write instead of words and notations of other tools.

use super::token::{Sign, Token};
use crate::field::{FIELDS, Field, keywords, state_codes};
use crate::text::nearest;
use crate::units::Seconds;

/// Words of tcpdump(8), nft(8), iptables(8) and ss(8), with the field or keyword that corresponds to them.
const FOREIGN: [(&str, &str); 16] = [
    ("host", "addr"),
    ("net", "addr"),
    ("ip", "addr"),
    ("ip6", "addr"),
    ("address", "addr"),
    ("saddr", "src"),
    ("daddr", "dst"),
    ("source-port", "sport"),
    ("destination-port", "dport"),
    ("l4proto", "proto"),
    ("connmark", "mark"),
    ("ctmark", "mark"),
    ("ctstate", "state or status"),
    ("connlabel", "label"),
    ("related", "expected"),
    ("new", "unreplied"),
];

/// Words for the network interface of a packet.
const INTERFACE: [&str; 9] = ["interface", "iface", "dev", "device", "iif", "oif", "iifname", "oifname", "intf"];

/// What to write instead of the opposite of a word, in tools that have one: a suggestion of the word itself
/// would turn the meaning around.
pub(super) fn for_opposite<'a>(word: &str, mut known: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_ascii_lowercase().replace('_', "-");
    if lower == "replied" {
        return Some("did you mean seen-reply?".to_owned());
    }
    let positive = ["un", "non-", "non", "no-", "not-"].into_iter().find_map(|prefix| lower.strip_prefix(prefix))?;
    known.any(|known| known == positive).then(|| format!("did you mean not {positive}?"))
}

/// What to write instead of a word that is neither a field nor a keyword.
pub(super) fn for_unknown(word: &str) -> Option<String> {
    let opposite = for_opposite(word, keywords().map(|keyword| keyword.name));
    if let Some(hint) = opposite.or_else(|| for_foreign(&word.to_ascii_lowercase())) {
        return Some(hint);
    }
    if word.contains([':', '.', '/']) {
        return Some(format!("src {word}, dst {word} or addr {word}"));
    }
    if is_duration(word) {
        return Some(for_duration(word));
    }
    if !state_codes(word).is_empty() && !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(format!("state {word}"));
    }
    let names = FIELDS.iter().flat_map(|field| [field.name].into_iter().chain(field.aliases.iter().copied()));
    let near = nearest(word, names.chain(keywords().map(|keyword| keyword.name)));
    near.map(|near| format!("did you mean {near}?"))
}

/// What to write instead of a word, in lower case, of another tool or of an option.
fn for_foreign(word: &str) -> Option<String> {
    if word == "older" {
        return Some("idle >= 12h".to_owned());
    }
    if INTERFACE.contains(&word) {
        return Some("conntrack entries have no interface; use addresses, zone or mark".to_owned());
    }
    if matches!(word, "ct" | "meta") {
        return Some(format!("a field without '{word}': state established, mark 1, zone 5"));
    }
    let known = FOREIGN.iter().find(|(foreign, _)| *foreign == word);
    known.map(|(_, known)| format!("did you mean {known}?"))
}

/// What to write instead of a word where `and` or `or` is expected.
pub(super) fn for_not_joined(word: &str) -> Option<String> {
    is_duration(word).then(|| for_duration(word))
}

/// Whether a word is a time with its unit.
fn is_duration(word: &str) -> bool {
    word.ends_with(|c: char| c.is_ascii_alphabetic()) && word.parse::<Seconds>().is_ok()
}

fn for_duration(word: &str) -> String {
    format!("a time belongs to a field or an option: idle >= {word}, --older {word}, --soft={word}")
}

/// What to write instead of `not` or `!` before a value.
pub(super) fn for_negated_value(field: &Field, value: Token<'_>) -> Option<String> {
    let text = match value.sign {
        Sign::Word(word) => word.to_owned(),
        Sign::Quoted(word) => format!("\"{word}\""),
        Sign::File(path) => format!("@{path}"),
        _ => return None,
    };
    Some(format!("not {0} {text}, or --{0} '!={text}'", field.name))
}
