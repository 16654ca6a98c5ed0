//! What a frame of several network namespaces has behind its sections. A frame of one has nothing there.
//!
//! ```text
//! text: the namespace that it is narrowed to, or none     namespaces read
//! others that could not be read, the number of errors, texts     text: the fullest namespace, its entries
//! the number of flows, texts: the namespace of each
//! ```

use std::sync::Arc;

use super::super::model::{Frame, FrameNetns, NetnsFigures};
use super::super::view::View;
use super::codec::{Reader, put_number, put_text};

/// Appends what belongs to `frame`, of which `most` flows are recorded.
pub fn encode(frame: &Frame, most: usize, bytes: &mut Vec<u8>) {
    let Some(netns) = &frame.netns else { return };
    put_text(bytes, name(netns.only.as_ref()));
    put_number(bytes, netns.read);
    put_number(bytes, netns.more_missing);
    put_number(bytes, netns.missing.len() as u64);
    netns.missing.iter().for_each(|text| put_text(bytes, text));
    put_text(bytes, &netns.fullest);
    put_number(bytes, netns.fullest_entries);
    let flows = frame.section(View::Flows).map_or(&[][..], |section| &section.rows).iter().take(most);
    put_number(bytes, flows.len() as u64);
    flows.for_each(|row| put_text(bytes, name(row.netns.as_ref())));
}

fn name(netns: Option<&Arc<FrameNetns>>) -> &str {
    netns.map_or("", |netns| &netns.name)
}

/// Reads it into `frame`, whose sections were read.
pub fn decode(reader: &mut Reader<'_>, frame: &mut Frame) -> Option<()> {
    let mut netns = NetnsFigures { only: named(reader.text()?), read: reader.number()?, ..NetnsFigures::default() };
    netns.more_missing = reader.number()?;
    for _ in 0..reader.number()? {
        netns.missing.push(reader.text()?);
    }
    (netns.fullest, netns.fullest_entries) = (reader.text()?, reader.number()?);
    let count = reader.number()?;
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
