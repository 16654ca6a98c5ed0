//! A datagram from the kernel: decode it as entries and as events; print each entry in every format,
//! make a delete target, group it and evaluate a filter.

#![no_main]

use ctnl::age::{IdleEstimator, TimeoutContext};
use ctnl::field::{FIELDS, Subject};
use ctnl::filter::{Context, Filter, ServiceNames};
use ctnl::group::Groups;
use ctnl::model::{Event, EventKind, Flow, FlowDecoder, Timeouts};
use ctnl::output::{FORMATS, TextOptions, WriterOptions};
use ctnl::table::Target;
use ctnl::wire::{MessageClass, Messages};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_700_000_000_000_000_000;
/// Entries that are printed and filtered.
const MAX_FLOWS: usize = 16;

fuzz_target!(|datagram: &[u8]| {
    let (mut flows, mut decoder) = (Vec::new(), FlowDecoder::default());
    for message in Messages::new(datagram) {
        let Ok(message) = message else { break };
        if let Some(kind) = EventKind::of(&message) {
            let mut event = Event::blank();
            let readable = event.decode_from(kind, &message).is_ok();
            assert_eq!(readable, Flow::decode(&message).is_ok());
        }
        // The templates of earlier messages do not change the result.
        assert_eq!(decoder.decode(&message).cloned(), Flow::decode(&message));
        if let Ok(MessageClass::Data) = message.classify()
            && let Ok(flow) = Flow::decode(&message)
            && flows.len() < MAX_FLOWS
        {
            flows.push(flow);
        }
    }
    if !flows.is_empty() {
        print(&flows);
        evaluate(&flows);
    }
});

fn ages() -> IdleEstimator {
    IdleEstimator::new(&TimeoutContext { timeouts: Timeouts::kernel_defaults(), ..TimeoutContext::default() }, NOW)
}

fn print(flows: &[Flow]) {
    let ages = ages();
    for row in FORMATS {
        let text =
            TextOptions { extended: true, id: true, timestamp: true, ktimestamp: true, ..TextOptions::default() };
        let options = WriterOptions { columns: None, text };
        let mut writer = row.writer(options).expect("a format");
        let mut out = Vec::new();
        writer.begin(&mut out);
        flows.iter().for_each(|flow| writer.flow(&mut out, &Subject::new(flow, &ages)));
        writer.end(&mut out);
        // The other formats are those of conntrack(8), or are escaped when they are written to a terminal.
        if matches!(row.name, "json" | "xml") {
            let text = std::str::from_utf8(&out).unwrap_or_else(|error| panic!("{}: {error}", row.name));
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{}: {text:?}", row.name);
        }
    }
}

fn evaluate(flows: &[Flow]) {
    let services = ServiceNames::default();
    let context =
        Context { services: &services, label: &|_| None, read_file: &|_| Err(std::io::ErrorKind::NotFound.into()) };
    let (ages, mut groups) = (ages(), Groups::by("proto,state,src").expect("fields"));
    for flow in flows {
        let subject = Subject::new(flow, &ages);
        groups.add(&subject);
        for field in FIELDS {
            let _ = (field.value)(&subject).to_string();
        }
        // A delete target has a complete tuple.
        assert!(Target::of(flow).is_err() || flow.orig.is_complete());
        let filter = Filter::parse("idle >= 12h and not nat any or addr 10.0.0.0/8", &context).expect("a filter");
        let _ = filter.matches(&subject);
    }
    assert_eq!(groups.total().entries, flows.len() as u64);
}
