//! A row of `ctnl list -o table` with its default columns.
//!
//! A row shows no zone, and the parts of ICMP and GRE entries apart from the addresses are missing.

use super::error::PartError;
use super::reader::{Reader, endpoint, read_protocol};
use super::words::{Word, is_state};
use crate::wire::Family;

/// Reads a row, with `ipv4` or `ipv6` in front of it or without: protocol, state, source, destination, NAT (optional), idle time, timeout, packets and bytes
/// (optional). `None` if the words are something else.
pub(super) fn read(words: &[Word<'_>]) -> Option<Result<Reader, PartError>> {
    let (family, words) = match words {
        [Word { text: "ipv4", .. }, words @ ..] => (Some(Family::V4), words),
        [Word { text: "ipv6", .. }, words @ ..] => (Some(Family::V6), words),
        words => (None, words),
    };
    let [protocol, state, src, dst, cells @ ..] = words else { return None };
    let has_state = is_state(state.text) || is_unknown(state.text) || is_number(state.text);
    let (src_end, dst_end) = (endpoint(src.text)?, endpoint(dst.text)?);
    if !has_state || !are_cells(cells) {
        return None;
    }
    let mut reader = Reader::of_columns();
    reader.family = family;
    reader.add_endpoint(src_end, src.span.clone());
    reader.add_endpoint(dst_end, dst.span.clone());
    Some(read_protocol(&mut reader, protocol).map(|()| reader))
}

/// Whether `cells` are those behind the addresses.
fn are_cells(cells: &[Word<'_>]) -> bool {
    let cells = match cells {
        [nat, rest @ ..] if matches!(nat.text, "none" | "src" | "dst" | "src+dst") => rest,
        cells => cells,
    };
    let is_time = |cell: &Word<'_>| is_unknown(cell.text) || is_duration(cell.text);
    let is_counter = |cell: &Word<'_>| is_unknown(cell.text) || is_number(cell.text);
    match cells {
        [idle, timeout] => is_time(idle) && is_time(timeout),
        [idle, timeout, packets, bytes] => {
            is_time(idle) && is_time(timeout) && is_counter(packets) && is_counter(bytes)
        }
        _ => false,
    }
}

/// A cell without a value, or with one that is not known.
fn is_unknown(cell: &str) -> bool {
    matches!(cell, "-" | "?")
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit())
}

/// `17s`, `5m03s`, `12h05m`, `4d23h`; with `+` at the end for a lower bound.
fn is_duration(cell: &str) -> bool {
    let cell = cell.strip_suffix('+').unwrap_or(cell);
    let mut parts = cell.split_inclusive(|character: char| !character.is_ascii_digit());
    let is_part = |part: &str| part.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(is_number);
    parts.next().is_some_and(is_part) && parts.next().is_none_or(is_part) && parts.next().is_none()
}
