//! The offsets of the values in the messages of a template.

use super::super::flow::{Counters, Flow, Synproxy};
use super::super::protoinfo::{ProtoInfo, TCP, TcpInfo};
use super::super::status::Status;
use super::super::tuple::Tuple;
use super::super::tuple_template::TupleOffset;
use crate::wire::uapi::{cta, cta_counters, cta_synproxy, cta_timestamp};
use crate::wire::{Attribute, HeaderTemplate, Message, NestTemplate, NestValues};

/// Offsets from the start of the payload; `None` for an attribute that the messages do not have.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    pub(super) orig: Option<TupleOffset>,
    pub(super) reply: Option<TupleOffset>,
    pub(super) status: Option<usize>,
    pub(super) timeout: Option<usize>,
    pub(super) mark: Option<usize>,
    pub(super) zone_both: Option<usize>,
    pub(super) id: Option<usize>,
    pub(super) use_count: Option<usize>,
    pub(super) counters_orig: Option<usize>,
    pub(super) counters_reply: Option<usize>,
    pub(super) start: Option<usize>,
    pub(super) tcp: Option<usize>,
    pub(super) synproxy: Option<usize>,
}

impl Offsets {
    /// The template of `message`, which has to be decodable, and the offsets of its values. `None`
    /// where it has an attribute that few entries have.
    pub(super) fn compile(message: &Message<'_>) -> Option<(HeaderTemplate, Self)> {
        let (mut template, mut offsets) = (HeaderTemplate::new(message.payload)?, Offsets::default());
        // The family.
        template.fix(0)?;
        for attribute in message.attributes() {
            let attribute = attribute.ok()?;
            let at = attribute.offset.checked_sub(message.offset)?;
            (at.checked_sub(HEADER)?..at).try_for_each(|offset| template.fix(offset))?;
            offsets.add(&attribute, at, &mut template)?;
        }
        Some((template, offsets))
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

    /// Decodes the values of `message`, which matches the template, into a flow that was decoded from
    /// a message of the same template. `None` where the message is too short.
    #[inline]
    pub(super) fn read(&self, message: &[u8], flow: &mut Flow) -> Option<()> {
        read_tuple(self.orig, message, &mut flow.orig)?;
        read_tuple(self.reply, message, &mut flow.reply)?;
        if let Some(at) = self.status {
            flow.status = Status::from_bits_retain(be32(message, at)?);
        }
        for (offset, value) in [
            (self.timeout, &mut flow.timeout),
            (self.mark, &mut flow.mark),
            (self.id, &mut flow.id),
            (self.use_count, &mut flow.use_count),
        ] {
            if let Some(at) = offset {
                *value = Some(be32(message, at)?);
            }
        }
        if let Some(at) = self.tcp {
            flow.protoinfo = ProtoInfo::Tcp(TcpInfo::from_values(&NestValues::at_offset(message, at)?));
        }
        if let Some(at) = self.synproxy {
            let values = NestValues::<SYNPROXY_SIZE>::at_offset(message, at)?;
            let [isn, its, tsoff] = [4, 12, 20].map(|offset| u32::from_be_bytes(values.at(offset)));
            flow.synproxy = Some(Synproxy { isn, its, tsoff });
        }
        self.read_optional(message, flow)
    }

    /// Attributes that depend on settings: accounting, timestamps, a zone.
    #[inline]
    fn read_optional(&self, message: &[u8], flow: &mut Flow) -> Option<()> {
        if let Some(at) = self.zone_both {
            flow.zone_both = Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
        }
        for (offset, counters) in
            [(self.counters_orig, &mut flow.counters_orig), (self.counters_reply, &mut flow.counters_reply)]
        {
            if let Some(at) = offset {
                let values = NestValues::<COUNTERS_SIZE>::at_offset(message, at)?;
                let [packets, bytes] = [4, 16].map(|offset| u64::from_be_bytes(values.at(offset)));
                *counters = Some(Counters { packets, bytes });
            }
        }
        if let Some(at) = self.start {
            flow.start = Some(u64::from_be_bytes(NestValues::<START_SIZE>::at_offset(message, at)?.at(4)));
        }
        Some(())
    }
}

#[inline]
fn read_tuple(offset: Option<TupleOffset>, message: &[u8], tuple: &mut Tuple) -> Option<()> {
    offset.map_or(Some(()), |offset| offset.read(message, tuple))
}

#[inline]
fn be32(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// Size of the header of an attribute (`NLA_HDRLEN`).
pub(super) const HEADER: usize = 4;

const COUNTERS_SIZE: usize = 24;
const COUNTERS: NestTemplate<COUNTERS_SIZE> =
    NestTemplate::new([(0, cta_counters::PACKETS, 12), (12, cta_counters::BYTES, 12)]);

const START_SIZE: usize = 12;
const START: NestTemplate<START_SIZE> = NestTemplate::new([(0, cta_timestamp::START, 12)]);

const SYNPROXY_SIZE: usize = 24;
const SYNPROXY: NestTemplate<SYNPROXY_SIZE> =
    NestTemplate::new([(0, cta_synproxy::ISN, 8), (8, cta_synproxy::ITS, 8), (16, cta_synproxy::TSOFF, 8)]);
