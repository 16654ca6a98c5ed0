//! The statements of a rule: those that are known, and what one has.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::iptables::{may_act, use_of_match, use_of_target};
use super::super::model::{NatKind, Use};
use super::text;

/// The statements of nft that are known. `ct …` are matched by their first word.
pub const STATEMENTS: &[&str] = &[
    "match",
    "counter",
    "accept",
    "drop",
    "continue",
    "return",
    "jump",
    "goto",
    "mangle",
    "quota",
    "limit",
    "fwd",
    "notrack",
    "dup",
    "snat",
    "dnat",
    "masquerade",
    "redirect",
    "reject",
    "set",
    "map",
    "log",
    "queue",
    "vmap",
    "meter",
    "xt",
    "flow",
    "tproxy",
    "synproxy",
    "last",
    "secmark",
    "reset",
    "tunnel",
    "ct",
    "comment",
];
/// Those that only compare, count, log and accept. The verdicts of `vmap` are searched for.
pub const HARMLESS: &[&str] = &[
    "match", "counter", "accept", "continue", "return", "jump", "goto", "log", "last", "notrack", "comment", "vmap",
    "quota", "limit", "ct count", "meter", "xt",
];

/// What a statement has.
#[derive(Debug, Default)]
pub struct Found {
    /// What it uses of connection tracking.
    pub uses: BTreeSet<Use>,
    /// It does more with a packet than to compare, count and accept it.
    pub acts: bool,
    /// It has a part of iptables that nft does not print.
    pub is_opaque: bool,
    /// NAT of iptables, of which nft does not print where it leads to.
    pub opaque_nat: Vec<NatKind>,
}

impl Found {
    /// Searches a statement or expression and all its parts.
    pub fn search(&mut self, value: &Value, depth: u32) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.search(value, depth)),
            Value::Object(parts) => {
                for (name, content) in parts {
                    self.part(name, content);
                    self.search(content, depth);
                }
            }
            _ => {}
        }
    }

    fn part(&mut self, name: &str, content: &Value) {
        match name {
            "ct" => drop(self.uses.insert(Use::Connection)),
            "ct count" => drop(self.uses.insert(Use::Limit)),
            "ct helper" | "ct timeout" | "ct expectation" => drop(self.uses.insert(Use::Assignment)),
            "snat" | "dnat" | "masquerade" | "redirect" => drop(self.uses.insert(Use::Nat)),
            "flow" => drop(self.uses.insert(Use::Flowtable)),
            "synproxy" => drop(self.uses.insert(Use::Synproxy)),
            "notrack" => drop(self.uses.insert(Use::Notrack)),
            "drop" | "reject" | "queue" | "fwd" | "tproxy" => self.acts = true,
            // The verdicts of a map that has a name are its elements.
            "vmap" => self.acts |= content.get("data").is_some_and(Value::is_string),
            "xt" => self.extension(content),
            _ => {}
        }
    }

    /// A match or target of iptables. nft before 1.0.3 does not print its name.
    fn extension(&mut self, content: &Value) {
        let name = text(content, "name");
        match content.get("type").and_then(Value::as_str) {
            Some("match") => self.uses.extend(use_of_match(&name)),
            Some("target" | "watcher") => {
                self.uses.extend(use_of_target(&name));
                self.acts |= may_act(&name);
                self.opaque_nat.extend(match name.as_str() {
                    "SNAT" => Some(NatKind::Snat),
                    "MASQUERADE" => Some(NatKind::Masquerade),
                    "DNAT" => Some(NatKind::Dnat),
                    "REDIRECT" => Some(NatKind::Redirect),
                    _ => None,
                });
            }
            _ => self.is_opaque = true,
        }
    }
}
