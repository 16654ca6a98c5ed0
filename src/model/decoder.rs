//! Many entries, one after the other: what has the same attributes as one before is read by
//! their places.

use super::flow::{Counters, Flow, Synproxy};
use super::protoinfo::{ProtoInfo, TCP, TcpInfo};
use super::status::Status;
use super::tuple::{Tuple, TupleOffset};
use crate::wire::uapi::{cta, cta_counters, cta_synproxy, cta_timestamp};
use crate::wire::{Attribute, DecodeError, Family, HeaderTemplate, Message, NestTemplate, Values};

/// Shapes that are known at once, each in a slot that is found by length and family.
const SLOTS: usize = 16;
/// Messages in a row that came to a slot and were not of its template, before another is learned:
/// where two take turns, the first one stays.
const PATIENCE: u8 = 4;

/// Reads entries as [`Flow::decode`] does, and more quickly where they are much alike, as those
/// of a dump are.
///
/// The kernel writes the same attributes in the same order for nearly all entries. A message
/// whose headers are, byte for byte, those of one that was walked has its values at the same
/// places, so that nothing needs to be walked or cleared.
#[derive(Debug)]
pub struct FlowDecoder {
    slots: [Slot; SLOTS],
    /// What was not of a known template.
    other: Flow,
}

#[derive(Debug)]
struct Slot {
    known: Option<(Box<HeaderTemplate>, Offsets)>,
    /// The last one of the known template: what that template does not have, it does not have either.
    flow: Flow,
    misses: u8,
}

impl Default for FlowDecoder {
    fn default() -> Self {
        // The first message of a slot is learned at once, if it can be.
        let slot = || Slot { known: None, flow: Flow::blank(), misses: PATIENCE };
        FlowDecoder { slots: std::array::from_fn(|_| slot()), other: Flow::blank() }
    }
}

impl FlowDecoder {
    /// Reads the entry in `message`.
    ///
    /// # Errors
    /// As [`Flow::decode`].
    #[inline]
    pub fn decode(&mut self, message: &Message<'_>) -> Result<&Flow, DecodeError> {
        let FlowDecoder { slots, other } = self;
        let payload = message.payload;
        let Some(slot) = slots.get_mut(slot_of(payload)) else {
            return other.decode_from(message).map(|()| &*other);
        };
        if let Some((template, places)) = &slot.known
            && template.matches(payload)
            && places.read(payload, &mut slot.flow).is_some()
        {
            slot.misses = 0;
            return Ok(&slot.flow);
        }
        slot.miss(message, other)?;
        Ok(other)
    }
}

/// TCP over IPv4 and UDP over IPv6 are of one length, and are told apart by their families
/// (2 and 10).
#[inline]
fn slot_of(payload: &[u8]) -> usize {
    let family = payload.first().copied().unwrap_or(0);
    (payload.len() / 4 + usize::from(family >> 3)) % SLOTS
}

impl Slot {
    #[inline(never)]
    fn miss(&mut self, message: &Message<'_>, flow: &mut Flow) -> Result<(), DecodeError> {
        flow.decode_from(message)?;
        self.misses += 1;
        if self.misses > PATIENCE {
            self.misses = 0;
            if let Some((template, places)) = Offsets::compile(message) {
                self.known = Some((Box::new(template), places));
                self.flow.clone_from(flow);
            }
        }
        Ok(())
    }
}

/// Where the values of a message stand, from the start of its payload.
#[derive(Debug, Default)]
struct Offsets {
    orig: Option<TupleOffset>,
    reply: Option<TupleOffset>,
    status: Option<usize>,
    timeout: Option<usize>,
    mark: Option<usize>,
    zone_both: Option<usize>,
    id: Option<usize>,
    use_count: Option<usize>,
    counters_orig: Option<usize>,
    counters_reply: Option<usize>,
    start: Option<usize>,
    tcp: Option<usize>,
    synproxy: Option<usize>,
}

impl Offsets {
    /// What is to be known of messages that have the headers of this one, which can be read.
    /// None where it has an attribute that few entries have.
    fn compile(message: &Message<'_>) -> Option<(HeaderTemplate, Self)> {
        let (mut template, mut places) = (HeaderTemplate::of(message.payload)?, Offsets::default());
        for attribute in message.attributes() {
            let attribute = attribute.ok()?;
            let at = attribute.offset.checked_sub(message.offset)?;
            (at.checked_sub(HEADER)?..at).try_for_each(|offset| template.fix(offset))?;
            places.add(&attribute, at, &mut template)?;
        }
        Some((template, places))
    }

    fn add(&mut self, attribute: &Attribute<'_>, at: usize, template: &mut HeaderTemplate) -> Option<()> {
        let nest = attribute.value;
        match attribute.kind {
            cta::TUPLE_ORIG => self.orig = Some(TupleOffset::compile(nest, at, template)?),
            cta::TUPLE_REPLY => self.reply = Some(TupleOffset::compile(nest, at, template)?),
            cta::STATUS => self.status = Some(at),
            cta::TIMEOUT => self.timeout = Some(at),
            cta::MARK => self.mark = Some(at),
            cta::ZONE => self.zone_both = Some(at),
            cta::ID => self.id = Some(at),
            cta::USE => self.use_count = Some(at),
            cta::COUNTERS_ORIG => self.counters_orig = Some(COUNTERS.compile(nest, at, template)?),
            cta::COUNTERS_REPLY => self.counters_reply = Some(COUNTERS.compile(nest, at, template)?),
            cta::TIMESTAMP => self.start = Some(START.compile(nest, at, template)?),
            cta::PROTOINFO => self.tcp = Some(TCP.compile(nest, at, template)?),
            cta::SYNPROXY => self.synproxy = Some(SYNPROXY.compile(nest, at, template)?),
            _ => return None,
        }
        Some(())
    }

    /// Reads what stands in these places of `message`, whose template is the one that was learned,
    /// into a flow of that template. None where the message ends before: it is of another template.
    #[inline]
    fn read(&self, message: &[u8], flow: &mut Flow) -> Option<()> {
        flow.family = Family::from(*message.first()?);
        read_tuple(self.orig, message, &mut flow.orig)?;
        read_tuple(self.reply, message, &mut flow.reply)?;
        if let Some(at) = self.status {
            flow.status = Status::from_bits_retain(be32(message, at)?);
        }
        for (place, value) in [
            (self.timeout, &mut flow.timeout),
            (self.mark, &mut flow.mark),
            (self.id, &mut flow.id),
            (self.use_count, &mut flow.use_count),
        ] {
            if let Some(at) = place {
                *value = Some(be32(message, at)?);
            }
        }
        if let Some(at) = self.tcp {
            flow.protoinfo = ProtoInfo::Tcp(TcpInfo::at(&Values::known(message, at)?));
        }
        if let Some(at) = self.synproxy {
            let values = Values::<SYNPROXY_SIZE>::known(message, at)?;
            let [isn, its, tsoff] = [4, 12, 20].map(|offset| u32::from_be_bytes(values.at(offset)));
            flow.synproxy = Some(Synproxy { isn, its, tsoff });
        }
        self.read_optional(message, flow)
    }

    /// What entries have where it was asked for: accounting, time stamps, a zone.
    #[inline]
    fn read_optional(&self, message: &[u8], flow: &mut Flow) -> Option<()> {
        if let Some(at) = self.zone_both {
            flow.zone_both = Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
        }
        for (place, counters) in
            [(self.counters_orig, &mut flow.counters_orig), (self.counters_reply, &mut flow.counters_reply)]
        {
            if let Some(at) = place {
                let values = Values::<COUNTERS_SIZE>::known(message, at)?;
                let [packets, bytes] = [4, 16].map(|offset| u64::from_be_bytes(values.at(offset)));
                *counters = Some(Counters { packets, bytes });
            }
        }
        if let Some(at) = self.start {
            flow.start = Some(u64::from_be_bytes(Values::<START_SIZE>::known(message, at)?.at(4)));
        }
        Some(())
    }
}

#[inline]
fn read_tuple(place: Option<TupleOffset>, message: &[u8], tuple: &mut Tuple) -> Option<()> {
    place.map_or(Some(()), |place| place.read(message, tuple))
}

#[inline]
fn be32(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// Bytes of an attribute's header.
const HEADER: usize = 4;

const COUNTERS_SIZE: usize = 24;
const COUNTERS: NestTemplate<COUNTERS_SIZE> =
    NestTemplate::new([(0, cta_counters::PACKETS, 12), (12, cta_counters::BYTES, 12)]);

const START_SIZE: usize = 12;
const START: NestTemplate<START_SIZE> = NestTemplate::new([(0, cta_timestamp::START, 12)]);

const SYNPROXY_SIZE: usize = 24;
const SYNPROXY: NestTemplate<SYNPROXY_SIZE> =
    NestTemplate::new([(0, cta_synproxy::ISN, 8), (8, cta_synproxy::ITS, 8), (16, cta_synproxy::TSOFF, 8)]);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::wire::Messages;

    /// Dumps and events of a little-endian machine.
    const RECORDED: [&[u8]; 4] = [
        include_bytes!("../../tests/data/traffic.bin"),
        include_bytes!("../../tests/data/created.bin"),
        include_bytes!("../../tests/data/crafted.bin"),
        include_bytes!("../../tests/data/events.bin"),
    ];

    const READABLE: bool = cfg!(target_endian = "little");

    /// Nothing where they cannot be read.
    fn recorded() -> Vec<Message<'static>> {
        let recorded = if READABLE { &RECORDED[..] } else { &[] };
        let messages = recorded.iter().flat_map(|bytes| Messages::new(bytes)).map(Result::unwrap);
        messages.filter(Flow::is_in).collect()
    }

    fn one_of_each_shape() -> Vec<Message<'static>> {
        let mut known: Vec<(HeaderTemplate, Message<'_>)> = Vec::new();
        for message in recorded() {
            if let Some((template, _)) = Offsets::compile(&message)
                && !known.iter().any(|(template, _)| template.matches(message.payload))
            {
                known.push((template, message));
            }
        }
        known.into_iter().map(|(_, message)| message).collect()
    }

    /// Reads `message` and fails unless the flow, or the error, is what [`Flow::decode`] says.
    fn assert_same(decoder: &mut FlowDecoder, message: &Message<'_>) {
        assert_eq!(decoder.decode(message), Flow::decode(message).as_ref().map_err(|error| *error));
    }

    #[test]
    fn every_recorded_entry_is_read_as_if_it_were_alone() {
        let (messages, mut decoder) = (recorded(), FlowDecoder::default());
        for step in [1, 3, 7, 11] {
            for number in 0..messages.len() {
                assert_same(&mut decoder, &messages[number * step % messages.len()]);
            }
        }
    }

    #[test]
    fn a_message_that_differs_in_any_bit_from_one_that_is_known_is_read_as_if_it_were_alone() {
        for message in one_of_each_shape() {
            let mut decoder = FlowDecoder::default();
            assert_same(&mut decoder, &message);
            let mut payload = message.payload.to_vec();
            for place in 0..payload.len() {
                for bit in 0..8 {
                    payload[place] ^= 1 << bit;
                    assert_same(&mut decoder, &Message { payload: &payload, ..message });
                    // What was known is still read right, by its places or anew.
                    assert_same(&mut decoder, &message);
                    // And what was learned of the changed one first is not taken for more than it is.
                    let mut other = FlowDecoder::default();
                    assert_same(&mut other, &Message { payload: &payload, ..message });
                    assert_same(&mut other, &message);
                    let mut again = payload.clone();
                    again[(place * 7 + 13) % payload.len()] ^= 0xff;
                    assert_same(&mut other, &Message { payload: &again, ..message });
                    payload[place] ^= 1 << bit;
                }
            }
        }
    }

    #[test]
    fn each_attribute_that_can_have_a_place_has_one_in_some_recorded_message() {
        if !READABLE {
            return;
        }
        let known: Vec<Offsets> = recorded().iter().filter_map(|message| Some(Offsets::compile(message)?.1)).collect();
        let has: [fn(&Offsets) -> bool; 15] = [
            |places| matches!(places.orig, Some(TupleOffset::V4(_))),
            |places| matches!(places.orig, Some(TupleOffset::V6(_))),
            |places| places.reply.is_some(),
            |places| places.status.is_some(),
            |places| places.timeout.is_some(),
            |places| places.timeout.is_none(),
            |places| places.mark.is_some(),
            |places| places.zone_both.is_some(),
            |places| places.id.is_some(),
            |places| places.use_count.is_some(),
            |places| places.counters_orig.is_some(),
            |places| places.counters_reply.is_some(),
            |places| places.start.is_some(),
            |places| places.tcp.is_some(),
            |places| places.synproxy.is_some(),
        ];
        for (number, has) in has.iter().enumerate() {
            assert!(known.iter().any(has), "no recorded message has number {number}");
        }
    }

    /// Whether `message` is not read by the places of a known template.
    fn is_walked(decoder: &mut FlowDecoder, message: &Message<'_>) -> bool {
        decoder.other = Flow::blank();
        assert_same(decoder, message);
        decoder.other != Flow::blank()
    }

    #[test]
    fn a_shape_is_read_by_its_places_from_the_second_time_on() {
        for message in recorded() {
            let mut decoder = FlowDecoder::default();
            assert_same(&mut decoder, &message);
            assert_eq!(is_walked(&mut decoder, &message), Offsets::compile(&message).is_none());
        }
    }

    #[test]
    fn tcp_over_ipv4_and_udp_over_ipv6_which_are_of_one_length_do_not_share_a_slot() {
        let of = |family| slot_of(&[[family].as_slice(), &[0; 195]].concat());
        assert_ne!(of(2), of(10));
    }

    #[test]
    fn of_two_shapes_of_one_length_that_take_turns_the_first_one_stays_known() {
        let Some(one) = one_of_each_shape().into_iter().next() else {
            return;
        };
        let mark = one.attributes().flatten().find(|attribute| attribute.kind == cta::MARK).unwrap();
        let mut payload = one.payload.to_vec();
        let header = mark.offset - one.offset - HEADER;
        payload[header + 2..header + 4].copy_from_slice(&cta::USE.to_ne_bytes());
        let other = Message { payload: &payload, ..one };

        let mut decoder = FlowDecoder::default();
        assert_same(&mut decoder, &one);
        for _ in 0..20 {
            assert_same(&mut decoder, &other);
            assert!(!is_walked(&mut decoder, &one), "the first one was forgotten");
        }
        for _ in 0..=PATIENCE {
            assert_same(&mut decoder, &other);
        }
        assert!(!is_walked(&mut decoder, &other), "the second one was never learned");
        assert!(is_walked(&mut decoder, &one));
    }
}
