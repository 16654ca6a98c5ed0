//! The recorded datagrams are little-endian: on another host these tests are reported as ignored.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::super::tuple_template::TupleOffset;
use super::offsets::{HEADER, Offsets};
use super::*;
use crate::wire::Messages;
use crate::wire::uapi::cta;

/// Dumps and events of a little-endian machine.
const RECORDED: [&[u8]; 4] = [
    include_bytes!("../../../tests/data/traffic.bin"),
    include_bytes!("../../../tests/data/created.bin"),
    include_bytes!("../../../tests/data/crafted.bin"),
    include_bytes!("../../../tests/data/events.bin"),
];

/// The recorded entries.
fn recorded() -> Vec<Message<'static>> {
    let messages = RECORDED.iter().flat_map(|bytes| Messages::new(bytes)).map(Result::unwrap);
    messages.filter(Flow::is_in).collect()
}

fn one_of_each_template() -> Vec<Message<'static>> {
    let mut templates: Vec<(HeaderTemplate, Message<'_>)> = Vec::new();
    for message in recorded() {
        if let Some((template, _)) = Offsets::compile(&message)
            && !templates.iter().any(|(template, _)| template.matches(message.payload))
        {
            templates.push((template, message));
        }
    }
    templates.into_iter().map(|(_, message)| message).collect()
}

/// Decodes `message` and compares the flow, or the error, with that of [`Flow::decode`].
fn assert_same(decoder: &mut FlowDecoder, message: &Message<'_>) {
    assert_eq!(decoder.decode(message), Flow::decode(message).as_ref().map_err(|error| *error));
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn every_recorded_entry_is_decoded_as_on_its_own() {
    let (messages, mut decoder) = (recorded(), FlowDecoder::default());
    for step in [1, 3, 7, 11] {
        for number in 0..messages.len() {
            assert_same(&mut decoder, &messages[number * step % messages.len()]);
        }
    }
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn a_message_that_differs_in_any_bit_from_its_template_is_decoded_as_on_its_own() {
    for message in one_of_each_template() {
        let mut decoder = FlowDecoder::default();
        assert_same(&mut decoder, &message);
        let mut payload = message.payload.to_vec();
        for index in 0..payload.len() {
            for bit in 0..8 {
                payload[index] ^= 1 << bit;
                assert_same(&mut decoder, &Message { payload: &payload, ..message });
                // The template is still right for the unchanged message.
                assert_same(&mut decoder, &message);
                // The template of a changed message matches no other one.
                let mut other = FlowDecoder::default();
                assert_same(&mut other, &Message { payload: &payload, ..message });
                assert_same(&mut other, &message);
                let mut again = payload.clone();
                again[(index * 7 + 13) % payload.len()] ^= 0xff;
                assert_same(&mut other, &Message { payload: &again, ..message });
                payload[index] ^= 1 << bit;
            }
        }
    }
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn each_attribute_with_an_offset_is_in_some_recorded_message() {
    let offsets: Vec<Offsets> = recorded().iter().filter_map(|message| Some(Offsets::compile(message)?.1)).collect();
    let has: [fn(&Offsets) -> bool; 15] = [
        |offsets| matches!(offsets.orig, Some(TupleOffset::V4(_))),
        |offsets| matches!(offsets.orig, Some(TupleOffset::V6(_))),
        |offsets| offsets.reply.is_some(),
        |offsets| offsets.status.is_some(),
        |offsets| offsets.timeout.is_some(),
        |offsets| offsets.timeout.is_none(),
        |offsets| offsets.mark.is_some(),
        |offsets| offsets.zone_both.is_some(),
        |offsets| offsets.id.is_some(),
        |offsets| offsets.use_count.is_some(),
        |offsets| offsets.counters_orig.is_some(),
        |offsets| offsets.counters_reply.is_some(),
        |offsets| offsets.start.is_some(),
        |offsets| offsets.tcp.is_some(),
        |offsets| offsets.synproxy.is_some(),
    ];
    for (number, has) in has.iter().enumerate() {
        assert!(offsets.iter().any(has), "no recorded message has number {number}");
    }
}

/// Whether `message` is not decoded by the offsets of a template.
fn is_unmatched(decoder: &mut FlowDecoder, message: &Message<'_>) -> bool {
    decoder.unmatched = Flow::blank();
    assert_same(decoder, message);
    decoder.unmatched != Flow::blank()
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn a_message_is_decoded_by_offsets_from_the_second_time_on() {
    for message in recorded() {
        let mut decoder = FlowDecoder::default();
        assert_same(&mut decoder, &message);
        assert_eq!(is_unmatched(&mut decoder, &message), Offsets::compile(&message).is_none());
    }
}

#[test]
fn tcp_over_ipv4_and_udp_over_ipv6_have_the_same_length_and_different_slots() {
    let of = |family| slot_of(&[[family].as_slice(), &[0; 195]].concat());
    assert_ne!(of(2), of(10));
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn of_two_alternating_templates_of_one_length_the_first_one_stays() {
    let one = one_of_each_template().into_iter().next().unwrap();
    let mark = one.attributes().flatten().find(|attribute| attribute.kind == cta::MARK).unwrap();
    let mut payload = one.payload.to_vec();
    let header = mark.offset - one.offset - HEADER;
    payload[header + 2..header + 4].copy_from_slice(&cta::USE.to_ne_bytes());
    let other = Message { payload: &payload, ..one };

    let mut decoder = FlowDecoder::default();
    assert_same(&mut decoder, &one);
    for _ in 0..20 {
        assert_same(&mut decoder, &other);
        assert!(!is_unmatched(&mut decoder, &one), "the first one was forgotten");
    }
    for _ in 0..=MAX_MISSES {
        assert_same(&mut decoder, &other);
    }
    assert!(!is_unmatched(&mut decoder, &other), "the second one was never learned");
    assert!(is_unmatched(&mut decoder, &one));
}
