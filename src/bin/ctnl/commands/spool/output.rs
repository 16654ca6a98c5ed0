//! The reports of `ctnl spool`, as text and as JSON.

use std::fmt::Write as _;

use ctnl::text::printable;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::contents::{Amount, Contents, StreamContents};
use crate::sink::Damage;
use crate::term::columns::Columns;

/// What is in a spool.
pub fn text(contents: &Contents) -> String {
    let (segments, bytes) = contents.segments;
    let mut text = format!("{}\n", printable(&contents.folder.display().to_string()));
    let _ = writeln!(text, "  sink       {}", sink(contents));
    let _ = writeln!(text, "  waiting    {}", amount(contents.waiting));
    let _ = writeln!(text, "  delivered  {}, still on the disk", amount(contents.delivered));
    if contents.kept.lines > 0 {
        let _ = writeln!(text, "  kept       {} after they were acknowledged", amount(contents.kept));
    }
    let _ = writeln!(text, "  disk       {bytes} bytes in {segments} segments");
    if contents.missing > 0 {
        let _ = writeln!(text, "  missing    {} lines", contents.missing);
    }
    if contents.is_damaged() {
        let _ = writeln!(text, "  damaged    {} parts: ctnl spool check", contents.damaged);
    }
    if !contents.streams.is_empty() {
        for line in table(&contents.streams).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn sink(contents: &Contents) -> String {
    match &contents.sink {
        Some((name, true)) => printable(name).into_owned(),
        Some((name, false)) => format!("{}…", printable(name)),
        None => "unknown: the folder was renamed".into(),
    }
}

fn amount(amount: Amount) -> String {
    format!("{} lines, {} bytes", amount.lines, amount.bytes)
}

fn table(streams: &[StreamContents]) -> String {
    let heads = ["LINES", "BYTES", "MISSING", "FROM", "TO", "STREAM", "FIRST", "LAST"];
    let mut columns = Columns::new(heads.map(str::to_owned).to_vec(), 5);
    for stream in streams {
        let (first, last) = stream.times.map_or(("-".into(), "-".into()), |(first, last)| (time(first), time(last)));
        let numbers = [stream.waiting.lines, stream.waiting.bytes, stream.missing, stream.first, stream.last];
        let mut row: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        row.extend([stream.stream.to_string(), first, last]);
        columns.push(row);
    }
    columns.to_text()
}

/// UTC, to the millisecond.
fn time(nanoseconds: u64) -> String {
    let millisecond = i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millisecond).map_or_else(|_| "-".into(), |time| format!("{time:.3}"))
}

/// Whether a spool is whole, and what is not.
pub fn verdict(contents: &Contents) -> String {
    let folder = contents.folder.display().to_string();
    let mut text = format!("{}: ", printable(&folder));
    if !contents.is_damaged() {
        let _ = writeln!(text, "whole, {} waiting in {} segments", amount(contents.waiting), contents.segments.0);
        return text;
    }
    let _ = writeln!(text, "damaged in {} places", contents.damaged);
    for damage in &contents.damage {
        let _ = writeln!(text, "  {}", printable(&describe(damage)));
    }
    if contents.damaged > contents.damage.len() as u64 {
        let _ = writeln!(text, "  … and {} more", contents.damaged - contents.damage.len() as u64);
    }
    text
}

/// A damaged part.
pub fn describe(damage: &Damage) -> String {
    match damage {
        Damage::Position => "position: damaged; lines that are delivered will be delivered again".into(),
        Damage::Header { segment } => format!("{}: the header is damaged", segment.display()),
        Damage::Bytes { segment, from, to } => {
            format!("{}: bytes {from} to {} are damaged", segment.display(), to.saturating_sub(1))
        }
        Damage::LineCount { segment, stream, first } => {
            format!("{}: the chunk of line {first} of stream {stream} has another number of lines", segment.display())
        }
        Damage::Segments { first, count: 1 } => format!("{}: deleted", first.display()),
        Damage::Segments { first, count } => format!("{} and {} more: deleted", first.display(), count - 1),
        Damage::Lines { stream, first, count } => {
            format!("lines {first} to {} of stream {stream} are missing", first.saturating_add(*count) - 1)
        }
        Damage::Unreadable { segment, error } => format!("{}: cannot be read: {error}", segment.display()),
    }
}

/// One line of JSON.
pub fn json(contents: &Contents) -> String {
    let amount = |amount: Amount| json!({ "lines": amount.lines, "bytes": amount.bytes });
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.into(), value));
    put("v", 1.into());
    put("folder", contents.folder.display().to_string().into());
    if let Some((name, is_all)) = &contents.sink {
        put(if *is_all { "sink" } else { "sink_prefix" }, name.as_str().into());
    }
    put("waiting", amount(contents.waiting));
    put("delivered", amount(contents.delivered));
    put("kept", amount(contents.kept));
    put("segments", contents.segments.0.into());
    put("disk_bytes", contents.segments.1.into());
    put("missing", contents.missing.into());
    put("damaged", contents.damaged.into());
    put("damage", contents.damage.iter().map(describe).collect::<Vec<_>>().into());
    put("streams", contents.streams.iter().map(stream).collect());
    format!("{}\n", Value::Object(object))
}

fn stream(stream: &StreamContents) -> Value {
    let Amount { lines, bytes } = stream.waiting;
    let mut object = json!({
        "stream": &*stream.stream, "lines": lines, "bytes": bytes, "missing": stream.missing,
        "first_seq": stream.first, "last_seq": stream.last,
    });
    if let (Some((first, last)), Some(object)) = (stream.times, object.as_object_mut()) {
        object.insert("first_ns".into(), first.into());
        object.insert("last_ns".into(), last.into());
    }
    object
}
