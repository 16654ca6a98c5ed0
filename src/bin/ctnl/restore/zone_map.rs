//! `--zone-map 10=11`: the zones in which entries are created.

use std::collections::BTreeMap;
use std::str::FromStr;

use ctnl::model::Flow;
use ctnl::units::parse_decimal;

/// One mapping: entries of the first zone are created in the second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneMapping {
    from: u16,
    to: u16,
}

impl FromStr for ZoneMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let zone = |text: &str| parse_decimal(text).ok().and_then(|number| u16::try_from(number).ok());
        let zones = text.split_once('=').and_then(|(from, to)| Some((zone(from)?, zone(to)?)));
        let (from, to) = zones.ok_or("expected two zones from 0 to 65535, e.g. 10=11")?;
        Ok(ZoneMapping { from, to })
    }
}

/// All mappings, which apply at the same time: `10=11` and `11=10` exchange two zones.
#[derive(Debug, Clone, Default)]
pub(super) struct ZoneMap(BTreeMap<u16, u16>);

impl ZoneMap {
    /// The mappings; the zone that is mapped twice where one is.
    pub(super) fn new(mappings: &[ZoneMapping]) -> Result<Self, u16> {
        let mut map = BTreeMap::new();
        for ZoneMapping { from, to } in mappings {
            if map.insert(*from, *to).is_some_and(|other| other != *to) {
                return Err(*from);
            }
        }
        Ok(ZoneMap(map))
    }

    /// The zones that are mapped.
    pub(super) fn sources(&self) -> impl Iterator<Item = u16> {
        self.0.keys().copied()
    }

    /// Moves `flow` to its zones. An entry has a zone for both directions, or one for one direction while the other
    /// one is in zone 0 (`ctnetlink_parse_zone` and `ctnetlink_parse_tuple_zone` in
    /// net/netfilter/nf_conntrack_netlink.c).
    pub(super) fn apply(&self, flow: &mut Flow) {
        if self.0.is_empty() {
            return;
        }
        let (orig, reply) = (self.zone(flow.zone().orig()), self.zone(flow.zone().reply()));
        let set = |zone: u16| (zone != 0).then_some(zone);
        if orig == reply {
            (flow.zone_both, flow.orig.zone, flow.reply.zone) = (set(orig), None, None);
        } else {
            (flow.zone_both, flow.orig.zone, flow.reply.zone) = (None, set(orig), set(reply));
        }
    }

    fn zone(&self, zone: u16) -> u16 {
        self.0.get(&zone).copied().unwrap_or(zone)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::model::{Tuple, Zone};

    use super::*;

    fn map(words: &[&str]) -> ZoneMap {
        let mappings: Vec<ZoneMapping> = words.iter().map(|word| word.parse().unwrap()).collect();
        ZoneMap::new(&mappings).unwrap()
    }

    fn mapped(words: &[&str], both: Option<u16>, orig: Option<u16>, reply: Option<u16>) -> Zone {
        let mut flow = Flow::new(Tuple::UNSPECIFIED, Tuple::UNSPECIFIED);
        (flow.zone_both, flow.orig.zone, flow.reply.zone) = (both, orig, reply);
        map(words).apply(&mut flow);
        flow.zone()
    }

    #[test]
    fn zones_are_mapped_at_the_same_time_in_each_direction() {
        assert_eq!(mapped(&["10=11"], Some(10), None, None), Zone::Both(11));
        assert_eq!(mapped(&["10=11", "11=10"], Some(11), None, None), Zone::Both(10));
        assert_eq!(mapped(&["10=11"], Some(12), None, None), Zone::Both(12));
        assert_eq!(mapped(&["10=11"], None, Some(10), None), Zone::Orig(11));
        assert_eq!(mapped(&["10=11"], None, None, Some(10)), Zone::Reply(11));
        assert_eq!(mapped(&["10=0"], Some(10), None, None), Zone::Default);
        assert_eq!(mapped(&["0=5"], None, None, None), Zone::Both(5));
        assert_eq!(mapped(&["10=0"], None, Some(10), None), Zone::Default);
        assert_eq!(mapped(&["0=10"], None, Some(10), None), Zone::Both(10));
    }

    #[test]
    fn what_is_no_pair_of_zones_is_refused() {
        for bad in ["10", "10=", "=11", "a=b", "10=65536", "-1=2", "10=11=12"] {
            assert!(bad.parse::<ZoneMapping>().is_err(), "{bad}");
        }
        let twice: Vec<ZoneMapping> = ["1=2", "1=3"].iter().map(|word| word.parse().unwrap()).collect();
        assert_eq!(ZoneMap::new(&twice).unwrap_err(), 1);
    }
}
