//! One conntrack entry, as the kernel dumps it.

use super::labels::Labels;
use super::protoinfo::ProtoInfo;
use super::status::{OFFLOADED, Status};
use super::text::HelperName;
use super::tuple::Tuple;
use super::zone::Zone;
use crate::wire::uapi::{
    cta, cta_counters, cta_help, cta_secctx, cta_seqadj, cta_synproxy, cta_timestamp, nfnl_subsys,
};
use crate::wire::{Attribute, DecodeError, DecodeErrorKind, Family, Message};

/// One conntrack entry. A field is `None` where the kernel did not send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Address family.
    #[doc(alias = "nfgen_family")]
    pub family: Family,
    /// The direction in which the flow was opened.
    #[doc(alias = "CTA_TUPLE_ORIG")]
    pub orig: Tuple,
    /// What packets of the other direction carry.
    #[doc(alias = "CTA_TUPLE_REPLY")]
    pub reply: Tuple,
    /// Status bits.
    #[doc(alias = "CTA_STATUS")]
    pub status: Status,
    /// Seconds left, rounded down. None for a flow in a flowtable.
    #[doc(alias = "CTA_TIMEOUT")]
    pub timeout: Option<u32>,
    /// Packet mark; None on kernels built without marks.
    #[doc(alias = "CTA_MARK")]
    pub mark: Option<u32>,
    /// The zone of both directions. See [`Flow::zone`].
    #[doc(alias = "CTA_ZONE")]
    pub zone_both: Option<u16>,
    /// The kernel's opaque id. Not a generation number: an entry that is created
    /// again for the same tuple often gets the same one.
    #[doc(alias = "CTA_ID")]
    pub id: Option<u32>,
    /// Reference count.
    #[doc(alias = "CTA_USE")]
    pub use_count: Option<u32>,
    /// Packets and bytes of the original direction (`nf_conntrack_acct=1` when it was made).
    #[doc(alias = "CTA_COUNTERS_ORIG")]
    pub counters_orig: Option<Counters>,
    /// Packets and bytes of the reply direction.
    #[doc(alias = "CTA_COUNTERS_REPLY")]
    pub counters_reply: Option<Counters>,
    /// Creation, ns of `CLOCK_REALTIME` (`nf_conntrack_timestamp=1` when it was made).
    #[doc(alias = "CTA_TIMESTAMP_START")]
    pub start: Option<u64>,
    /// Destruction, ns; destroy events only.
    #[doc(alias = "CTA_TIMESTAMP_STOP")]
    pub stop: Option<u64>,
    /// When the event happened, ns; events only (Linux 6.14).
    #[doc(alias = "CTA_TIMESTAMP_EVENT")]
    pub event_time: Option<u64>,
    /// What the protocol's tracker knows.
    #[doc(alias = "CTA_PROTOINFO")]
    pub protoinfo: ProtoInfo,
    /// Helper (ALG) of the flow.
    #[doc(alias = "CTA_HELP")]
    pub helper: Option<HelperName>,
    /// Connection labels.
    #[doc(alias = "CTA_LABELS")]
    pub labels: Option<Labels>,
    /// The flow that expected this one.
    #[doc(alias = "CTA_TUPLE_MASTER")]
    pub master: Option<Tuple>,
    /// Sequence adjustment of the original direction.
    #[doc(alias = "CTA_SEQ_ADJ_ORIG")]
    pub seq_adj_orig: Option<SequenceAdjustment>,
    /// Sequence adjustment of the reply direction.
    #[doc(alias = "CTA_SEQ_ADJ_REPLY")]
    pub seq_adj_reply: Option<SequenceAdjustment>,
    /// SYN proxy data; all zeroes on entries that were made over netlink.
    #[doc(alias = "CTA_SYNPROXY")]
    pub synproxy: Option<Synproxy>,
    /// Security context, on hosts whose security module resolves it.
    #[doc(alias = "CTA_SECCTX")]
    pub secctx: Option<Box<str>>,
    /// Attributes of a newer kernel.
    pub unknown: UnknownAttributes,
}

/// Packets and bytes of one direction.
#[doc(alias = "CTA_COUNTERS_PACKETS")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP headers included.
    pub bytes: u64,
}

/// How a helper's rewriting moves TCP sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequenceAdjustment {
    /// Sequence number from which the offset holds.
    pub position: u32,
    /// Offset before it.
    pub before: u32,
    /// Offset after it.
    pub after: u32,
}

/// What the SYN proxy keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synproxy {
    /// Initial sequence number.
    pub isn: u32,
    /// Initial timestamp.
    pub its: u32,
    /// Timestamp offset.
    pub tsoff: u32,
}

/// The numbers of attributes that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnknownAttributes {
    first: [u16; 4],
    count: u8,
}

impl UnknownAttributes {
    /// The first four numbers.
    #[must_use]
    pub fn numbers(&self) -> &[u16] {
        self.first.get(..usize::from(self.count)).unwrap_or(&self.first)
    }

    /// How many there were, also beyond the first four.
    #[must_use]
    pub fn count(&self) -> u8 {
        self.count
    }

    #[cold]
    pub(super) fn add(&mut self, kind: u16) {
        if let Some(place) = self.first.get_mut(usize::from(self.count)) {
            *place = kind;
        }
        self.count = self.count.saturating_add(1);
    }
}

impl Flow {
    /// A flow with nothing but its two tuples.
    #[must_use]
    pub fn new(orig: Tuple, reply: Tuple) -> Self {
        Flow {
            family: orig.family(),
            orig,
            reply,
            status: Status::empty(),
            timeout: None,
            mark: None,
            zone_both: None,
            id: None,
            use_count: None,
            counters_orig: None,
            counters_reply: None,
            start: None,
            stop: None,
            event_time: None,
            protoinfo: ProtoInfo::None,
            helper: None,
            labels: None,
            master: None,
            seq_adj_orig: None,
            seq_adj_reply: None,
            synproxy: None,
            secctx: None,
            unknown: UnknownAttributes::default(),
        }
    }

    /// Whether `message` is about a conntrack entry.
    #[must_use]
    pub fn is_in(message: &Message<'_>) -> bool {
        message.kind.to_be_bytes()[0] == nfnl_subsys::CTNETLINK
    }

    /// Reads the entry in `message`.
    ///
    /// # Errors
    /// An attribute of the wrong size, or a message without both tuples.
    pub fn decode(message: &Message<'_>) -> Result<Self, DecodeError> {
        let mut flow = Flow::blank();
        flow.decode_from(message)?;
        Ok(flow)
    }

    /// A flow of nothing, to decode into.
    #[must_use]
    pub fn blank() -> Self {
        Flow::new(Tuple::UNSPECIFIED, Tuple::UNSPECIFIED)
    }

    /// Reads the entry in `message` into this flow, of which nothing is kept: moving a
    /// flow takes as long as reading it. After an error it holds parts of both. For a
    /// dump there is [`FlowDecoder`](super::FlowDecoder).
    ///
    /// # Errors
    /// As [`Flow::decode`].
    pub fn decode_from(&mut self, message: &Message<'_>) -> Result<(), DecodeError> {
        self.clear_all_but_addresses();
        self.family = message.family()?;
        let (mut has_orig, mut has_reply) = (false, false);
        for attribute in message.attributes() {
            let attribute = attribute?;
            match attribute.kind {
                cta::TUPLE_ORIG => {
                    self.orig.decode_from(&attribute)?;
                    has_orig = true;
                }
                cta::TUPLE_REPLY => {
                    self.reply.decode_from(&attribute)?;
                    has_reply = true;
                }
                _ => self.read(&attribute)?,
            }
        }
        if has_orig && has_reply { Ok(()) } else { Err(missing_tuple(message, !has_orig)) }
    }

    /// All but the family and the two tuples, which every message sets. Field by field: a whole
    /// flow that is moved here is written twice, and waited for.
    #[inline]
    fn clear_all_but_addresses(&mut self) {
        let Flow {
            family: _,
            orig: _,
            reply: _,
            status,
            timeout,
            mark,
            zone_both,
            id,
            use_count,
            counters_orig,
            counters_reply,
            start,
            stop,
            event_time,
            protoinfo,
            helper,
            labels,
            master,
            seq_adj_orig,
            seq_adj_reply,
            synproxy,
            secctx,
            unknown,
        } = self;
        *status = Status::empty();
        (*timeout, *mark, *zone_both, *id, *use_count) = (None, None, None, None, None);
        (*counters_orig, *counters_reply) = (None, None);
        (*start, *stop, *event_time) = (None, None, None);
        *protoinfo = ProtoInfo::None;
        (*helper, *labels, *master, *secctx) = (None, None, None, None);
        (*seq_adj_orig, *seq_adj_reply, *synproxy) = (None, None, None);
        *unknown = UnknownAttributes::default();
    }

    /// Whether packets of this flow go past the tracker, through a flowtable or the
    /// hardware: its state and its timeout stand still then.
    #[doc(alias = "IPS_OFFLOAD")]
    #[must_use]
    pub fn is_offloaded(&self) -> bool {
        self.status.intersects(OFFLOADED)
    }

    /// The zone, put together from the three places where the kernel may say it.
    #[must_use]
    pub fn zone(&self) -> Zone {
        Zone::from_dump(self.zone_both, self.orig.zone, self.reply.zone)
    }

    /// Packets of both directions; None without accounting.
    #[must_use]
    pub fn packets(&self) -> Option<u64> {
        self.sum_of(|counters| counters.packets)
    }

    /// Bytes of both directions; None without accounting.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.sum_of(|counters| counters.bytes)
    }

    fn sum_of(&self, value: impl Fn(Counters) -> u64) -> Option<u64> {
        let (orig, reply) = (self.counters_orig.map(&value), self.counters_reply.map(&value));
        match (orig, reply) {
            (None, None) => None,
            (orig, reply) => Some(orig.unwrap_or(0).saturating_add(reply.unwrap_or(0))),
        }
    }

    #[inline]
    fn read(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        match attribute.kind {
            cta::STATUS => self.status = Status::from_bits_retain(attribute.be32()?),
            cta::TIMEOUT => self.timeout = Some(attribute.be32()?),
            cta::MARK => self.mark = Some(attribute.be32()?),
            cta::ZONE => self.zone_both = Some(attribute.be16()?),
            cta::ID => self.id = Some(attribute.be32()?),
            cta::USE => self.use_count = Some(attribute.be32()?),
            cta::PROTOINFO => self.protoinfo.decode_from(attribute)?,
            cta::COUNTERS_ORIG => self.counters_orig = Some(Counters::decode(attribute)?),
            cta::COUNTERS_REPLY => self.counters_reply = Some(Counters::decode(attribute)?),
            cta::TIMESTAMP => self.read_timestamp(attribute)?,
            cta::TIMESTAMP_EVENT => self.event_time = Some(attribute.be64()?),
            cta::SYNPROXY => self.synproxy = Some(Synproxy::decode(attribute)?),
            _ => self.read_rare(attribute)?,
        }
        Ok(())
    }

    fn read_rare(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        match attribute.kind {
            cta::HELP => self.helper = text(attribute, cta_help::NAME)?.map(HelperName::new),
            cta::LABELS => self.labels = Some(Labels::from_bytes(attribute.value)),
            cta::TUPLE_MASTER => self.master = Some(Tuple::decode(attribute)?),
            cta::SEQ_ADJ_ORIG => self.seq_adj_orig = Some(SequenceAdjustment::decode(attribute)?),
            cta::SEQ_ADJ_REPLY => self.seq_adj_reply = Some(SequenceAdjustment::decode(attribute)?),
            cta::SECCTX => {
                let context = text(attribute, cta_secctx::NAME)?;
                self.secctx = context.map(|context| String::from_utf8_lossy(context).into());
            }
            cta::SECMARK => {}
            unknown => self.unknown.add(unknown),
        }
        Ok(())
    }

    fn read_timestamp(&mut self, nest: &Attribute<'_>) -> Result<(), DecodeError> {
        for attribute in nest.nested() {
            let attribute = attribute?;
            match attribute.kind {
                cta_timestamp::START => self.start = Some(attribute.be64()?),
                cta_timestamp::STOP => self.stop = Some(attribute.be64()?),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Counters {
    fn decode(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
        let mut counters = Counters::default();
        for attribute in nest.nested() {
            let attribute = attribute?;
            match attribute.kind {
                cta_counters::PACKETS => counters.packets = attribute.be64()?,
                cta_counters::BYTES => counters.bytes = attribute.be64()?,
                cta_counters::PACKETS32 => counters.packets = attribute.be32()?.into(),
                cta_counters::BYTES32 => counters.bytes = attribute.be32()?.into(),
                _ => {}
            }
        }
        Ok(counters)
    }
}

impl SequenceAdjustment {
    fn decode(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
        let mut adjustment = SequenceAdjustment::default();
        for attribute in nest.nested() {
            let attribute = attribute?;
            match attribute.kind {
                cta_seqadj::CORRECTION_POS => adjustment.position = attribute.be32()?,
                cta_seqadj::OFFSET_BEFORE => adjustment.before = attribute.be32()?,
                cta_seqadj::OFFSET_AFTER => adjustment.after = attribute.be32()?,
                _ => {}
            }
        }
        Ok(adjustment)
    }
}

impl Synproxy {
    fn decode(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
        let mut synproxy = Synproxy::default();
        for attribute in nest.nested() {
            let attribute = attribute?;
            match attribute.kind {
                cta_synproxy::ISN => synproxy.isn = attribute.be32()?,
                cta_synproxy::ITS => synproxy.its = attribute.be32()?,
                cta_synproxy::TSOFF => synproxy.tsoff = attribute.be32()?,
                _ => {}
            }
        }
        Ok(synproxy)
    }
}

/// The string attribute of number `kind` in a nest.
fn text<'a>(nest: &Attribute<'a>, kind: u16) -> Result<Option<&'a [u8]>, DecodeError> {
    for attribute in nest.nested() {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute.string()));
        }
    }
    Ok(None)
}

#[cold]
fn missing_tuple(message: &Message<'_>, orig: bool) -> DecodeError {
    let attribute = if orig { cta::TUPLE_ORIG } else { cta::TUPLE_REPLY };
    DecodeError { kind: DecodeErrorKind::Missing, attribute: Some(attribute), offset: message.offset }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{L4, Protocol, TcpInfo};
    use crate::wire::{Batch, Header, Messages};

    /// A flow of which every field says something.
    fn full() -> Flow {
        let tuple = |address: &str, port| Tuple {
            src: address.parse().unwrap(),
            dst: address.parse().unwrap(),
            protocol: Protocol::Tcp,
            l4: L4::Ports { src: port, dst: port },
            zone: Some(port),
            has_unknown_part: true,
        };
        let (adjustment, counters) = (SequenceAdjustment::default(), Counters::default());
        let mut unknown = UnknownAttributes::default();
        unknown.add(99);
        Flow {
            family: Family::V6,
            orig: tuple("2001:db8::1", 1),
            reply: tuple("2001:db8::2", 2),
            status: Status::all(),
            timeout: Some(1),
            mark: Some(2),
            zone_both: Some(3),
            id: Some(4),
            use_count: Some(5),
            counters_orig: Some(counters),
            counters_reply: Some(counters),
            start: Some(6),
            stop: Some(7),
            event_time: Some(8),
            protoinfo: ProtoInfo::Tcp(TcpInfo::default()),
            helper: Some(HelperName::new(b"ftp")),
            labels: Some(Labels::from_numbers([1])),
            master: Some(tuple("2001:db8::3", 3)),
            seq_adj_orig: Some(adjustment),
            seq_adj_reply: Some(adjustment),
            synproxy: Some(Synproxy::default()),
            secctx: Some("context".into()),
            unknown,
        }
    }

    #[test]
    fn nothing_of_the_flow_before_is_left_in_the_next_one() {
        let orig = Tuple { src: "10.0.0.1".parse().unwrap(), dst: "10.0.0.2".parse().unwrap(), ..Tuple::UNSPECIFIED };
        let reply = Tuple { src: orig.dst, dst: orig.src, ..orig };
        let mut batch = Batch::new();
        let header =
            Header { subsystem: nfnl_subsys::CTNETLINK, command: 0, flags: 0, family: Family::V4, sequence: 1 };
        batch.push(header, |writer| {
            orig.emit(writer, cta::TUPLE_ORIG);
            reply.emit(writer, cta::TUPLE_REPLY);
        });
        let message = Messages::new(batch.as_bytes()).next().unwrap().unwrap();
        let mut flow = full();
        flow.decode_from(&message).unwrap();
        assert_eq!(flow, Flow::new(orig, reply));
    }
}
