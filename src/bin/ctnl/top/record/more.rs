//! What is behind the sections of a frame, in parts: a number that says which one, its length, and its bytes. A part that is
//! unknown is skipped, and a recording of the first version has none.
//!
//! ```text
//! 1: the entries that may be missing, of each row of each section. Left out where none is missing.
//! 3: the fields of flows (`fields`). Left out where there are none.
//! 2, of several network namespaces:
//!    text: the namespace that it is narrowed to, or none     namespaces read
//!    others that could not be read, the number of errors, texts     text: the fullest namespace, its entries
//!    the number of flows, texts: the namespace of each
//! ```

use std::sync::Arc;

use super::super::model::{Frame, FrameNetns, NetnsFigures, Row, Section};
use super::super::view::View;
use super::bytes::{Reader, put_number, put_text};
use super::fields::{put_fields, read_fields};

const MISSING: u64 = 1;
const NETNS: u64 = 2;
const FIELDS: u64 = 3;

/// The rows of a section that are recorded, where the first `rows` of each are: fewer flows, since these have fields.
pub fn recorded(section: &Section, rows: usize) -> &[Row] {
    let most = if section.view == View::Flows { rows * 2 / 5 } else { rows };
    section.rows.get(..most).unwrap_or(&section.rows)
}

/// Appends what belongs to `frame`, of whose sections the first `rows` rows are recorded.
pub fn encode(frame: &Frame, rows: usize, bytes: &mut Vec<u8>) {
    let all = frame.sections.iter().flat_map(|section| recorded(section, rows));
    let missing: Vec<u64> = all.map(|row| row.figures.missing).collect();
    if missing.iter().any(|missing| *missing > 0) {
        put_part(bytes, MISSING, |part| missing.iter().for_each(|missing| put_number(part, *missing)));
    }
    let flows = frame.section(View::Flows).map_or(&[][..], |section| recorded(section, rows));
    if flows.iter().any(|row| !row.fields.is_empty()) {
        put_part(bytes, FIELDS, |part| put_fields(part, flows));
    }
    if let Some(netns) = &frame.netns {
        put_part(bytes, NETNS, |part| put_netns(part, netns, flows));
    }
}

fn put_part(bytes: &mut Vec<u8>, number: u64, put: impl FnOnce(&mut Vec<u8>)) {
    let mut part = Vec::new();
    put(&mut part);
    put_number(bytes, number);
    put_number(bytes, part.len() as u64);
    bytes.extend_from_slice(&part);
}

fn put_netns(bytes: &mut Vec<u8>, netns: &NetnsFigures, flows: &[Row]) {
    put_text(bytes, name(netns.only.as_ref()));
    put_number(bytes, netns.read);
    put_number(bytes, netns.more_missing);
    put_number(bytes, netns.missing.len() as u64);
    netns.missing.iter().for_each(|text| put_text(bytes, text));
    put_text(bytes, &netns.fullest);
    put_number(bytes, netns.fullest_entries);
    put_number(bytes, flows.len() as u64);
    flows.iter().for_each(|row| put_text(bytes, name(row.netns.as_ref())));
}

fn name(netns: Option<&Arc<FrameNetns>>) -> &str {
    netns.map_or("", |netns| &netns.name)
}

/// Reads one part into `frame`, whose sections were read.
pub fn decode(reader: &mut Reader<'_>, frame: &mut Frame) -> Option<()> {
    let (number, length) = (reader.number()?, usize::try_from(reader.number()?).ok()?);
    let (part, rest) = reader.rest.split_at_checked(length)?;
    reader.rest = rest;
    let mut part = Reader { rest: part };
    match number {
        MISSING => {
            for row in frame.sections.iter_mut().flat_map(|section| &mut section.rows) {
                row.figures.missing = part.number()?;
            }
        }
        FIELDS => {
            let flows = frame.sections.iter_mut().find(|section| section.view == View::Flows)?;
            read_fields(&mut part, &mut flows.rows)?;
        }
        NETNS => read_netns(&mut part, frame)?,
        _ => return Some(()),
    }
    part.rest.is_empty().then_some(())
}

fn read_netns(reader: &mut Reader<'_>, frame: &mut Frame) -> Option<()> {
    let mut netns = NetnsFigures { only: named(reader.text()?), read: reader.number()?, ..NetnsFigures::default() };
    netns.more_missing = reader.number()?;
    for _ in 0..reader.count()? {
        netns.missing.push(reader.text()?);
    }
    (netns.fullest, netns.fullest_entries) = (reader.text()?, reader.number()?);
    let count = reader.count()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(named(reader.text()?));
    }
    for section in &mut frame.sections {
        match section.view {
            View::Netns => section.rows.iter_mut().for_each(|row| row.netns = named(row.text.clone())),
            View::Flows => section.rows.iter_mut().zip(&names).for_each(|(row, netns)| row.netns.clone_from(netns)),
            _ => {}
        }
    }
    frame.netns = Some(netns);
    Some(())
}

fn named(name: String) -> Option<Arc<FrameNetns>> {
    (!name.is_empty()).then(|| Arc::new(FrameNetns { name, ..FrameNetns::default() }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::made_up::frame_of_all;
    use super::super::codec::{decode, encode};
    use super::*;

    #[test]
    fn a_part_of_a_later_version_is_skipped_and_the_others_are_read() {
        let mut bytes = Vec::new();
        encode(&Frame { netns: None, sections: Vec::new(), ..frame_of_all() }, 20, &mut bytes);
        put_part(&mut bytes, 77, |part| part.extend_from_slice(b"what is not known"));
        put_part(&mut bytes, NETNS, |part| put_netns(part, &frame_of_all().netns.unwrap(), &[]));
        assert_eq!(decode(&bytes).unwrap().netns, frame_of_all().netns);
    }
}
