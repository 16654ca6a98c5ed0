//! An expression: an error with a caret, or a filter that is parsed as the same from its own text
//! and is evaluated for flows.

#![no_main]

use std::sync::LazyLock;

use ctnl::age::{IdleEstimator, TimeoutContext};
use ctnl::field::Subject;
use ctnl::filter::{Context, Filter, FilterBuilder, ServiceNames, flags};
use ctnl::model::{Flow, Status, Timeouts};
use ctnl::wire::{MessageClass, Messages};
use libfuzzer_sys::fuzz_target;

static SERVICES: LazyLock<ServiceNames> =
    LazyLock::new(|| ServiceNames::parse("domain 53/tcp\nhttp 80/tcp www\nhttp-alt 8080/tcp\n"));

/// Recorded flows.
static FLOWS: LazyLock<Vec<Flow>> = LazyLock::new(|| {
    let recorded: [&[u8]; 2] =
        [include_bytes!("../../tests/data/traffic.bin"), include_bytes!("../../tests/data/crafted.bin")];
    let messages = recorded.into_iter().flat_map(Messages::new).map_while(Result::ok);
    let data = messages.filter(|message| matches!(message.classify(), Ok(MessageClass::Data)));
    data.filter_map(|message| Flow::decode(&message).ok()).step_by(5).collect()
});

static AGES: LazyLock<IdleEstimator> = LazyLock::new(|| {
    let context = TimeoutContext { timeouts: Timeouts::kernel_defaults(), ..TimeoutContext::default() };
    IdleEstimator::new(&context, 1_700_000_000_000_000_000)
});

fn read_file(path: &str) -> std::io::Result<Vec<u8>> {
    match path {
        "nets" => Ok("10.0.0.0/8, 192.0.2.0/24\n2001:db8::/32 # v6\n".into()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    }
}

fuzz_target!(|text: &str| {
    let context = Context { services: &SERVICES, label: &|name| (name == "voip").then_some(5), read_file: &read_file };
    match Filter::parse(text, &context) {
        Ok(filter) => check(&filter, &context),
        Err(error) => {
            assert!(error.span.start <= error.span.end, "{error:?}");
            assert!(error.render().contains('^'));
        }
    }
    for flag in flags() {
        if let Err(error) = FilterBuilder::new(&context).flag(flag.name, text) {
            assert!(error.render().contains('^'));
        }
    }
});

fn check(filter: &Filter, context: &Context<'_>) {
    let shown = filter.to_string();
    let again = Filter::parse(&shown, context).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(again.to_string(), shown);
    let (everything, never) = (filter.matches_everything(), filter.never_matches());
    for flow in FLOWS.iter() {
        let subject = Subject::new(flow, &AGES);
        let verdict = filter.matches(&subject);
        assert_eq!(verdict, again.matches(&subject), "{shown}");
        // Some messages were made by hand; the proof is about entries of a kernel's table.
        let is_live = flow.status.contains(Status::Confirmed) && flow.use_count.is_some();
        assert!(!everything || !is_live || verdict != ctnl::filter::Verdict::NoMatch, "{shown}");
        assert!(!never || verdict != ctnl::filter::Verdict::Match, "{shown}");
    }
}
