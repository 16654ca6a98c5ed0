//! What `nft -j list ruleset` prints (libnftables-json(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::iptables::{may_act, use_of_match, use_of_target};
use super::model::{NatKind, NatRule, Rules, Use};

/// The statements of nft that are known. `ct …` are matched by their first word.
const STATEMENTS: &[&str] = &[
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
const HARMLESS: &[&str] = &[
    "match", "counter", "accept", "continue", "return", "jump", "goto", "log", "last", "notrack", "comment", "vmap",
    "quota", "limit", "ct count", "meter", "xt",
];
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

/// The document is an array of objects: each is parsed, passed on and dropped, so that memory does not grow with the
/// rules.
struct Document<'d>(&'d mut dyn FnMut(Value));

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of nft, with 'nftables'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "nftables" {
                is_found = true;
                map.next_value_seed(Objects(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        is_found.then_some(()).ok_or_else(|| serde::de::Error::missing_field("nftables"))
    }
}

struct Objects<'d>(&'d mut dyn FnMut(Value));

impl<'de> serde::de::DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<(), A::Error> {
        while let Some(object) = objects.next_element()? {
            (self.0)(object);
        }
        Ok(())
    }
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

/// What a statement has.
#[derive(Debug, Default)]
struct Found {
    uses: BTreeSet<Use>,
    acts: bool,
    is_opaque: bool,
    opaque_nat: Vec<NatKind>,
}

impl Found {
    /// Searches a statement or expression and all its parts.
    fn search(&mut self, value: &Value, depth: u32) {
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

/// Adds the addresses and ports of a value; `false` where a part of it is not known.
fn add_target(value: &Value, rule: &mut NatRule, depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    if let Some(port) = value.as_u64() {
        return u16::try_from(port).map(|port| rule.add_ports(port, port)).is_ok();
    }
    if let Some(text) = value.as_str() {
        return text.parse::<IpAddr>().map(|address| rule.add_addresses(address, address)).is_ok();
    }
    if let Some(range) = value.get("range") {
        return add_range(range, rule).is_some();
    }
    if let Some(prefix) = value.get("prefix") {
        return add_prefix(prefix, rule).is_some();
    }
    if let Some(elements) = value.get("map").and_then(|map| map.get("data")?.get("set")?.as_array()) {
        return elements.iter().all(|element| element.get(1).is_some_and(|value| add_target(value, rule, depth)));
    }
    let parts = value.get("concat").or_else(|| value.get("set")).and_then(Value::as_array);
    parts.is_some_and(|parts| parts.iter().all(|part| add_target(part, rule, depth)))
}

fn add_range(range: &Value, rule: &mut NatRule) -> Option<()> {
    let (first, last) = (range.get(0)?, range.get(1)?);
    if let (Some(first), Some(last)) = (first.as_u64(), last.as_u64()) {
        rule.add_ports(first.try_into().ok()?, last.try_into().ok()?);
    } else {
        rule.add_addresses(first.as_str()?.parse().ok()?, last.as_str()?.parse().ok()?);
    }
    Some(())
}

fn add_prefix(prefix: &Value, rule: &mut NatRule) -> Option<()> {
    let address: IpAddr = prefix.get("addr")?.as_str()?.parse().ok()?;
    let network = IpNet::new(address, prefix.get("len")?.as_u64()?.try_into().ok()?).ok()?;
    rule.add_addresses(network.network(), network.broadcast());
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules_of(objects: &[Value]) -> (Rules, References) {
        let mut rules = Rules::default();
        let json = json!({ "nftables": objects }).to_string();
        let references = read(&mut json.as_bytes(), &BTreeMap::new(), &mut rules).unwrap();
        (rules, references)
    }

    fn rule(expr: Value) -> Value {
        json!({"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 7, "expr": expr}})
    }

    fn uses(expr: Value) -> Vec<Use> {
        rules_of(&[rule(expr)]).0.uses.into_keys().collect()
    }

    #[test]
    fn each_use_is_found_also_inside_of_other_expressions() {
        let state = json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established"]}});
        assert_eq!(uses(json!([state, {"accept": null}])), [Use::Connection]);
        let limit = json!({"set": {"op": "add", "elem": "x", "set": "@s", "stmt": [{"ct count": {"val": 10}}]}});
        assert_eq!(uses(json!([limit])), [Use::Limit]);
        let by_mark = json!({"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"ct": {"key": "mark"}}}});
        assert_eq!(uses(json!([by_mark])), [Use::Connection]);
        assert_eq!(uses(json!([{"ct helper": "ftp"}])), [Use::Assignment]);
        assert_eq!(uses(json!([{"flow": {"op": "add", "flowtable": "@f"}}])), [Use::Flowtable]);
        assert_eq!(uses(json!([{"synproxy": {"mss": 1460}}])), [Use::Synproxy]);
        assert_eq!(uses(json!([{"notrack": null}])), [Use::Notrack]);
        assert_eq!(uses(json!([{"masquerade": null}])), [Use::Nat]);
        assert_eq!(uses(json!([{"xt": {"type": "match", "name": "conntrack"}}])), [Use::Connection]);
        assert_eq!(uses(json!([{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "ct"}}])), []);
    }

    #[test]
    fn nat_has_its_addresses_and_ports_in_every_form() {
        let forms = [
            (json!({"addr": "10.0.0.1", "port": 80}), "10.0.0.1-10.0.0.1 80-80"),
            (
                json!({"addr": {"range": ["10.1.1.1", "10.1.1.9"]}, "port": {"range": [80, 90]}}),
                "10.1.1.1-10.1.1.9 80-90",
            ),
            (json!({"addr": {"prefix": {"addr": "192.0.2.0", "len": 28}}}), "192.0.2.0-192.0.2.15"),
            (
                json!({"addr": {"map": {"key": {"numgen": {"mod": 2}}, "data": {"set": [[0, "10.0.0.4"], [1, "10.0.0.5"]]}}}}),
                "10.0.0.4-10.0.0.4 10.0.0.5-10.0.0.5",
            ),
            (
                json!({"addr": {"map": {"key": 1, "data": {"set": [[80, {"concat": ["2001:db8::1", 8080]}]]}}}}),
                "2001:db8::1-2001:db8::1 8080-8080",
            ),
        ];
        for (form, expected) in forms {
            let (rules, _) = rules_of(&[rule(json!([{"dnat": form}]))]);
            let rule = rules.nat.first().unwrap();
            let addresses = rule.addresses.iter().map(|(first, last)| format!("{first}-{last}"));
            let all: Vec<_> =
                addresses.chain(rule.ports.iter().map(|(first, last)| format!("{first}-{last}"))).collect();
            assert_eq!((all.join(" "), rule.is_complete), (expected.to_owned(), true));
            assert_eq!((rule.kind, &*rule.text), (NatKind::Dnat, "nft ip t c handle 7"));
        }
    }

    #[test]
    fn a_map_is_listed_by_its_name_unless_nft_would_read_more_than_a_name() {
        let refer = |name: &str| rule(json!([{"dnat": {"addr": {"map": {"key": 1, "data": format!("@{name}")}}}}]));
        let (mut rules, references) = rules_of(&[refer("fwd")]);
        assert_eq!(references.maps, [(0, "ip".to_owned(), "t".to_owned(), "fwd".to_owned())]);
        let map = json!({"nftables": [{"map": {"name": "fwd", "elem": [[80, {"concat": ["10.0.0.1", 8080]}]]}}]});
        let rule = rules.nat.first_mut().unwrap();
        read_map(&mut map.to_string().as_bytes(), rule).unwrap();
        assert!(rule.is_complete && rule.maps_to("10.0.0.1".parse().unwrap()));
        for name in ["x; flush ruleset", "x include \"/etc/shadow\"", "-f", "", "x\ny"] {
            let (rules, references) = rules_of(&[refer(name)]);
            assert!(references.maps.is_empty() && !rules.knows_all_nat(), "{name}");
        }
    }

    #[test]
    fn tables_that_iptables_save_has_printed_are_left_out() {
        let table = ("ip".to_owned(), "t".to_owned());
        let covered = BTreeMap::from([(table.clone(), 1)]);
        let json = json!({"nftables": [rule(json!([{"xt": null}]))]}).to_string();
        let mut rules = Rules::default();
        let references = read(&mut json.as_bytes(), &covered, &mut rules).unwrap();
        assert_eq!((references.opaque, references.left_out), (0, BTreeMap::from([(table, 1)])));
        assert_eq!(rules, Rules::default());
        assert_eq!(read(&mut json.as_bytes(), &BTreeMap::new(), &mut rules).unwrap().opaque, 1);
    }

    #[test]
    fn a_nat_rule_of_iptables_is_not_known_completely_from_nft_alone() {
        let (rules, _) = rules_of(&[rule(json!([{"xt": {"type": "target", "name": "DNAT"}}]))]);
        assert_eq!(
            rules.unread,
            ["nft does not print where the NAT rules of iptables lead: is iptables-save installed?"]
        );
        assert_eq!((rules.nat.len(), rules.knows_all_nat()), (1, false));
    }

    #[test]
    fn what_does_more_than_accept_is_seen_and_what_is_not_understood_is_named() {
        let acts = |expr: Value| rules_of(&[rule(expr)]).0.acts;
        assert!(acts(json!([{"reject": null}])) && acts(json!([{"vmap": {"key": 1, "data": "@verdicts"}}])));
        assert!(acts(json!([{"vmap": {"key": 1, "data": {"set": [[1, {"drop": null}]]}}}])));
        assert!(acts(json!([{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}}])));
        assert!(!acts(json!([{"counter": null}, {"accept": null}])));
        assert!(rules_of(&[json!({"chain": {"family": "ip", "table": "t", "policy": "drop"}})]).0.acts);
        let (rules, _) = rules_of(&[rule(json!([{"teleport": null}]))]);
        assert_eq!(rules.unread, ["nft prints a statement that is not understood: 'teleport' in nft ip t c handle 7"]);
    }

    #[test]
    fn an_output_that_is_cut_or_no_ruleset_is_an_error() {
        for text in ["", "{}", "[]", "{\"nftables\": [{\"rule\"", "Error: syntax error"] {
            assert!(read(&mut text.as_bytes(), &BTreeMap::new(), &mut Rules::default()).is_err(), "{text}");
        }
    }
}
