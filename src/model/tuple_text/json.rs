//! A line of JSON: of a list (`docs/flow.schema.json`), of an event stream (`docs/event.schema.json`), or with
//! columns (`--columns`).

use super::super::protocol::protocol_from_name;
use super::error::{PartError, ROW_HINT};
use super::json_scanner::{Scanner, Value, ValueKind};
use super::reader::{Reader, Side};
use crate::wire::Family;

/// Reads the object that `text` is.
pub(super) fn read(text: &str) -> Result<Reader, PartError> {
    let mut reader = Reader::of_columns();
    reader.is_json = true;
    Scanner::new(text).read(&mut |path, value| read_member(&mut reader, path, value))?;
    Ok(reader)
}

fn read_member(reader: &mut Reader, path: &[&str], value: Value<'_>) -> Result<(), PartError> {
    match path {
        ["event"] => check_event(&value),
        // Only columns have no version. Where there is one, a zone that is absent is 0.
        ["v"] => {
            reader.is_row = false;
            Ok(())
        }
        ["flow", path @ ..] | path => read_entry(reader, path, &value),
    }
}

fn read_entry(reader: &mut Reader, path: &[&str], value: &Value<'_>) -> Result<(), PartError> {
    match path {
        ["family"] => {
            reader.family = family(value);
            Ok(())
        }
        ["proto"] => read_protocol(reader, value),
        ["orig" | "reply", "unknown_part"] => {
            Err(PartError::new(value.span.clone(), "the tuple has a part that this version does not know"))
        }
        ["orig", "zone"] | ["zone_orig" | "orig-zone"] => read_pair(reader, "zone-orig", value),
        ["orig", key] => read_part(reader, Side::Orig, key, value),
        ["reply", key] => read_part(reader, Side::Reply, key, value),
        [key @ ("src" | "dst" | "sport" | "dport" | "srckey" | "dstkey")] => read_part(reader, Side::Orig, key, value),
        ["icmp_type" | "icmp-type"] => read_part(reader, Side::Orig, "type", value),
        ["icmp_code" | "icmp-code"] => read_part(reader, Side::Orig, "code", value),
        ["icmp_id" | "icmp-id"] => read_part(reader, Side::Orig, "id", value),
        [key @ ("zone" | "id" | "netns")] => read_pair(reader, key, value),
        _ => Ok(()),
    }
}

/// Refuses the records that have no entry.
fn check_event(value: &Value<'_>) -> Result<(), PartError> {
    match value.kind {
        ValueKind::Text("new" | "update" | "destroy" | "begin" | "end") => Ok(()),
        ValueKind::Text(event) => Err(PartError::new(value.span.clone(), format!("a record '{event}' has no entry"))),
        _ => Err(PartError::new(value.span.clone(), "invalid event: expected a string")),
    }
}

fn family(value: &Value<'_>) -> Option<Family> {
    match value.kind {
        ValueKind::Text("ipv4") => Some(Family::V4),
        ValueKind::Text("ipv6") => Some(Family::V6),
        _ => None,
    }
}

fn read_protocol(reader: &mut Reader, value: &Value<'_>) -> Result<(), PartError> {
    let text = plain(value)?;
    let unknown = || PartError::new(value.span.clone(), format!("unknown protocol '{text}'"));
    if reader.protocol.is_some() {
        return Err(PartError::new(value.span.clone(), "repeated proto"));
    }
    reader.protocol = Some(protocol_from_name(text).ok_or_else(unknown)?);
    Ok(())
}

fn read_pair(reader: &mut Reader, key: &str, value: &Value<'_>) -> Result<(), PartError> {
    if value.kind == ValueKind::Word("null") {
        return Ok(());
    }
    reader.read_pair(key, plain(value)?, value.span.clone())
}

/// Reads a member of one direction; counters and what a later version adds are no part of the tuple.
fn read_part(reader: &mut Reader, side: Side, key: &str, value: &Value<'_>) -> Result<(), PartError> {
    let is_part = matches!(key, "src" | "dst" | "sport" | "dport" | "srckey" | "dstkey" | "type" | "code" | "id");
    if !is_part || value.kind == ValueKind::Word("null") {
        return Ok(());
    }
    reader.read_part(Some(side), key, plain(value)?, value.span.clone())
}

/// The text of a string without escapes or of a number.
fn plain<'a>(value: &Value<'a>) -> Result<&'a str, PartError> {
    match value.kind {
        ValueKind::Text(text) | ValueKind::Word(text) if !text.contains('\\') => Ok(text),
        ValueKind::Array => Err(PartError::new(value.span.clone(), "expected one value").with_hint(ROW_HINT)),
        _ => Err(PartError::new(value.span.clone(), "unexpected '\\': expected a value without escapes")),
    }
}
