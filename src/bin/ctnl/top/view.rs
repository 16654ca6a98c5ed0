//! What the table of a frame is grouped by.

use ctnl::field::Value;
use ctnl::filter::Filter;
use serde::Serialize;

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Source addresses.
    Source,
    /// Destination addresses.
    Destination,
    /// Destination ports.
    Port,
    /// States, with their protocol: several protocols have a state ESTABLISHED.
    State,
    /// Protocols.
    Protocol,
    /// Zones.
    Zone,
    /// Source addresses after NAT.
    NatSource,
    /// Destination addresses after NAT.
    NatDestination,
    /// Sets of labels.
    Label,
    /// Networks of source addresses.
    SourceNetwork,
    /// Networks of destination addresses.
    DestinationNetwork,
    /// Single flows.
    Flows,
    /// Network namespaces.
    Netns,
}

/// A view: its key, its name on the command line and in JSON, the head of its column, and the fields of
/// [`ctnl::group::Groups`].
struct Row {
    view: View,
    key: char,
    name: &'static str,
    head: &'static str,
    by: Option<&'static str>,
}

const fn row(view: View, key: char, name: &'static str, head: &'static str, by: &'static str) -> Row {
    Row { view, key, name, head, by: Some(by) }
}

const ROWS: [Row; 13] = [
    row(View::Source, 's', "source", "SOURCE", "src"),
    row(View::Destination, 'd', "destination", "DESTINATION", "dst"),
    row(View::Port, 'p', "port", "PORT", "dport"),
    row(View::State, 't', "state", "STATE", "proto,state"),
    row(View::Protocol, 'o', "protocol", "PROTOCOL", "proto"),
    row(View::Zone, 'z', "zone", "ZONE", "zone"),
    row(View::NatSource, 'n', "nat-source", "NAT SOURCE", "nat-src"),
    row(View::NatDestination, 'N', "nat-destination", "NAT DESTINATION", "nat-dst"),
    row(View::Label, 'l', "label", "LABEL", "label"),
    row(View::SourceNetwork, 'S', "source-network", "SOURCE /24 /64", "src/24"),
    row(View::DestinationNetwork, 'D', "destination-network", "DESTINATION /24 /64", "dst/24"),
    Row { view: View::Flows, key: 'f', name: "flows", head: "FLOW", by: None },
    Row { view: View::Netns, key: 'e', name: "netns", head: "NETNS", by: None },
];

impl View {
    /// All, in the order of the help. Recordings have their places.
    pub const ALL: [View; 13] = [
        View::Source,
        View::Destination,
        View::Port,
        View::State,
        View::Protocol,
        View::Zone,
        View::NatSource,
        View::NatDestination,
        View::Label,
        View::SourceNetwork,
        View::DestinationNetwork,
        View::Flows,
        View::Netns,
    ];

    /// Those of one namespace, or of several.
    pub fn all(of_several: bool) -> Vec<View> {
        Self::ALL.into_iter().filter(|view| of_several || *view != View::Netns).collect()
    }

    #[expect(clippy::indexing_slicing, reason = "a test checks that each variant is the place of its row")]
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The key that switches to it.
    pub fn key(self) -> char {
        self.row().key
    }

    /// The view of a key.
    pub fn of_key(key: char) -> Option<Self> {
        ROWS.iter().find(|row| row.key == key).map(|row| row.view)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The view of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.view)
    }

    /// The head of its first column.
    pub fn head(self) -> &'static str {
        self.row().head
    }

    /// The fields that are grouped by; `None` for single flows and namespaces.
    pub fn by(self) -> Option<&'static str> {
        self.row().by
    }

    /// The text of a group with these values.
    pub fn text(self, values: &[Value<'_>]) -> String {
        let mut words: Vec<String> = values.iter().map(ToString::to_string).collect();
        // Most protocols have no state.
        if words.len() > 1 && words.last().is_some_and(|word| word == "-") {
            words.pop();
        }
        ctnl::text::printable(&words.join(" ")).into_owned()
    }

    /// The term of the filter language that selects exactly the group with these values; `None` where there is none.
    pub fn term(self, values: &[Value<'_>]) -> Option<String> {
        let names: Vec<&str> = self.by()?.split(',').map(|by| by.split('/').next().unwrap_or(by)).collect();
        if self == View::State
            && let [Value::Named(protocol), Value::Absent] = values
        {
            return without_state(protocol.code).then(|| format!("proto {protocol}"));
        }
        let terms: Option<Vec<String>> = names.iter().zip(values).map(|(name, value)| term(name, value)).collect();
        terms.filter(|terms| terms.len() == names.len() && !terms.is_empty()).map(|terms| terms.join(" and "))
    }
}

/// The term for one value.
fn term(name: &str, value: &Value<'_>) -> Option<String> {
    match value {
        Value::Address(_) | Value::Network(_) | Value::Number(_) => Some(format!("{name} {value}")),
        // A protocol without a name is its number; a state without one has no notation.
        Value::Named(named) if name == "proto" || named.name().is_some() => Some(format!("{name} {named}")),
        // `label 1` would also match an entry with the labels 1 and 2.
        Value::Labels(labels) => {
            let bit = |number: u8| 1u128.checked_shl(number.into()).unwrap_or(0);
            let bits = labels.numbers().fold(0u128, |bits, number| bits | bit(number));
            Some(format!("{name} {bits:#x}/{:#x}", u128::MAX))
        }
        _ => None,
    }
}

/// Whether no entry of the protocol has a state: TCP (6), DCCP (33) and SCTP (132) have.
fn without_state(protocol: u16) -> bool {
    !matches!(protocol, 6 | 33 | 132)
}

/// The filter that is narrowed by `term`. The first part is in parentheses, since it may have an `or`.
pub fn narrowed(filter: &str, term: &str) -> String {
    if filter.trim().is_empty() { term.to_owned() } else { format!("({filter}) and {term}") }
}

/// A filter with the text that it was parsed from.
#[derive(Debug, Clone, Default)]
pub struct ShownFilter {
    /// The text.
    pub text: String,
    /// What it means.
    pub filter: Filter,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::fake;
    use ctnl::age::IdleEstimator;
    use ctnl::field::Subject;
    use ctnl::group::Groups;
    use ctnl::model::{Flow, Labels, ProtoInfo, Protocol, Status};

    #[test]
    fn each_view_is_the_place_of_its_row_and_has_a_key_and_a_name_of_its_own() {
        for (place, view) in View::ALL.into_iter().enumerate() {
            assert_eq!(
                (view as usize, View::of_key(view.key()), View::of_name(view.name())),
                (place, Some(view), Some(view))
            );
            assert_eq!(serde_json::to_value(view).unwrap(), view.name());
        }
    }

    /// Flows that differ in what views group by.
    fn flows() -> Vec<Flow> {
        let base = fake::flow(1);
        let with = |change: &dyn Fn(&mut Flow)| {
            let mut flow = base.clone();
            change(&mut flow);
            flow
        };
        vec![
            base.clone(),
            with(&|flow| flow.orig.src = "10.0.1.7".parse().unwrap()),
            with(&|flow| flow.orig.src = "2001:db8::1".parse().unwrap()),
            with(&|flow| flow.orig.dst = "192.0.2.9".parse().unwrap()),
            with(&|flow| flow.zone_both = Some(5)),
            with(&|flow| flow.labels = Some(Labels::from_numbers([1]))),
            with(&|flow| flow.labels = Some(Labels::from_numbers([1, 127]))),
            with(&|flow| flow.orig.protocol = Protocol::from(253)),
            with(&|flow| {
                flow.orig.protocol = Protocol::Tcp;
                flow.protoinfo = ProtoInfo::Tcp(ctnl::model::TcpInfo {
                    state: ctnl::model::TcpState::Established,
                    ..Default::default()
                });
            }),
            with(&|flow| {
                flow.status = Status::SrcNat;
                flow.reply.dst = "203.0.113.7".parse().unwrap();
            }),
            with(&|flow| {
                flow.status = Status::DstNat;
                flow.reply.src = "10.9.9.9".parse().unwrap();
            }),
        ]
    }

    #[test]
    fn the_term_of_a_group_matches_its_flows_and_no_other() {
        let ages = IdleEstimator::without_timeouts(0);
        for view in View::ALL {
            let Some(by) = view.by() else { continue };
            let mut groups = Groups::by(by).unwrap();
            let flows = flows();
            let places: Vec<usize> = flows.iter().map(|flow| groups.add(&Subject::new(flow, &ages)).unwrap()).collect();
            let mut terms = 0;
            for place in 0..groups.len() {
                let values = groups.group_at(place).unwrap().values;
                let Some(term) = view.term(&values) else { continue };
                terms += 1;
                let filter: Filter = term.parse().unwrap_or_else(|error| panic!("{term}: {error}"));
                for (flow, own) in flows.iter().zip(&places) {
                    let matches = filter.matches(&Subject::new(flow, &ages)).is_match();
                    assert_eq!(matches, *own == place, "{view:?} {term}: {:?}", flow.orig);
                }
            }
            assert!(terms > 0, "{view:?}");
        }
    }

    #[test]
    fn a_filter_with_an_or_is_narrowed_as_a_whole() {
        assert_eq!(narrowed("tcp or udp", "dport 53"), "(tcp or udp) and dport 53");
        assert_eq!(narrowed(" ", "dport 53"), "dport 53");
    }
}
