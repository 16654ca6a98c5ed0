//! A frame as bytes, for a recording: numbers in as few bytes as they need, and no names of fields.
//!
//! ```text
//! number: 7 bits a byte, the lowest first, the highest bit is set in all bytes but the last
//! text: length, bytes     rate: two bytes (`put_rate`)     idle: 0 to 3, then its bounds
//! frame: figures in the order of `Frame`, the number of sections, sections
//! section: view, groups, beyond, the number of rows, rows
//! ```
//!
//! What the first version does not have is behind the sections (`more`).

use super::super::model::{Figures, Frame, IdleTime, Rate, Row, Section};
use super::super::view::View;
use super::bytes::{Reader, put_number, put_text};
use super::{MOST_ROWS, more};

/// Appends `frame` with the first `rows` rows of each section, and fewer flows, since these have fields. Terms are left out.
pub fn encode(frame: &Frame, rows: usize, bytes: &mut Vec<u8>) {
    let Frame { at, interval, took, entries, seen, matched, undecided, evictable, .. } = *frame;
    for number in [at, interval, took, entries, seen, matched, undecided, evictable] {
        put_number(bytes, number);
    }
    put_number(bytes, frame.max.map_or(0, |max| max.saturating_add(1)));
    put_number(bytes, frame.is_resized.into());
    for rate in [frame.new, frame.destroyed, frame.drop, frame.early_drop] {
        put_rate(bytes, rate);
    }
    put_text(bytes, &frame.filter);
    put_number(bytes, frame.sections.len() as u64);
    frame.sections.iter().for_each(|section| put_section(bytes, section, rows));
    more::encode(frame, rows, bytes);
}

fn put_section(bytes: &mut Vec<u8>, section: &Section, rows: usize) {
    let rows = more::recorded(section, rows);
    put_number(bytes, section.view as u64);
    put_number(bytes, section.groups);
    put_number(bytes, section.beyond);
    put_number(bytes, rows.len() as u64);
    for Row { text, figures, .. } in rows {
        put_text(bytes, text);
        put_number(bytes, figures.entries);
        put_number(bytes, figures.evictable);
        for rate in [figures.new, figures.packets, figures.bytes] {
            put_rate(bytes, rate);
        }
        put_idle(bytes, figures.idle);
    }
}

/// Two bytes: 0 for unknown, else twice the number, and 1 or 2 more. The number is three digits of tenths, and 1000 for each
/// further digit. What is not nothing is not written as nothing.
fn put_rate(bytes: &mut Vec<u8>, rate: Rate) {
    let (kind, rate) = match rate {
        Rate::Unknown => return bytes.extend_from_slice(&[0, 0]),
        Rate::Known(rate) => (1, rate),
        Rate::AtLeast(rate) => (2, rate),
    };
    let mut tenths = if rate > 0.0 { ((rate * 10.0).round() as u64).max(1) } else { 0 };
    let mut more = 0u16;
    while tenths > 999 {
        tenths = tenths / 10 + u64::from(tenths % 10 >= 5);
        more += 1;
    }
    // At most 20 digits, so that it fits.
    let number = 1000 * more + u16::try_from(tenths).unwrap_or(999);
    bytes.extend_from_slice(&(2 * number + kind).to_le_bytes());
}

fn put_idle(bytes: &mut Vec<u8>, idle: IdleTime) {
    let numbers: &[u32] = match &idle {
        IdleTime::Unknown => &[0],
        IdleTime::Between(low, high) => &[1, *low, high.saturating_sub(*low)],
        IdleTime::AtLeast(low) => &[2, *low],
        IdleTime::AtMost(high) => &[3, *high],
    };
    numbers.iter().for_each(|number| put_number(bytes, (*number).into()));
}

/// The frame of `bytes`; `None` where they are none, or not all of them are used.
pub fn decode(bytes: &[u8]) -> Option<Frame> {
    let mut reader = Reader { rest: bytes };
    let frame = reader.frame()?;
    reader.rest.is_empty().then_some(frame)
}

/// The time of the frame of `bytes`.
pub fn time(bytes: &[u8]) -> Option<u64> {
    Reader { rest: bytes }.number()
}

impl Reader<'_> {
    fn frame(&mut self) -> Option<Frame> {
        let mut frame =
            Frame { at: self.number()?, interval: self.number()?, took: self.number()?, ..Frame::default() };
        for number in
            [&mut frame.entries, &mut frame.seen, &mut frame.matched, &mut frame.undecided, &mut frame.evictable]
        {
            *number = self.number()?;
        }
        frame.max = self.number()?.checked_sub(1);
        frame.is_resized = self.number()? != 0;
        for rate in [&mut frame.new, &mut frame.destroyed, &mut frame.drop, &mut frame.early_drop] {
            *rate = self.rate()?;
        }
        frame.filter = self.text()?;
        // Memory is not reserved by a number that is read.
        for _ in 0..self.count()? {
            let section = self.section()?;
            frame.sections.push(section);
        }
        while !self.rest.is_empty() {
            more::decode(self, &mut frame)?;
        }
        Some(frame)
    }

    /// The number of what follows; `None` where it is more than any recording has.
    pub fn count(&mut self) -> Option<u64> {
        self.number().filter(|count| *count <= MOST_ROWS)
    }

    fn section(&mut self) -> Option<Section> {
        let view = *View::ALL.get(usize::try_from(self.number()?).ok()?)?;
        let (groups, beyond, count) = (self.number()?, self.number()?, self.count()?);
        let mut rows = Vec::new();
        for _ in 0..count {
            let text = self.text()?;
            let figures = Figures {
                entries: self.number()?,
                evictable: self.number()?,
                new: self.rate()?,
                packets: self.rate()?,
                bytes: self.rate()?,
                idle: self.idle()?,
                ..Figures::default()
            };
            rows.push(Row { text, figures, ..Row::default() });
        }
        Some(Section { view, rows, groups, beyond })
    }

    fn rate(&mut self) -> Option<Rate> {
        let (code, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        let Some(code) = u16::from_le_bytes(*code).checked_sub(1) else { return Some(Rate::Unknown) };
        let number = code / 2;
        let rate = f64::from(number % 1000) * 10f64.powi(i32::from(number / 1000)) / 10.0;
        Some(if code % 2 == 0 { Rate::Known(rate) } else { Rate::AtLeast(rate) })
    }

    fn idle(&mut self) -> Option<IdleTime> {
        let kind = self.number()?;
        let mut seconds = || self.number().and_then(|number| u32::try_from(number).ok());
        Some(match kind {
            0 => IdleTime::Unknown,
            1 => {
                let low = seconds()?;
                IdleTime::Between(low, low.checked_add(seconds()?)?)
            }
            2 => IdleTime::AtLeast(seconds()?),
            3 => IdleTime::AtMost(seconds()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use super::super::super::made_up::{frame, frame_of_all};
    use super::super::super::model::FrameNetns;
    use super::*;

    /// What is recorded of a frame.
    fn recorded(mut frame: Frame) -> Frame {
        let by_name = |netns: &mut Option<Arc<FrameNetns>>| {
            let name = netns.as_ref().map(|netns| netns.name.clone());
            *netns = name.map(|name| Arc::new(FrameNetns { name, ..FrameNetns::default() }));
        };
        frame.netns.iter_mut().for_each(|netns| by_name(&mut netns.only));
        frame.sections.iter_mut().flat_map(|section| &mut section.rows).for_each(|row| by_name(&mut row.netns));
        for row in frame.sections.iter_mut().flat_map(|section| &mut section.rows) {
            row.term = None;
        }
        frame
    }

    #[test]
    fn a_frame_is_decoded_as_it_was() {
        let mut full = Frame { max: None, is_resized: true, at: u64::MAX, ..frame() };
        full.sections[0].rows[0].figures.idle = IdleTime::AtMost(7);
        let mut narrowed = frame_of_all();
        if let Some(netns) = &mut narrowed.netns {
            netns.only = Some(Arc::new(FrameNetns { id: 7, name: "blue".to_owned(), ..FrameNetns::default() }));
            netns.more_missing = 3;
        }
        for frame in [frame(), full, Frame::default(), frame_of_all(), narrowed] {
            let mut bytes = Vec::new();
            encode(&frame, 20, &mut bytes);
            assert_eq!(time(&bytes), Some(frame.at));
            assert_eq!(decode(&bytes).unwrap(), recorded(frame));
        }
    }

    #[test]
    fn the_fields_of_flows_keep_their_order_also_where_only_some_have_them() {
        let row = |names: &[&str]| Row {
            fields: names.iter().map(|name| ((*name).to_owned(), format!("{name} of {}", names.len()))).collect(),
            ..Row::default()
        };
        let rows = vec![row(&["idle", "proto", "state"]), row(&["source NAT", "idle", "mark", "proto"]), row(&[])];
        let section = Section { view: View::Flows, rows, groups: 3, beyond: 0 };
        let frame = Frame { sections: vec![section], ..Frame::default() };
        let mut bytes = Vec::new();
        encode(&frame, 20, &mut bytes);
        assert_eq!(decode(&bytes).unwrap(), frame);
    }

    #[test]
    fn bytes_that_are_cut_or_changed_are_a_frame_or_none_and_nothing_panics() {
        let mut bytes = Vec::new();
        encode(&frame(), 20, &mut bytes);
        let of_one = bytes.len();
        encode(&frame_of_all(), 20, &mut bytes);
        bytes.drain(..of_one);
        for length in 0..bytes.len() {
            let cut = decode(&bytes[..length]);
            assert!(cut.is_none_or(|frame| frame.netns.is_none()), "{length}: without the last part");
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0xff;
            let _ = decode(&changed);
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), None, "something is behind it");
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let mut bytes = Vec::new();
        encode(&Frame { filter: "\x1b[2J".to_owned(), ..Frame::default() }, 20, &mut bytes);
        assert!(!decode(&bytes).unwrap().filter.contains('\x1b'));
    }

    #[test]
    fn a_rate_that_is_not_nothing_is_not_recorded_as_nothing() {
        let mut bytes = Vec::new();
        encode(&Frame { new: Rate::Known(0.01), ..Frame::default() }, 20, &mut bytes);
        assert_eq!(decode(&bytes).unwrap().new, Rate::Known(0.1));
    }

    #[test]
    fn a_rate_keeps_three_digits() {
        let rates = [0.0, 0.3, 99.9, 1234.0, 9999.0, 2.5e9, 1e18].map(|rate| {
            let mut bytes = Vec::new();
            put_rate(&mut bytes, Rate::AtLeast(rate));
            Reader { rest: &bytes }.rate()
        });
        let expected = [0.0, 0.3, 99.9, 1230.0, 10_000.0, 2.5e9, 1e18];
        assert_eq!(rates, expected.map(|rate| Some(Rate::AtLeast(rate))));
    }
}
