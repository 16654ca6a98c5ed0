//! The first flows of an order. Memory is bounded by what is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use ctnl::age::{Idle, IdleEstimator};
use ctnl::field::{FIELDS, Subject, Value};
use ctnl::model::{Flow, L4, Nat, Tuple};

use super::super::model::{Figures, FrameNetns, Rate, Row, Section};
use super::super::order::{Column, SortOrder};
use super::super::view::View;
use super::groups::idle_time;

/// Flows, some more than are shown.
#[derive(Debug)]
pub struct TopFlows {
    order: SortOrder,
    most: usize,
    /// Of namespaces whose dump is whole.
    kept: Vec<(Rank, Kept)>,
    /// Of the dump that goes on: where it fails, they take no place from others.
    current: Vec<(Rank, Kept)>,
    /// The namespace of the flows that are added, of several.
    netns: Option<Arc<FrameNetns>>,
    /// By namespace, of those with flows that were kept.
    ages: BTreeMap<Option<u32>, IdleEstimator>,
    /// All of dumps that are whole.
    flows: u64,
    /// All of the dump that goes on.
    current_flows: u64,
    /// The rank of the last one that is certainly kept.
    last: Option<Rank>,
}

#[derive(Debug, Clone)]
struct Kept {
    flow: Flow,
    netns: Option<Arc<FrameNetns>>,
}

/// The place in an order: the smallest first.
type Rank = (u64, u64);

/// The counters of a flow that was shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    netns: Option<u32>,
    orig: Tuple,
    id: Option<u32>,
    start: Option<u64>,
    packets: Option<u64>,
    bytes: Option<u64>,
}

impl TopFlows {
    /// No flows yet.
    pub fn new(order: SortOrder, most: usize) -> Self {
        TopFlows {
            order,
            most,
            kept: Vec::new(),
            current: Vec::new(),
            netns: None,
            ages: BTreeMap::new(),
            flows: 0,
            current_flows: 0,
            last: None,
        }
    }

    /// The flows that follow are of this namespace, of several. Those of a dump that failed are left out.
    pub fn start_netns(&mut self, netns: Option<&Arc<FrameNetns>>) {
        self.current.clear();
        self.current_flows = 0;
        self.last = prune(&mut self.kept, self.most);
        self.netns = netns.map(Arc::clone);
    }

    /// Adds a flow.
    pub fn add(&mut self, flow: &Flow, idle: Idle) {
        self.current_flows += 1;
        let rank = (rank(flow, idle, self.order), self.flows + self.current_flows);
        if self.last.is_some_and(|last| rank > last) {
            return;
        }
        self.current.push((rank, Kept { flow: flow.clone(), netns: self.netns.clone() }));
        if self.current.len() >= 2 * self.most.max(1) {
            let last = prune(&mut self.current, self.most);
            self.last = [last, self.last].into_iter().flatten().min();
        }
    }

    /// The flows of the namespace were added; `ages` is what their idle times are computed from.
    pub fn end_netns(&mut self, ages: &IdleEstimator) {
        self.kept.append(&mut self.current);
        self.flows += std::mem::take(&mut self.current_flows);
        self.last = prune(&mut self.kept, self.most);
        let id = self.netns.as_ref().map(|netns| netns.id);
        if self.kept.iter().any(|(_, kept)| kept.id() == id) {
            self.ages.insert(id, ages.clone());
        }
    }

    /// The rows, and the counters for the rates of the next frame.
    pub fn section(self, before: &[Shown], interval: u64) -> (Section, Vec<Shown>) {
        let ages = |kept: &Kept| self.ages.get(&kept.id());
        let rows = self.kept.iter().filter_map(|(_, kept)| Some(kept.row(before, interval, ages(kept)?))).collect();
        let shown = self.kept.iter().map(|(_, kept)| Shown::of(kept)).collect();
        (Section { view: View::Flows, rows, groups: self.flows, beyond: 0 }, shown)
    }
}

/// Keeps the first `most`. The last one of them, if there are so many.
fn prune(kept: &mut Vec<(Rank, Kept)>, most: usize) -> Option<Rank> {
    kept.sort_unstable_by_key(|(rank, _)| *rank);
    kept.truncate(most);
    kept.last().map(|(rank, _)| *rank).filter(|_| kept.len() == most)
}

impl Shown {
    fn of(kept: &Kept) -> Self {
        let Flow { orig, id, start, .. } = kept.flow;
        let (packets, bytes) = (kept.flow.packets(), kept.flow.bytes());
        Shown { netns: kept.id(), orig, id, start, packets, bytes }
    }

    fn is_of(&self, kept: &Kept) -> bool {
        let flow = &kept.flow;
        (self.netns, self.orig, self.id, self.start) == (kept.id(), flow.orig, flow.id, flow.start)
    }
}

/// Flows have no rates before they are shown, so the order is by totals.
fn rank(flow: &Flow, idle: Idle, order: SortOrder) -> u64 {
    let number = match order.column {
        Column::Packets => flow.packets(),
        Column::Entries | Column::Bytes => flow.bytes().or(flow.timeout.map(u64::from)),
        Column::New => flow.start,
        Column::Idle => idle.at_least().map(u64::from),
        Column::Evictable => Some(u64::from(is_evictable(flow))),
        Column::Group => None,
    };
    match number {
        None => u64::MAX,
        Some(number) if order.descending => u64::MAX - 1 - number.min(u64::MAX - 1),
        Some(number) => number,
    }
}

fn is_evictable(flow: &Flow) -> bool {
    !flow.status.contains(ctnl::model::Status::Assured)
}

impl Kept {
    fn id(&self) -> Option<u32> {
        self.netns.as_ref().map(|netns| netns.id)
    }

    /// The namespace is in front of the flow, and the first of the fields.
    fn row(&self, before: &[Shown], interval: u64, ages: &IdleEstimator) -> Row {
        let earlier = before.iter().find(|shown| shown.is_of(self));
        let mut row = row(&self.flow, earlier, interval, ages);
        if let Some(netns) = &self.netns {
            row.text = format!("{}: {}", netns.name, row.text);
            row.fields.insert(0, ("netns".to_owned(), netns.name.clone()));
        }
        Row { netns: self.netns.clone(), ..row }
    }
}

fn row(flow: &Flow, earlier: Option<&Shown>, interval: u64, ages: &IdleEstimator) -> Row {
    let subject = Subject::new(flow, ages);
    let rate = |now: Option<u64>, earlier: Option<u64>| match now.zip(earlier) {
        Some((now, earlier)) => now.checked_sub(earlier).map_or(Rate::Unknown, |count| Rate::known(count, interval)),
        None => Rate::Unknown,
    };
    let figures = Figures {
        entries: 1,
        missing: 0,
        evictable: is_evictable(flow).into(),
        new: Rate::Unknown,
        packets: rate(flow.packets(), earlier.and_then(|shown| shown.packets)),
        bytes: rate(flow.bytes(), earlier.and_then(|shown| shown.bytes)),
        idle: idle_time(subject.idle()),
    };
    Row { text: text(&subject), term: term(flow), figures, fields: fields(&subject), netns: None }
}

/// One line: protocol, addresses and ports, state, NAT.
fn text(subject: &Subject<'_>) -> String {
    let flow = subject.flow;
    let (orig, reply) = (&flow.orig, &flow.reply);
    let protocol = value(subject, "proto").map_or_else(String::new, |value| value.to_string());
    let ends = format!("{} -> {}", end(orig.src, orig.sport()), end(orig.dst, orig.dport()));
    let state = value(subject, "state").filter(Value::is_known).map_or_else(String::new, |state| format!(" {state}"));
    let nat = Nat::of(flow);
    let source = if nat.src || nat.sport { format!(" src=>{}", end(reply.dst, reply.dport())) } else { String::new() };
    let target = if nat.dst || nat.dport { format!(" dst=>{}", end(reply.src, reply.sport())) } else { String::new() };
    ctnl::text::printable(&format!("{protocol} {ends}{state}{source}{target}")).into_owned()
}

fn end(address: std::net::IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, None) => address.to_string(),
        (std::net::IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (std::net::IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}

fn value<'a>(subject: &Subject<'a>, name: &str) -> Option<Value<'a>> {
    FIELDS.iter().find(|field| field.name == name).map(|field| (field.value)(subject))
}

/// The term that selects this entry alone. An entry that is created again for the same tuple may have the same id.
fn term(flow: &Flow) -> Option<String> {
    let (orig, id) = (&flow.orig, flow.id?);
    let mut term = format!("proto {} and src {} and dst {}", u8::from(orig.protocol), orig.src, orig.dst);
    if let L4::Ports { src, dst } = orig.l4
        && matches!(u8::from(orig.protocol), 6 | 17 | 33 | 132 | 136)
    {
        term += &format!(" and sport {src} and dport {dst}");
    }
    Some(format!("{term} and id {id}"))
}

/// All fields that it has: NAT first, as before and after; then by name.
fn fields(subject: &Subject<'_>) -> Vec<(String, String)> {
    let flow = subject.flow;
    let (orig, reply, nat) = (&flow.orig, &flow.reply, Nat::of(flow));
    let mut fields = Vec::new();
    let mut change = |name: &str, is_changed, before: String, after: String| {
        if is_changed {
            fields.push((name.to_owned(), format!("{before} -> {after}")));
        }
    };
    let (src, dst) = (end(orig.src, orig.sport()), end(orig.dst, orig.dport()));
    change("source NAT", nat.src || nat.sport, src, end(reply.dst, reply.dport()));
    change("destination NAT", nat.dst || nat.dport, dst, end(reply.src, reply.sport()));
    fields.push(("idle".to_owned(), certainty(subject.idle())));
    for field in FIELDS.iter().filter(|field| field.column && field.name != "idle") {
        let text = match (field.value)(subject) {
            Value::Absent => continue,
            Value::Undecided(why) => format!("? ({why})"),
            known => ctnl::text::printable(&known.to_string()).into_owned(),
        };
        fields.push((field.name.to_owned(), text));
    }
    fields
}

/// An idle time, with what is certain of it.
fn certainty(idle: Idle) -> String {
    match idle {
        Idle::Exact { at_least, at_most } if at_least == at_most => format!("{at_least} s"),
        Idle::Exact { at_least, at_most } => format!("{at_least} to {at_most} s"),
        Idle::AtLeast(at_least, why) => format!("{at_least} s or more: {why}: {}", why.hint()),
        Idle::Unknown(why) => format!("undecided: {why}: {}", why.hint()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::fake;
    use ctnl::model::{Counters, Status, Undecided};

    const EXACT: Idle = Idle::Exact { at_least: 5, at_most: 6 };

    fn flow(port: u16, bytes: u64) -> Flow {
        let counters = Some(Counters { packets: 1, bytes });
        Flow {
            id: Some(port.into()),
            counters_orig: counters,
            counters_reply: Some(Counters::default()),
            ..fake::flow(port)
        }
    }

    fn top(order: SortOrder, most: usize, flows: &[Flow], before: &[Shown]) -> (Section, Vec<Shown>) {
        let mut top = TopFlows::new(order, most);
        flows.iter().for_each(|flow| top.add(flow, EXACT));
        assert!(top.current.len() <= 2 * most);
        top.end_netns(&IdleEstimator::without_timeouts(0));
        top.section(before, 2000)
    }

    #[test]
    fn the_largest_flows_are_kept_of_any_number() {
        let flows: Vec<Flow> = (1..=1000u16).map(|port| flow(port, u64::from(port) * 7919 % 1009)).collect();
        let (section, shown) = top(SortOrder::of(Column::Bytes), 5, &flows, &[]);
        let mut largest: Vec<u64> = flows.iter().filter_map(Flow::bytes).collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(shown.iter().filter_map(|shown| shown.bytes).collect::<Vec<_>>(), largest[..5]);
        assert_eq!((section.groups, section.rows.len()), (1000, 5));
    }

    #[test]
    fn a_flow_that_was_shown_before_has_rates_and_another_has_none() {
        let order = SortOrder::of(Column::Bytes);
        let (_, before) = top(order, 5, &[flow(1, 1000)], &[]);
        let mut another = flow(2, 50);
        another.orig = flow(1, 0).orig;
        let (section, _) = top(order, 5, &[flow(1, 3000), another], &before);
        let rates: Vec<_> = section.rows.iter().map(|row| row.figures.bytes).collect();
        assert_eq!(rates, [Rate::Known(1000.0), Rate::Unknown]);
    }

    #[test]
    fn the_flows_of_a_dump_that_failed_take_no_place_from_others() {
        let netns = [1, 2, 3].map(|id| Arc::new(FrameNetns { id, ..FrameNetns::default() }));
        let mut top = TopFlows::new(SortOrder::of(Column::Bytes), 2);
        for (netns, bytes) in netns.iter().zip([[1, 2, 3, 4, 5], [10, 20, 30, 40, 50], [3, 2, 4, 1, 6]]) {
            top.start_netns(Some(netns));
            bytes.iter().for_each(|bytes| top.add(&flow(1, *bytes), EXACT));
            if netns.id != 2 {
                top.end_netns(&IdleEstimator::without_timeouts(0));
            }
        }
        let (section, shown) = top.section(&[], 2000);
        assert_eq!(
            shown.iter().map(|shown| (shown.netns, shown.bytes)).collect::<Vec<_>>(),
            [(Some(3), Some(6)), (Some(1), Some(5))]
        );
        assert_eq!((section.rows.len(), section.groups), (2, 10));
    }

    #[test]
    fn equal_flows_of_two_namespaces_are_two_with_their_names_and_rates_of_their_own() {
        let netns = [(1, "blue"), (2, "red")]
            .map(|(id, name)| Arc::new(FrameNetns { id, name: name.to_owned(), ..FrameNetns::default() }));
        let sample = |bytes: [u64; 2], before: &[Shown]| {
            let mut top = TopFlows::new(SortOrder::of(Column::Bytes), 5);
            for (netns, bytes) in netns.iter().zip(bytes) {
                top.start_netns(Some(netns));
                top.add(&flow(1, bytes), EXACT);
                top.end_netns(&IdleEstimator::without_timeouts(0));
            }
            top.section(before, 2000)
        };
        let (_, before) = sample([9000, 1000], &[]);
        let (section, _) = sample([9000, 5000], &before);
        let rows: Vec<_> = section.rows.iter().map(|row| (row.text.split(' ').next(), row.figures.bytes)).collect();
        assert_eq!(rows, [(Some("blue:"), Rate::Known(0.0)), (Some("red:"), Rate::Known(2000.0))]);
        assert_eq!(section.rows[1].fields[0], ("netns".to_owned(), "red".to_owned()));
        assert_eq!(section.rows[1].netns.as_ref().map(|netns| netns.id), Some(2));
    }

    #[test]
    fn a_flow_shows_its_ends_and_what_nat_makes_of_them() {
        let mut flow = Flow { status: Status::SrcNat, ..fake::flow(1234) };
        flow.reply.dst = "203.0.113.7".parse().unwrap();
        let ages = IdleEstimator::without_timeouts(0);
        let subject = Subject::new(&flow, &ages);
        assert_eq!(text(&subject), "udp 10.0.0.1:1234 -> 10.0.0.2:53 src=>203.0.113.7:1234");
        let fields = fields(&subject);
        assert_eq!(fields[0], ("source NAT".into(), "10.0.0.1:1234 -> 203.0.113.7:1234".into()));
        assert!(fields.iter().any(|(name, text)| name == "src" && text == "10.0.0.1"), "{fields:?}");
    }

    #[test]
    fn an_idle_time_is_shown_with_its_certainty() {
        assert_eq!(certainty(EXACT), "5 to 6 s");
        let offloaded = certainty(Idle::Unknown(Undecided::Offloaded));
        assert!(offloaded.starts_with("undecided: ") && offloaded.len() > 20, "{offloaded}");
        assert!(certainty(Idle::AtLeast(7, Undecided::LongerThanSysctl)).starts_with("7 s or more: "));
    }

    #[test]
    fn the_term_of_a_flow_matches_it_alone() {
        let ages = IdleEstimator::without_timeouts(0);
        let filter: ctnl::filter::Filter = term(&flow(7, 0)).unwrap().parse().unwrap();
        assert!(filter.matches(&Subject::new(&flow(7, 9), &ages)).is_match());
        for other in [flow(8, 0), Flow { id: Some(9), ..flow(7, 0) }] {
            assert!(!filter.matches(&Subject::new(&other, &ages)).is_match());
        }
        assert_eq!(term(&fake::flow(7)), None, "without an id");
    }
}
