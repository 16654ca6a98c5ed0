//! Decodes any entry, attribute by attribute.

use super::flow::{Counters, Flow, SequenceAdjustment, Synproxy, UnknownAttributes};
use super::helper_name::HelperName;
use super::labels::Labels;
use super::protoinfo::ProtoInfo;
use super::status::Status;
use super::tuple::Tuple;
use crate::wire::uapi::{
    cta, cta_counters, cta_help, cta_secctx, cta_seqadj, cta_synproxy, cta_timestamp, nfnl_subsys,
};
use crate::wire::{Attribute, DecodeError, DecodeErrorKind, Message};

impl Flow {
    /// Whether `message` has a conntrack entry.
    #[must_use]
    pub fn is_in(message: &Message<'_>) -> bool {
        message.kind.to_be_bytes()[0] == nfnl_subsys::CTNETLINK
    }

    /// Decodes the entry in `message`.
    ///
    /// # Errors
    /// An attribute of the wrong size, or a message without both tuples.
    pub fn decode(message: &Message<'_>) -> Result<Self, DecodeError> {
        let mut flow = Flow::blank();
        flow.decode_from(message)?;
        Ok(flow)
    }

    /// Decodes the entry in `message` into this flow and replaces all of its fields: moving a
    /// flow takes as long as decoding it. After an error it has parts of both entries. For a
    /// dump, [`FlowDecoder`](super::FlowDecoder) is faster.
    ///
    /// # Errors
    /// As [`Flow::decode`].
    pub fn decode_from(&mut self, message: &Message<'_>) -> Result<(), DecodeError> {
        self.reset_all_but_tuples();
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

    /// Resets all fields but the family and the two tuples, which each message sets. Field by field,
    /// since assigning a whole flow copies it twice.
    #[inline]
    fn reset_all_but_tuples(&mut self) {
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
    use crate::wire::{Batch, Family, Header, Messages};

    /// A flow of which no field is empty.
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
    fn decoding_replaces_all_fields() {
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
