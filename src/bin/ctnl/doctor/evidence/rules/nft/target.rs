//! Where a NAT rule leads to.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::super::model::NatRule;

/// Adds the addresses and ports of a value; `false` where a part of it is not known.
pub fn add_target(value: &Value, rule: &mut NatRule, depth: u32) -> bool {
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
