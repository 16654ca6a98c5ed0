use serde_json::json;

use super::super::model::Use;
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
        (json!({"addr": {"range": ["10.1.1.1", "10.1.1.9"]}, "port": {"range": [80, 90]}}), "10.1.1.1-10.1.1.9 80-90"),
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
        let all: Vec<_> = addresses.chain(rule.ports.iter().map(|(first, last)| format!("{first}-{last}"))).collect();
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
    assert_eq!(rules.unread, ["nft does not print where the NAT rules of iptables lead: is iptables-save installed?"]);
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
