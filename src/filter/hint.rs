//! What to write instead of words and notations of other tools.

use crate::field::{FIELDS, Field, Tracker, keywords, state_codes};
use crate::model::protocol_name;
use crate::text::nearest;
use crate::units::Seconds;

/// Words of tcpdump(8), nft(8), iptables(8) and ss(8), with the field or keyword that corresponds to them.
const FOREIGN: [(&str, &str); 17] = [
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
    ("icmp6", "icmpv6"),
    ("related", "expected"),
    ("new", "unreplied"),
];

/// Words for the network interface of a packet.
const INTERFACE: [&str; 9] = ["interface", "iface", "dev", "device", "iif", "oif", "iifname", "oifname", "intf"];

/// Words for the process or the user of a socket.
const OWNER: [&str; 13] =
    ["pid", "process", "comm", "progname", "user", "uid", "gid", "group", "owner", "cgroup", "skuid", "skgid", "inode"];

/// Words for the expectations, a table of their own.
const EXPECTATIONS: [&str; 4] = ["expect", "expects", "expectation", "expectations"];

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
    if let Some(hint) = for_state(word) {
        return Some(hint);
    }
    let names = FIELDS.iter().flat_map(|field| [field.name].into_iter().chain(field.aliases.iter().copied()));
    let near = nearest(word, names.chain(keywords().map(|keyword| keyword.name)));
    near.map(|near| format!("did you mean {near}?"))
}

/// What to write instead of the name of a state without its field.
fn for_state(word: &str) -> Option<String> {
    if let Some(hint) = for_foreign_state(word) {
        return Some(if state_codes(hint).is_empty() { hint.to_owned() } else { format!("state {hint}") });
    }
    let codes = state_codes(word);
    let first = codes.first().filter(|_| !word.bytes().all(|byte| byte.is_ascii_digit()))?;
    let trackers = || codes.iter().filter_map(|code| Tracker::of_code(*code));
    if trackers().any(|tracker| tracker == Tracker::Tcp) {
        return Some(format!("state {word}"));
    }
    let protocol = Tracker::of_code(*first).and_then(|tracker| protocol_name(tracker.protocol()))?;
    Some(format!("{protocol} and state {word}"))
}

/// What states of other programs correspond to: those of rules (`ct state` of nft(8)) and of sockets (ss(8)).
pub(super) fn for_foreign_state(word: &str) -> Option<&'static str> {
    Some(match &*word.to_ascii_lowercase().replace('_', "-") {
        "new" => "a state of rules, which match packets; entries have: unreplied, or state syn_sent",
        "related" => "a state of rules, which match packets; entries have: expected",
        "invalid" | "untracked" => "a state of rules: such packets have no entry",
        "estab" => "established",
        "fin-wait-1" | "fin-wait-2" | "fin-wait1" | "fin-wait2" => "fin_wait",
        "listen" | "listening" => "sockets that listen have no entry",
        _ => return None,
    })
}

/// What to write instead of a word, in lower case, of another tool or of an option.
fn for_foreign(word: &str) -> Option<String> {
    if word == "older" {
        return Some("idle >= 12h".to_owned());
    }
    if INTERFACE.contains(&word) {
        return Some("conntrack entries have no interface; use addresses, zone or mark".to_owned());
    }
    if OWNER.contains(&word) {
        return Some("conntrack entries have no process and no user".to_owned());
    }
    if EXPECTATIONS.contains(&word) {
        return Some(
            "expectations are not entries: events --expect has them; entries that were expected: expected".into(),
        );
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

/// What to write instead of `not` or `!` before values, which are `list`.
pub(super) fn for_negated_values(field: &Field, list: &str) -> String {
    format!("not {0} {list}, or --{0} '!={list}'", field.name)
}
