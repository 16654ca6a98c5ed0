//! Flows grouped by their fields, against a plain map of texts.

use std::collections::{BTreeSet, HashMap};

use ctnl::field::{FIELDS, Subject, Value};
use ctnl::group::Groups;
use ctnl::model::Status;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use ctnl_test_support::flows;

fn groupable() -> Vec<&'static str> {
    FIELDS.iter().filter(|field| field.groupable).map(|field| field.name).collect()
}

/// The keys of a flow as texts: several where a field has several addresses, which at most one of them may have.
fn keys(groups: &Groups, subject: &Subject<'_>) -> BTreeSet<Vec<String>> {
    let mut keys = BTreeSet::from([Vec::new()]);
    for by in groups.fields() {
        let values: Vec<String> = match (by.field.value)(subject) {
            Value::Addresses(addresses) => {
                addresses.iter().map(|address| format!("{:?}", Value::Address(address))).collect()
            }
            value => vec![format!("{value:?}")],
        };
        let with = |key: &Vec<String>| {
            let key = key.clone();
            values.iter().map(move |value| [key.clone(), vec![value.clone()]].concat()).collect::<Vec<_>>()
        };
        keys = keys.iter().flat_map(with).collect();
    }
    keys
}

/// Entries, evictable ones, packets, bytes.
type Sums = (u64, u64, Option<u64>, Option<u64>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn groups_count_the_same_as_a_plain_map(
        fields in subsequence(groupable(), 1..4),
        flows in vec(flows::flow(), 0..60),
        top in 0usize..20,
    ) {
        let several = fields.iter().filter(|name| ["addr", "any-addr", "nat-addr"].contains(name)).count();
        let Ok(mut groups) = Groups::by(&fields.join(",")) else {
            prop_assert!(several > 1, "{fields:?}");
            return Ok(());
        };
        prop_assert!(several <= 1, "{fields:?}");
        let estimator = flows::estimator();
        let mut plain: HashMap<Vec<String>, Sums> = HashMap::new();
        for flow in &flows {
            let subject = Subject::new(flow, &estimator);
            groups.add(&subject);
            for key in keys(&groups, &subject) {
                let entry = plain.entry(key).or_default();
                entry.0 += 1;
                entry.1 += u64::from(!flow.status.contains(Status::Assured));
                // Unknown until a flow is counted.
                entry.2 = flow.packets().map(|packets| packets + entry.2.unwrap_or(0)).or(entry.2);
                entry.3 = flow.bytes().map(|bytes| bytes + entry.3.unwrap_or(0)).or(entry.3);
            }
        }
        prop_assert_eq!(groups.len(), plain.len());
        prop_assert_eq!(groups.total().entries, flows.len() as u64);
        let all = groups.top(usize::MAX);
        prop_assert_eq!(all.len(), plain.len());
        for group in &all {
            let key: Vec<String> = group.values.iter().map(|value| format!("{value:?}")).collect();
            let (entries, evictable, packets, bytes) = plain[&key];
            let totals = group.totals;
            prop_assert_eq!((totals.entries, totals.evictable, totals.packets, totals.bytes), (entries, evictable, packets, bytes));
            prop_assert!((group.share - entries as f64 / flows.len() as f64).abs() < 1e-9);
        }
        prop_assert!(all.windows(2).all(|pair| pair[0].totals.entries >= pair[1].totals.entries));
        prop_assert_eq!(groups.top(top), all[..top.min(all.len())].to_vec());
    }
}
