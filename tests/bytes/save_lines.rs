//! The lines of `-o save` are read as the entries that they were written of.

use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::model::{Flow, Status};
use ctnl::output::{SAVE, WriterOptions};
use ctnl::snapshot::{SaveReader, SnapshotError};
use ctnl::wire::{MessageClass, Messages};

fn recorded() -> Vec<Flow> {
    let dumps: [&[u8]; 2] = [include_bytes!("../data/traffic.bin"), include_bytes!("../data/created.bin")];
    let messages = dumps.iter().flat_map(|dump| Messages::new(dump).map(Result::unwrap));
    let data = messages.filter(|message| matches!(message.classify(), Ok(MessageClass::Data)));
    data.map(|message| Flow::decode(&message).unwrap()).collect()
}

fn read(file: &[u8]) -> Result<Vec<Flow>, SnapshotError> {
    let (mut reader, mut flows, mut flow) = (SaveReader::new(file)?, Vec::new(), Flow::blank());
    while reader.next_entry(&mut flow)? {
        flows.push(flow.clone());
    }
    Ok(flows)
}

/// The line of `flow`.
fn line_of(flow: &Flow) -> String {
    let mut out = Vec::new();
    let ages = IdleEstimator::without_timeouts(0);
    let mut writer = SAVE.writer(WriterOptions::default()).unwrap();
    writer.flow(&mut out, &Subject::new(flow, &ages));
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_is_read_as_the_entry_that_it_was_written_of() {
    let mut compared = 0;
    for flow in recorded() {
        let line = line_of(&flow);
        let read = read(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
        let [read] = &read[..] else { panic!("{line}") };
        assert_eq!((read.orig, read.reply), (flow.orig, flow.reply), "{}", line_of(&flow));
        assert_eq!((read.timeout, read.zone()), (flow.timeout, flow.zone()));
        let shown = Status::SeenReply | Status::Assured | Status::FixedTimeout | Status::Expected;
        assert_eq!(read.status & shown, flow.status & shown);
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}
