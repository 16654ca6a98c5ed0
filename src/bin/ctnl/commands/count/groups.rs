//! `count --by`: the groups as a table or as JSON, and what of them is not known.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use anyhow::{Result, anyhow};
use ctnl::field::{Subject, Value};
use ctnl::group::{Group, GroupOrder, Groups, SortedGroups, Totals};
use ctnl::model::Undecided;
use ctnl::text::nearest;
use serde_json::{Map, Value as Json, json};

use crate::commands::all_netns::SampledNetns;
use crate::commands::direction::split_direction;
use crate::term::columns::Widths;
use crate::term::console::percent;
use crate::term::exit::usage_at;
use crate::term::stdout::written;

/// Bytes that are written at once.
const BUFFER: usize = 64 * 1024;

/// Groups, and which of them are shown.
#[derive(Debug)]
pub struct Grouping {
    groups: Groups,
    order: GroupOrder,
    /// `--sort`, as it was given.
    sort: Option<String>,
    top: usize,
    /// With `--all-netns`: the namespaces, each a part of the groups.
    netns: Vec<SampledNetns>,
}

impl Grouping {
    /// Parses `--by`, and `--sort` if given.
    pub fn parse(by: &str, sort: Option<&str>, top: Option<usize>) -> Result<Self> {
        let groups = Groups::by(by).map_err(|error| {
            usage_at("--by", by, error.span.clone(), &error.to_string(), &format!("\n  hint: {}", error.hint()))
        })?;
        let order = sort.map_or_else(|| Ok(GroupOrder::default()), |sort| parse_order(&groups, sort))?;
        Ok(Grouping { groups, order, sort: sort.map(str::to_owned), top: top.unwrap_or(usize::MAX), netns: Vec::new() })
    }

    /// Counts by namespace, too.
    pub fn by_netns(self) -> Self {
        Grouping { groups: self.groups.in_parts(), ..self }
    }

    /// The entries that follow are of this namespace.
    pub fn start_netns(&mut self, netns: &SampledNetns) {
        self.groups.start_part(u32::try_from(self.netns.len()).unwrap_or(u32::MAX));
        self.netns.push(netns.clone());
    }

    fn netns_of(&self, group: &Group<'_>) -> Option<&SampledNetns> {
        self.netns.get(group.part as usize)
    }

    /// Counts an entry. Breaks where memory has run out.
    #[inline]
    pub fn add(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        self.groups.add(subject);
        if self.groups.is_out_of_memory() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Prints the groups, as a table or as JSON.
    ///
    /// # Errors
    /// Memory ran out, so that the counts are incomplete: then nothing is printed. Or standard output failed.
    pub fn print(&self, as_json: bool) -> Result<()> {
        let sorted = self.groups.first(self.top, self.order).ok().filter(|_| !self.groups.is_out_of_memory());
        let Some(sorted) = sorted else {
            return Err(anyhow!(
                "--by: out of memory at {} groups; nothing was printed\n  hint: fewer fields, networks (src/24) or a \
                 filter make fewer groups",
                self.groups.len()
            ));
        };
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        written(self.write(&mut out, &sorted, as_json).and_then(|()| out.flush())).map(drop)
    }

    fn write(&self, out: &mut impl Write, sorted: &SortedGroups<'_>, as_json: bool) -> io::Result<()> {
        if as_json {
            return sorted.iter().try_for_each(|group| writeln!(out, "{}", self.as_json_object(&group)));
        }
        let (heads, numbers) = self.heads();
        let mut widths = Widths::of(&heads, numbers);
        sorted.iter().for_each(|group| widths.fit(&self.row(&group)));
        out.write_all(widths.line(&heads).as_bytes())?;
        sorted.iter().try_for_each(|group| out.write_all(widths.line(&self.row(&group)).as_bytes()))
    }

    /// The end of the summary.
    pub fn summary(&self) -> String {
        let (count, evictable) = (self.groups.len(), self.groups.total().evictable);
        format!(", {count} {}, {evictable} evictable", if count == 1 { "group" } else { "groups" })
    }

    /// What of the groups is unknown, and why.
    pub fn notes(&self) -> Vec<String> {
        let total = self.groups.total();
        let unknown = self.groups.undecided().map(|(by, why, entries)| {
            format!("--by {by}: {entries} of {} are unknown and are counted as ?: {why}: {}", total.entries, why.hint())
        });
        let mut notes: Vec<String> = unknown.collect();
        if self.has_traffic() && !total.is_all_counted() {
            let (missing, why) = (total.entries - total.counted, Undecided::NoAccounting);
            notes.push(format!("packets and bytes: {missing} of {} are unknown: {why}: {}", total.entries, why.hint()));
        }
        notes
    }

    fn is_sorted_by_traffic(&self) -> bool {
        self.sort.is_some() && self.order.key.needs_accounting()
    }

    fn has_traffic(&self) -> bool {
        self.groups.total().counted > 0 || self.is_sorted_by_traffic()
    }

    /// The column headers, and how many of them are numbers.
    fn heads(&self) -> (Vec<String>, usize) {
        let mut heads: Vec<String> = ["ENTRIES", "SHARE", "EVICTABLE"].map(String::from).to_vec();
        if self.has_traffic() {
            heads.extend(["PACKETS".into(), "BYTES".into()]);
        }
        let numbers = heads.len();
        heads.extend((!self.netns.is_empty()).then(|| "NETNS".to_owned()));
        heads.extend(self.groups.fields().iter().map(|by| by.to_string().to_ascii_uppercase()));
        (heads, numbers)
    }

    fn row(&self, group: &Group<'_>) -> Vec<String> {
        let totals = &group.totals;
        let share = percent(totals.entries, self.groups.total().entries);
        let mut row = vec![totals.entries.to_string(), share, totals.evictable.to_string()];
        if self.has_traffic() {
            row.extend([totals.packets, totals.bytes].map(|sum| sum_text(sum, totals)));
        }
        row.extend(self.netns_of(group).map(|netns| netns.name.clone()));
        row.extend(group.values.iter().map(ToString::to_string));
        row
    }

    fn as_json_object(&self, group: &Group<'_>) -> Json {
        let Totals { entries, evictable, counted, packets, bytes, .. } = group.totals;
        let mut object = Map::new();
        object.insert("v".into(), 1.into());
        object.extend(self.netns_of(group).into_iter().flat_map(SampledNetns::members));
        for (by, value) in self.groups.fields().iter().zip(&group.values) {
            object.insert(by.field.name.into(), json_value(value));
        }
        object.insert("entries".into(), entries.into());
        object.insert("share".into(), json!(group.share));
        object.insert("evictable".into(), evictable.into());
        if let (Some(packets), Some(bytes)) = (packets, bytes) {
            object.insert("counted".into(), counted.into());
            object.insert("packets".into(), packets.into());
            object.insert("bytes".into(), bytes.into());
        }
        Json::Object(object)
    }
}

fn parse_order(groups: &Groups, sort: &str) -> Result<GroupOrder> {
    let (name, descending) = split_direction(sort)?;
    let Some(key) = groups.order_key(&name.to_ascii_lowercase()) else {
        let hint = match nearest(name, groups.order_names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("one of {}", groups.order_names().collect::<Vec<_>>().join(", ")),
        };
        let wrong = format!("groups cannot be sorted by '{name}'");
        return Err(usage_at("--sort", sort, 0..name.len(), &wrong, &format!("\n  hint: {hint}")));
    };
    Ok(GroupOrder { key, descending: descending.unwrap_or(key.is_sum()) })
}

/// `?` where no entry was counted, `123+` where some were not.
fn sum_text(sum: Option<u64>, totals: &Totals) -> String {
    match sum {
        None => "?".to_owned(),
        Some(sum) if totals.is_all_counted() => sum.to_string(),
        Some(sum) => format!("{sum}+"),
    }
}

fn json_value(value: &Value<'_>) -> Json {
    match value {
        Value::Absent => Json::Null,
        Value::Undecided(why) => json!({ "undecided": why.name() }),
        Value::Number(number) => (*number).into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::age::IdleEstimator;
    use ctnl::model::{Counters, Flow};

    use super::*;

    /// Groups by mark, of flows with this mark and with these packets where they were counted.
    fn by_mark(sort: Option<&str>, flows: &[(u32, Option<u64>)]) -> Grouping {
        let mut grouping = Grouping::parse("mark", sort, None).unwrap();
        for (mark, packets) in flows {
            let counters = packets.map(|packets| Counters { packets, bytes: 100 * packets });
            let (counters_orig, counters_reply) = (counters, counters.map(|_| Counters::default()));
            let flow = Flow { mark: Some(*mark), counters_orig, counters_reply, ..Flow::blank() };
            let step = grouping.add(&Subject::new(&flow, &IdleEstimator::without_timeouts(0)));
            assert!(step.is_continue());
        }
        grouping
    }

    fn lines(grouping: &Grouping, as_json: bool) -> String {
        let mut out = Vec::new();
        let sorted = grouping.groups.first(grouping.top, grouping.order).unwrap();
        grouping.write(&mut out, &sorted, as_json).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sums_of_entries_that_were_never_counted_are_unknown_and_those_of_some_are_lower_bounds() {
        let grouping = by_mark(None, &[(1, None), (1, None), (1, None), (2, Some(3)), (2, None), (3, Some(0))]);
        assert_eq!(
            lines(&grouping, false),
            "ENTRIES   SHARE  EVICTABLE  PACKETS  BYTES  MARK\n\
             \x20     3  50.0 %          3        ?      ?  1\n\
             \x20     2  33.3 %          2       3+   300+  2\n\
             \x20     1  16.7 %          1        0      0  3\n"
        );
        let lines = lines(&grouping, true);
        let objects: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of =
            |place: usize| ["counted", "packets", "bytes"].map(|key| objects[place].get(key).and_then(Json::as_u64));
        assert_eq!([of(0), of(1), of(2)], [[None; 3], [Some(1), Some(3), Some(300)], [Some(1), Some(0), Some(0)]]);
        let notes = grouping.notes();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("packets and bytes: 4 of 6 are unknown: no-accounting: "), "{notes:?}");
    }

    #[test]
    fn a_sort_by_bytes_that_are_unknown_shows_them_as_unknown_and_says_why() {
        let uncounted = [(1, None), (2, None), (2, None)];
        let plain = by_mark(None, &uncounted);
        assert!(!lines(&plain, false).contains("BYTES") && plain.notes().is_empty());
        let sorted = by_mark(Some("bytes"), &uncounted);
        let lines = lines(&sorted, false);
        assert!(lines.lines().next().unwrap().contains("BYTES"), "{lines}");
        assert!(lines.lines().nth(1).unwrap().ends_with("?      ?  2"), "{lines}");
        assert!(sorted.notes()[0].contains("3 of 3 are unknown: no-accounting"), "{:?}", sorted.notes());
    }

    #[test]
    fn the_summary_counts_groups_in_singular_and_plural() {
        let summary = |marks: &[(u32, Option<u64>)]| by_mark(None, marks).summary();
        assert_eq!(summary(&[(1, None), (1, None)]), ", 1 group, 2 evictable");
        assert_eq!(summary(&[(1, None), (2, None)]), ", 2 groups, 2 evictable");
        assert_eq!(summary(&[]), ", 0 groups, 0 evictable");
    }

    #[test]
    fn a_field_that_cannot_be_determined_is_noted_with_its_reason() {
        let mut grouping = Grouping::parse("mark", None, None).unwrap();
        let ages = IdleEstimator::without_timeouts(0);
        assert!(grouping.add(&Subject::new(&Flow::blank(), &ages)).is_continue());
        let notes = grouping.notes();
        assert!(notes[0].starts_with("--by mark: 1 of 1 are unknown and are counted as ?: not-sent: "), "{notes:?}");
    }

    #[test]
    fn sums_are_sorted_with_the_largest_first_and_fields_with_the_smallest() {
        let order = |sort: &str| by_mark(Some(sort), &[]).order.descending;
        assert!(order("bytes") && order("ENTRIES") && !order("mark") && !order("bytes:asc") && order("mark:desc"));
        for (sort, hint) in
            [("byte", "did you mean bytes?"), ("dport", "one of entries, evictable"), ("mark:up", "asc")]
        {
            let error = Grouping::parse("mark", Some(sort), None).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
