//! What a frame shows: plain values, whether they come from the kernel or from a recording.

use std::sync::{Arc, Weak};

use ctnl::netlink::Netns;
use serde::Serialize;

use super::view::View;

/// How often something happens in a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Rate {
    /// So often.
    Known(f64),
    /// At least so often.
    AtLeast(f64),
    /// Unknown.
    #[default]
    Unknown,
}

/// The time since the last packet, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdleTime {
    /// Between both.
    Between(u32, u32),
    /// At least so long.
    AtLeast(u32),
    /// At most so long: some entries are undecided.
    AtMost(u32),
    /// Undecided.
    #[default]
    Unknown,
}

/// The figures of some entries.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Entries that were counted.
    pub entries: u64,
    /// The most entries besides: those that came before the group was kept. Where it is not 0, `entries` and `evictable` are lower
    /// bounds.
    pub missing: u64,
    /// Entries that are not ASSURED.
    pub evictable: u64,
    /// Entries that began, per second.
    pub new: Rate,
    /// Packets per second.
    pub packets: Rate,
    /// Bytes per second.
    pub bytes: Rate,
    /// Time since the last packet of any of them.
    pub idle: IdleTime,
}

/// A network namespace, where a frame is of several.
#[derive(Debug, Clone, Default)]
pub struct FrameNetns {
    /// No other namespace of the run has this number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What `--netns` takes for it.
    pub argument: Option<String>,
    /// The namespace, which stays the same one when its name is given to another; none in a recording, and none once it has
    /// vanished. A frame does not keep it: devices and addresses of a namespace are there as long as anything does.
    pub netns: Weak<Netns>,
}

impl PartialEq for FrameNetns {
    fn eq(&self, other: &Self) -> bool {
        (self.id, &self.name, &self.argument) == (other.id, &other.name, &other.argument)
    }
}

impl Eq for FrameNetns {}

impl FrameNetns {
    /// Whether it is the same namespace, also with another name. In a recording there are names only.
    pub fn is_same(&self, other: &FrameNetns) -> bool {
        self.id == other.id && (self.id != 0 || self.name == other.name)
    }
}

/// Whether both are the same namespace, or none.
pub fn is_same_netns(one: Option<&Arc<FrameNetns>>, other: Option<&Arc<FrameNetns>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The network namespaces that a frame is of, with `--all-netns`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetnsFigures {
    /// The only one that was read, where the frame is narrowed to it.
    pub only: Option<Arc<FrameNetns>>,
    /// Namespaces that were read.
    pub read: u64,
    /// Those that could not be read, the first ones, and why.
    pub missing: Vec<String>,
    /// Others that could not be read.
    pub more_missing: u64,
    /// Those that were read and whose events cannot be subscribed to, the first ones, and why. Not part of a recording.
    pub no_events: Vec<String>,
    /// Others of these.
    pub more_no_events: u64,
    /// The one with most entries of its maximum.
    pub fullest: String,
    /// Its entries.
    pub fullest_entries: u64,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// The values of the group, or the flow.
    pub text: String,
    /// The term of the filter language that selects exactly these entries.
    pub term: Option<String>,
    /// The figures.
    pub figures: Figures,
    /// Of a flow: its fields, by name.
    pub fields: Vec<(String, String)>,
    /// The namespace, where the frame is of several and the row of one.
    pub netns: Option<Arc<FrameNetns>>,
}

/// The fields that do not change as long as a flow exists.
const LASTING: [&str; 13] = [
    "id",
    "proto",
    "src",
    "dst",
    "sport",
    "dport",
    "icmp-type",
    "icmp-code",
    "icmp-id",
    "zone",
    "orig-zone",
    "reply-zone",
    "start",
];

impl Row {
    /// Whether it is of the same entries as a row of another frame of the same view. The text of a flow has its state, and that of
    /// a namespace its name, which change.
    pub fn is_same(&self, other: &Row) -> bool {
        let has_lasting = self.lasting().chain(other.lasting()).next().is_some();
        is_same_netns(self.netns.as_ref(), other.netns.as_ref())
            && self.lasting().eq(other.lasting())
            && match (&self.term, &other.term) {
                (Some(term), Some(other)) => term == other,
                _ => has_lasting || self.text == other.text || (self.is_netns() && other.is_netns()),
            }
    }

    /// The fields that do not change.
    fn lasting(&self) -> impl Iterator<Item = &(String, String)> {
        self.fields.iter().filter(|(name, _)| LASTING.contains(&name.as_str()))
    }

    /// Whether it is all of a namespace.
    fn is_netns(&self) -> bool {
        self.fields.is_empty() && self.netns.as_ref().is_some_and(|netns| netns.name == self.text)
    }
}

/// The rows of a view.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// What the rows are.
    pub view: View,
    /// The first rows of the order.
    pub rows: Vec<Row>,
    /// Groups, or flows, of which `rows` are the first.
    pub groups: u64,
    /// Entries of groups that were not kept, since memory is bounded.
    pub beyond: u64,
}

/// The table at one time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Frame {
    /// When its dump began, in milliseconds since 1970.
    pub at: u64,
    /// Milliseconds since the frame before; 0 for the first one.
    pub interval: u64,
    /// Milliseconds that its dump took.
    pub took: u64,
    /// The filter, as text.
    pub filter: String,
    /// Entries, by the kernel's counter. Of several namespaces, their sum.
    pub entries: u64,
    /// `nf_conntrack_max`; `None` where it is unknown or there is no limit. Of several namespaces, that of the fullest.
    pub max: Option<u64>,
    /// Entries that were dumped.
    pub seen: u64,
    /// Those of them that match the filter.
    pub matched: u64,
    /// Those of which that is undecided.
    pub undecided: u64,
    /// Entries of `seen` that are not ASSURED.
    pub evictable: u64,
    /// Entries that began, per second.
    pub new: Rate,
    /// Entries that ended, per second.
    pub destroyed: Rate,
    /// Packets dropped because the table was full or for lack of memory, per second (`drop`).
    pub drop: Rate,
    /// Entries evicted because the table was full, per second (`early_drop`).
    pub early_drop: Rate,
    /// The hash table was resized meanwhile, so entries may be missing.
    pub is_resized: bool,
    /// The tables.
    pub sections: Vec<Section>,
    /// With `--all-netns`.
    pub netns: Option<NetnsFigures>,
}

impl Frame {
    /// The entries that count against the maximum: each namespace has its own count.
    pub fn entries_of_fullest(&self) -> u64 {
        self.netns.as_ref().map_or(self.entries, |netns| netns.fullest_entries)
    }

    /// The one namespace of several that the frame is narrowed to.
    pub fn only_netns(&self) -> Option<&Arc<FrameNetns>> {
        self.netns.as_ref()?.only.as_ref()
    }

    /// The rows of `view`, if the frame has them.
    pub fn section(&self, view: View) -> Option<&Section> {
        self.sections.iter().find(|section| section.view == view)
    }
}

impl Rate {
    /// The lower bound.
    pub fn at_least(self) -> Option<f64> {
        match self {
            Rate::Known(rate) | Rate::AtLeast(rate) => Some(rate),
            Rate::Unknown => None,
        }
    }

    /// The sum. What is unknown of a part makes it a lower bound.
    pub fn sum(rates: impl IntoIterator<Item = Rate>) -> Self {
        let (mut sum, mut is_exact) = (None, true);
        for rate in rates {
            is_exact &= matches!(rate, Rate::Known(_));
            sum = rate.at_least().map(|rate| sum.unwrap_or(0.0) + rate).or(sum);
        }
        match sum {
            None => Rate::Unknown,
            Some(sum) if is_exact => Rate::Known(sum),
            Some(sum) => Rate::AtLeast(sum),
        }
    }

    /// `count` within `milliseconds`.
    pub fn known(count: u64, milliseconds: u64) -> Self {
        if milliseconds == 0 { Rate::Unknown } else { Rate::Known(count as f64 * 1000.0 / milliseconds as f64) }
    }

    /// At least `count` within `milliseconds`.
    pub fn bound(count: u64, milliseconds: u64) -> Self {
        match Rate::known(count, milliseconds) {
            Rate::Known(rate) => Rate::AtLeast(rate),
            other => other,
        }
    }
}

impl IdleTime {
    /// The lower bound.
    pub fn at_least(self) -> Option<u32> {
        match self {
            IdleTime::Between(seconds, _) | IdleTime::AtLeast(seconds) => Some(seconds),
            IdleTime::AtMost(_) | IdleTime::Unknown => None,
        }
    }
}

/// A number, `{"at_least": number}`, or null.
impl Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct AtLeast {
            at_least: f64,
        }
        // A thousandth is finer than any clock here.
        let rounded = |rate: f64| (rate * 1000.0).round() / 1000.0;
        match self {
            Rate::Known(rate) => rounded(*rate).serialize(serializer),
            Rate::AtLeast(rate) => AtLeast { at_least: rounded(*rate) }.serialize(serializer),
            Rate::Unknown => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_no_time_is_unknown() {
        assert_eq!((Rate::known(5, 0), Rate::bound(5, 0)), (Rate::Unknown, Rate::Unknown));
        assert_eq!((Rate::known(5, 2000), Rate::bound(5, 2000)), (Rate::Known(2.5), Rate::AtLeast(2.5)));
    }

    #[test]
    fn a_sum_of_which_a_part_is_unknown_is_a_lower_bound() {
        let (known, bound) = (Rate::Known(2.0), Rate::AtLeast(3.0));
        assert_eq!(Rate::sum([known, known]), Rate::Known(4.0));
        assert_eq!([Rate::sum([known, bound]), Rate::sum([Rate::Unknown, bound])], [5.0, 3.0].map(Rate::AtLeast));
        assert_eq!([Rate::sum([Rate::Unknown]), Rate::sum([])], [Rate::Unknown; 2]);
    }

    #[test]
    fn json_has_a_number_a_bound_or_null() {
        let json = |rate: Rate| serde_json::to_string(&rate).unwrap_or_default();
        assert_eq!(json(Rate::Known(1.0 / 3.0)), "0.333");
        assert_eq!(json(Rate::AtLeast(2.0)), r#"{"at_least":2.0}"#);
        assert_eq!(json(Rate::Unknown), "null");
    }
}
