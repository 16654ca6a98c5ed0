//! Frames as text and as JSON, for scripts and tickets.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::history::{Full, History};
use super::model::{Frame, IdleTime, NetnsFigures, Row, Section};
use super::text::{bound, duration, idle, rate};
use super::view::View;
use crate::term::columns::Columns;
use crate::term::console::percent;

/// Version of the JSON documents.
const VERSION: u32 = 1;

/// The time of a frame.
pub fn time(frame: &Frame, zone: &TimeZone) -> String {
    let time = i64::try_from(frame.at).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or_default();
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// When the table is full, as text.
pub fn full(full: Full) -> String {
    match full {
        Full::Now => "full".to_owned(),
        Full::In(seconds) => format!("full in {}", duration(seconds)),
        Full::NotSoon => "not filling up".to_owned(),
        Full::Unknown => "full in ?".to_owned(),
    }
}

/// A frame as text: a line of figures, and the table.
pub fn text(frame: &Frame, view: View, history: &History, zone: &TimeZone) -> String {
    let mut text = format!("{}  {}", time(frame, zone), occupancy(frame));
    text += &format!("  evictable {}", percent(frame.evictable, frame.seen));
    text += &format!("  new {}/s  destroyed {}/s", rate(frame.new), rate(frame.destroyed));
    text += &format!("  drop {}/s  early_drop {}/s", rate(frame.drop), rate(frame.early_drop));
    text += &format!("  {}\n", full(history.full()));
    if !frame.filter.is_empty() {
        text += &format!("filter {}: {} matched", ctnl::text::printable(&frame.filter), frame.matched);
        text += &if frame.undecided > 0 { format!(", {} undecided\n", frame.undecided) } else { "\n".to_owned() };
    }
    for why in frame.netns.iter().flat_map(missing) {
        text += &format!("missing: {why}\n");
    }
    for why in frame.netns.iter().flat_map(no_events) {
        text += &format!("no events: {why}\n");
    }
    if frame.is_resized {
        text += "the hash table was resized during the dump: entries may be missing\n";
    }
    if let Some(section) = frame.section(view) {
        text += &table(frame, section);
    }
    text + "\n"
}

/// What could not be read of several namespaces, and why.
pub fn missing(netns: &NetnsFigures) -> Vec<String> {
    with_more(&netns.missing, netns.more_missing)
}

/// The namespaces whose events cannot be subscribed to, and why.
pub fn no_events(netns: &NetnsFigures) -> Vec<String> {
    with_more(&netns.no_events, netns.more_no_events)
}

fn with_more(texts: &[String], more: u64) -> Vec<String> {
    let more = (more > 0).then(|| format!("{more} more"));
    texts.iter().cloned().chain(more).collect()
}

/// The namespaces of a frame, as text.
pub fn namespaces(netns: &NetnsFigures) -> String {
    match (&netns.only, netns.read) {
        (Some(only), _) => format!("netns {}", only.name),
        (None, 1) => "1 netns".to_owned(),
        (None, read) => format!("{read} netns"),
    }
}

fn occupancy(frame: &Frame) -> String {
    let of = |what: String, entries: u64| match frame.max {
        Some(max) => format!("{what} {entries} of {max} ({})", percent(entries, max)),
        None => format!("{what} {entries}"),
    };
    match &frame.netns {
        None => of("entries".to_owned(), frame.entries),
        Some(netns) if netns.only.is_some() => of(format!("{}  entries", namespaces(netns)), frame.entries),
        // Each namespace has its own count of entries, which is compared with the maximum.
        Some(netns) => {
            let fullest = of(format!("fullest {}:", netns.fullest), netns.fullest_entries);
            format!("{}  entries {}  {fullest}", namespaces(netns), frame.entries)
        }
    }
}

fn table(frame: &Frame, section: &Section) -> String {
    let heads = ["ENTRIES", "SHARE", "EVICTABLE", "NEW/S", "PACKETS/S", "BYTES/S", "IDLE", section.view.head()];
    let mut columns = Columns::new(heads.map(str::to_owned).to_vec(), heads.len() - 1);
    for Row { text, figures, .. } in &section.rows {
        columns.push(vec![
            bound(figures.entries.to_string(), figures.missing),
            percent(figures.entries, frame.matched),
            bound(figures.evictable.to_string(), figures.missing),
            rate(figures.new),
            rate(figures.packets),
            rate(figures.bytes),
            idle(figures.idle),
            text.clone(),
        ]);
    }
    let mut text = columns.to_text();
    let more = section.groups.saturating_sub(section.rows.len() as u64);
    if more > 0 {
        let what = if section.view == View::Flows { "flows" } else { "groups" };
        text += &format!("{more} more {what}\n");
    }
    if section.beyond > 0 {
        text += &format!("{} entries of groups that are not among the {} kept\n", section.beyond, section.groups);
    }
    text
}

/// A frame as a JSON object on one line.
pub fn json(frame: &Frame, view: View, history: &History) -> String {
    let seconds_to_full = match history.full() {
        Full::Now => json!(0),
        Full::In(seconds) => json!(seconds),
        Full::NotSoon | Full::Unknown => Value::Null,
    };
    let section = frame.section(view);
    let mut object = json!({
        "v": VERSION,
        "time": frame.at as f64 / 1000.0,
        "interval_ms": frame.interval,
        "dump_ms": frame.took,
        "filter": frame.filter,
        "entries": frame.entries,
        "max": frame.max,
        "seen": frame.seen,
        "matched": frame.matched,
        "undecided": frame.undecided,
        "evictable": frame.evictable,
        "new_per_s": frame.new,
        "destroyed_per_s": frame.destroyed,
        "drop_per_s": frame.drop,
        "early_drop_per_s": frame.early_drop,
        "seconds_to_full": seconds_to_full,
        "resized": frame.is_resized,
        "by": view,
        "groups": section.map(|section| section.groups),
        "entries_beyond": section.map(|section| section.beyond),
        "rows": section.map_or_else(Vec::new, |section| section.rows.iter().map(row).collect()),
    });
    if let (Some(netns), Some(members)) = (&frame.netns, object.as_object_mut()) {
        members.insert("netns".to_owned(), netns_figures(netns));
    }
    object.to_string()
}

fn netns_figures(netns: &NetnsFigures) -> Value {
    json!({
        "only": netns.only.as_ref().map(|only| &only.name),
        "read": netns.read,
        "missing": missing(netns),
        "no_events": no_events(netns),
        "fullest": netns.fullest,
        "fullest_entries": netns.fullest_entries,
    })
}

fn row(row: &Row) -> Value {
    let figures = &row.figures;
    let (at_least, at_most) = match figures.idle {
        IdleTime::Between(at_least, at_most) => (Some(at_least), Some(at_most)),
        IdleTime::AtLeast(at_least) => (Some(at_least), None),
        IdleTime::AtMost(at_most) => (None, Some(at_most)),
        IdleTime::Unknown => (None, None),
    };
    let mut object = json!({
        "group": row.text,
        "filter": row.term,
        "entries": figures.entries,
        "entries_missing": figures.missing,
        "evictable": figures.evictable,
        "new_per_s": figures.new,
        "packets_per_s": figures.packets,
        "bytes_per_s": figures.bytes,
        "idle_at_least": at_least,
        "idle_at_most": at_most,
    });
    if let (Some(netns), Some(members)) = (&row.netns, object.as_object_mut()) {
        members.insert("netns".to_owned(), netns.name.as_str().into());
    }
    object
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::super::made_up::{frame, frame_of_all};
    use super::*;

    #[test]
    fn a_frame_is_a_line_of_figures_and_a_table() {
        let mut history = History::default();
        history.add(&Frame { at: frame().at - 10_000, entries: 180_000, ..frame() });
        history.add(&frame());
        let text = text(&frame(), View::Source, &history, &TimeZone::UTC);
        let expected = "\
2026-11-29 02:00:00  entries 200000 of 262144 (76.3 %)  evictable 30.0 %  new 1200/s  destroyed 90/s+  \
drop 0/s  early_drop ?/s  full in 31s
filter tcp: 150000 matched, 3 undecided
ENTRIES    SHARE  EVICTABLE  NEW/S  PACKETS/S  BYTES/S    IDLE  SOURCE
 120000   80.0 %      50000   1100       9000     2.5M      2s  10.0.0.1
  3000+    2.0 %        12+   7.0+          ?        ?  1h30m+  2001:db8::7
      1  <0.1 %          0      ?          0        0       ?  192.0.2.1
40 more groups
7 entries of groups that are not among the 43 kept

";
        let words = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        let expected = expected.replace("90/s+", "90+/s");
        assert_eq!(words(&text), words(&expected), "{text}");
    }

    #[test]
    fn json_has_the_figures_and_null_for_what_is_unknown() {
        let mut history = History::default();
        history.add(&frame());
        let object: Value = serde_json::from_str(&json(&frame(), View::Source, &history)).unwrap();
        assert_eq!(object["destroyed_per_s"]["at_least"], 90.0);
        assert_eq!(object["early_drop_per_s"], Value::Null);
        assert_eq!(object["seconds_to_full"], Value::Null);
        assert_eq!(object["rows"][1]["filter"], "src 2001:db8::7");
        assert_eq!(
            (&object["rows"][1]["idle_at_least"], &object["rows"][1]["idle_at_most"]),
            (&json!(5400), &Value::Null)
        );
        assert_eq!((&object["by"], object["rows"].as_array().unwrap().len()), (&json!("source"), 3));
    }

    #[test]
    fn a_frame_of_all_namespaces_has_their_sum_the_fullest_one_and_what_was_not_read() {
        let mut history = History::default();
        history.add(&frame_of_all());
        let text = text(&frame_of_all(), View::Netns, &history, &TimeZone::UTC);
        assert!(
            text.contains("  2 netns  entries 200000  fullest blue: 180000 of 262144 (68.7 %)  evictable"),
            "{text}"
        );
        assert!(text.contains("\nmissing: red: cannot enter network namespace /run/netns/red: EPERM\n"), "{text}");
        assert!(!text.contains("no events"), "{text}");
        let object: Value = serde_json::from_str(&json(&frame_of_all(), View::Netns, &history)).unwrap();
        assert_eq!((&object["netns"]["read"], &object["netns"]["fullest"]), (&json!(2), &json!("blue")));
        assert_eq!((&object["rows"][1]["netns"], &object["by"]), (&json!("pid:4711(nginx)"), &json!("netns")));
        let object: Value = serde_json::from_str(&json(&frame(), View::Source, &history)).unwrap();
        assert_eq!((object.get("netns"), object["rows"][0].get("netns")), (None, None));
    }

    #[test]
    fn a_namespace_without_events_is_named_and_is_not_missing() {
        let no_events = vec!["red: ENOBUFS".to_owned()];
        let netns = NetnsFigures { no_events, more_no_events: 2, ..NetnsFigures::default() };
        let frame = Frame { netns: Some(netns), ..frame_of_all() };
        let text = text(&frame, View::Netns, &History::default(), &TimeZone::UTC);
        assert!(text.contains("\nno events: red: ENOBUFS\nno events: 2 more\n") && !text.contains("missing"), "{text}");
        let object: Value = serde_json::from_str(&json(&frame, View::Netns, &History::default())).unwrap();
        assert_eq!(object["netns"]["no_events"], json!(["red: ENOBUFS", "2 more"]));
        assert_eq!(object["netns"]["missing"], json!([]));
    }
}
