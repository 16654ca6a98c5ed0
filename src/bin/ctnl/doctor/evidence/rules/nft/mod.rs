//! What `nft -j list ruleset` prints (libnftables-json(5)).

mod document;
mod statement;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Read};

use document::Document;
use serde::de::Deserializer;
use serde_json::Value;
use statement::{Found, HARMLESS, STATEMENTS};
use target::add_target;

use super::model::{NatKind, NatRule, Rules};

/// The maps that NAT rules refer to and that are listed.
const MAX_MAPS: usize = 32;
/// How deep an expression is followed. nft's own are below ten.
const MAX_DEPTH: u32 = 64;

/// A table: its family and name.
pub type TableName = (String, String);

/// What the rules refer to, to be read next.
#[derive(Debug, Default)]
pub struct References {
    /// Maps of NAT rules: the index of the rule, family, table, name.
    pub maps: Vec<(usize, String, String, String)>,
    /// Rules with a part that iptables made and that nft does not print.
    pub opaque: u64,
    /// The rules of tables that were left out.
    pub left_out: BTreeMap<TableName, u64>,
}

/// Reads the ruleset into `rules`, without the tables `covered`, of which iptables-save has printed so many rules.
///
/// # Errors
/// The output cannot be read, or is not JSON.
pub fn read(output: &mut impl Read, covered: &BTreeMap<TableName, u64>, rules: &mut Rules) -> io::Result<References> {
    let mut reader = Reader { covered, rules, references: References::default() };
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(64 * 1024, output));
    json.deserialize_map(Document(&mut |object| reader.object(&object)))?;
    Ok(reader.references)
}

/// Adds what a map has as its values (`nft -j list map …`) to a NAT rule.
///
/// # Errors
/// The output cannot be read, or is not JSON.
pub fn read_map(output: &mut impl Read, rule: &mut NatRule) -> io::Result<()> {
    let mut json = serde_json::Deserializer::from_reader(io::BufReader::with_capacity(64 * 1024, output));
    json.deserialize_map(Document(&mut |object| {
        let elements = object.get("map").and_then(|map| map.get("elem")).and_then(Value::as_array);
        for element in elements.into_iter().flatten() {
            rule.is_complete &= element.get(1).is_some_and(|value| add_target(value, rule, MAX_DEPTH));
        }
    }))?;
    Ok(())
}

struct Reader<'r> {
    covered: &'r BTreeMap<TableName, u64>,
    rules: &'r mut Rules,
    references: References,
}

impl Reader<'_> {
    fn object(&mut self, object: &Value) {
        let Some((kind, content)) = object.as_object().and_then(|object| object.iter().next()) else { return };
        let table_key = if kind == "table" { "name" } else { "table" };
        let table = (text(content, "family"), text(content, table_key));
        if self.covered.contains_key(&table) {
            *self.references.left_out.entry(table).or_default() += u64::from(kind == "rule");
            return;
        }
        match kind.as_str() {
            "chain" => self.rules.acts |= content.get("policy").is_some_and(|policy| policy == "drop"),
            "rule" => self.rule(content, table),
            // A set may have a statement for each of its elements.
            "set" | "map" => {
                let place = format!("nft {kind} {} {} {}", table.0, table.1, text(content, "name"));
                let mut found = Found::default();
                content.get("stmt").into_iter().for_each(|statement| found.search(statement, MAX_DEPTH));
                self.add(found, &place);
            }
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Value, (family, table): TableName) {
        let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
        let place = format!("nft {family} {table} {} handle {handle}", text(rule, "chain"));
        self.rules.count += 1;
        let mut found = Found::default();
        let statements = rule.get("expr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (name, content) in statements.iter().filter_map(Value::as_object).flatten() {
            let first = name.split(' ').next().unwrap_or_default();
            if !STATEMENTS.contains(&first) {
                self.rules
                    .add_unread(format!("nft prints a statement that is not understood: '{name:.40}' in {place}"));
            }
            found.acts |= !HARMLESS.contains(&name.as_str());
            if let Some(kind) = nat_kind(name) {
                self.nat(kind, content, &place, (&family, &table));
            }
        }
        statements.iter().for_each(|statement| found.search(statement, MAX_DEPTH));
        self.add(found, &place);
    }

    fn add(&mut self, found: Found, place: &str) {
        self.references.opaque += u64::from(found.is_opaque);
        self.rules.acts |= found.acts;
        found.uses.into_iter().for_each(|found| self.rules.add_use(found, place));
        if !found.opaque_nat.is_empty() {
            self.rules
                .add_unread("nft does not print where the NAT rules of iptables lead: is iptables-save installed?");
        }
        for kind in found.opaque_nat {
            let mut rule = NatRule::new(kind, place);
            rule.is_complete = false;
            self.rules.add_nat(rule);
        }
    }

    fn nat(&mut self, kind: NatKind, content: &Value, place: &str, (family, table): (&str, &str)) {
        let mut rule = NatRule::new(kind, place);
        for value in ["addr", "port"].iter().filter_map(|key| content.get(key)) {
            match map_name(value) {
                Some(name) if self.references.maps.len() < MAX_MAPS && is_plain(name) && is_plain(table) => {
                    let place = (self.rules.nat.len(), family.to_owned(), table.to_owned(), name.to_owned());
                    self.references.maps.push(place);
                }
                Some(_) => rule.is_complete = false,
                None => rule.is_complete &= add_target(value, &mut rule, MAX_DEPTH),
            }
        }
        self.rules.add_nat(rule);
    }
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn nat_kind(statement: &str) -> Option<NatKind> {
    Some(match statement {
        "snat" => NatKind::Snat,
        "masquerade" => NatKind::Masquerade,
        "dnat" => NatKind::Dnat,
        "redirect" => NatKind::Redirect,
        _ => return None,
    })
}

/// The name of the map that a value is looked up in.
fn map_name(value: &Value) -> Option<&str> {
    value.get("map")?.get("data")?.as_str()?.strip_prefix('@')
}

/// Whether a name can be an argument of nft, which parses its arguments as it parses a script. The kernel accepts any
/// name, and whoever administers a container chooses those of its namespace.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_plain)
}
