//! Tests with recorded dumps (`tests/data`) and what conntrack(8) printed for them.

use std::sync::Arc;

use super::*;
use crate::field::Subject;
use crate::model::{Flow, LabelNames};
use crate::wire::{MessageClass, Messages};

/// A dump, its text, its text with all options, and the names of its labels.
struct Recording {
    dump: &'static [u8],
    text: &'static str,
    all: &'static str,
    names: &'static str,
}

macro_rules! recording {
    ($name:literal, $names:literal) => {
        Recording {
            dump: include_bytes!(concat!("../../tests/data/", $name, ".bin")),
            text: include_str!(concat!("../../tests/data/", $name, ".conntrack")),
            all: include_str!(concat!("../../tests/data/", $name, ".conntrack-all")),
            names: include_str!(concat!("../../tests/data/", $names)),
        }
    };
}

fn recordings() -> [Recording; 3] {
    [
        recording!("traffic", "connlabel.conf"),
        recording!("created", "connlabel.conf"),
        recording!("crafted", "crafted.connlabel.conf"),
    ]
}

/// The entries of all recordings.
pub(super) fn flows() -> Vec<Flow> {
    recordings().iter().flat_map(|recording| flows_in(recording.dump)).collect()
}

fn flows_in(dump: &[u8]) -> Vec<Flow> {
    let messages = Messages::new(dump).map(Result::unwrap);
    let data = messages.filter(|message| matches!(message.classify(), Ok(MessageClass::Data)));
    data.map(|message| Flow::decode(&message).unwrap()).collect()
}

fn compare(recording: &Recording, expected: &str, options: TextOptions) {
    let mut lines = expected.lines();
    let now = lines.next().unwrap().strip_prefix("# now=").unwrap().parse().unwrap();
    let ages = sample::ages(now);
    let mut writer = CONNTRACK.writer(WriterOptions { text: options, columns: None }).unwrap();
    let mut out = Vec::new();
    for flow in flows_in(recording.dump) {
        out.clear();
        writer.flow(&mut out, &Subject::new(&flow, &ages));
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!("{}\n", lines.next().unwrap()));
    }
    assert_eq!(lines.next(), None);
}

#[test]
#[cfg(target_endian = "little")]
fn the_text_is_what_conntrack_printed_for_the_same_bytes() {
    for recording in recordings() {
        compare(&recording, recording.text, TextOptions::default());
        let labels = Some(Arc::new(LabelNames::parse(recording.names)));
        let all = TextOptions { extended: true, id: true, ktimestamp: true, labels, ..TextOptions::default() };
        compare(&recording, recording.all, all);
    }
}

#[test]
fn without_any_name_labels_are_not_written_in_text_and_xml() {
    let names = Some(Arc::new(LabelNames::parse("# none\n")));
    let with = |format: &Format, labels| {
        let text = TextOptions { extended: true, labels, ..TextOptions::default() };
        let mut writer = format.writer(WriterOptions { text, columns: None }).unwrap();
        let (mut out, ages) = (Vec::new(), sample::ages(0));
        flows().iter().for_each(|flow| writer.flow(&mut out, &Subject::new(flow, &ages)));
        String::from_utf8(out).unwrap()
    };
    assert!(flows().iter().any(|flow| flow.labels.is_some()));
    for format in [&CONNTRACK, &XML] {
        assert_eq!(with(format, names.clone()), with(format, None), "{}", format.name);
    }
}
