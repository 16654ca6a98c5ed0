//! Text of a person: the name of an entry, a duration, a size. Each is parsed or refused; what is
//! parsed survives a round trip.

#![no_main]

use ctnl::model::{Flow, NamedEntry};
use ctnl::units::{Bytes, Seconds, parse_count};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<NamedEntry>() {
        Ok(entry) => {
            assert!(entry.tuple.is_complete(), "{entry:?}");
            let reply = entry.reply.unwrap_or(entry.tuple.inverse());
            assert!(entry.is(&Flow { id: entry.id, ..Flow::new(entry.tuple, reply) }));
        }
        Err(error) => assert!(error.render().contains('^')),
    }
    if let Ok(seconds) = text.parse::<Seconds>() {
        assert_eq!(seconds.to_string().parse(), Ok(seconds));
    }
    if let Ok(count) = parse_count(text) {
        assert_eq!(text.parse(), Ok(Bytes(count)));
    }
});
