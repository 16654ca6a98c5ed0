//! One conntrack entry, as the kernel dumps it.

use super::helper_name::HelperName;
use super::labels::Labels;
use super::protoinfo::ProtoInfo;
use super::status::{OFFLOADED, Status};
use super::tuple::Tuple;
use super::zone::Zone;
use crate::wire::Family;

/// One conntrack entry. A field is `None` where the kernel did not send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Address family.
    #[doc(alias = "nfgen_family")]
    pub family: Family,
    /// The tuple of the original direction, that of the first packet.
    #[doc(alias = "CTA_TUPLE_ORIG")]
    pub orig: Tuple,
    /// The tuple of the reply direction.
    #[doc(alias = "CTA_TUPLE_REPLY")]
    pub reply: Tuple,
    /// Status bits.
    #[doc(alias = "CTA_STATUS")]
    pub status: Status,
    /// Remaining seconds of the timeout, rounded down. `None` for a flow in a flowtable.
    #[doc(alias = "CTA_TIMEOUT")]
    pub timeout: Option<u32>,
    /// Packet mark; `None` on kernels built without `CONFIG_NF_CONNTRACK_MARK`.
    #[doc(alias = "CTA_MARK")]
    pub mark: Option<u32>,
    /// The zone of both directions. See [`Flow::zone`].
    #[doc(alias = "CTA_ZONE")]
    pub zone_both: Option<u16>,
    /// The kernel's opaque id (`nf_ct_get_id` in net/netfilter/nf_conntrack_core.c): a hash that
    /// includes the address of the entry. An entry that is created again for the same tuple often
    /// gets the same one.
    #[doc(alias = "CTA_ID")]
    pub id: Option<u32>,
    /// Reference count.
    #[doc(alias = "CTA_USE")]
    pub use_count: Option<u32>,
    /// Packets and bytes of the original direction, if `nf_conntrack_acct` was 1 at its creation.
    #[doc(alias = "CTA_COUNTERS_ORIG")]
    pub counters_orig: Option<Counters>,
    /// Packets and bytes of the reply direction.
    #[doc(alias = "CTA_COUNTERS_REPLY")]
    pub counters_reply: Option<Counters>,
    /// Creation in ns of `CLOCK_REALTIME`, if `nf_conntrack_timestamp` was 1 at its creation.
    #[doc(alias = "CTA_TIMESTAMP_START")]
    pub start: Option<u64>,
    /// Destruction in ns of `CLOCK_REALTIME`; destroy events only.
    #[doc(alias = "CTA_TIMESTAMP_STOP")]
    pub stop: Option<u64>,
    /// Time of the event in ns of `CLOCK_REALTIME`; events only (since Linux 6.14).
    #[doc(alias = "CTA_TIMESTAMP_EVENT")]
    pub event_time: Option<u64>,
    /// State of the protocol tracker.
    #[doc(alias = "CTA_PROTOINFO")]
    pub protoinfo: ProtoInfo,
    /// Helper (ALG) of the flow.
    #[doc(alias = "CTA_HELP")]
    pub helper: Option<HelperName>,
    /// Connection labels.
    #[doc(alias = "CTA_LABELS")]
    pub labels: Option<Labels>,
    /// The original tuple of the master flow, whose helper expected this one.
    #[doc(alias = "CTA_TUPLE_MASTER")]
    pub master: Option<Tuple>,
    /// Sequence adjustment of the original direction.
    #[doc(alias = "CTA_SEQ_ADJ_ORIG")]
    pub seq_adj_orig: Option<SequenceAdjustment>,
    /// Sequence adjustment of the reply direction.
    #[doc(alias = "CTA_SEQ_ADJ_REPLY")]
    pub seq_adj_reply: Option<SequenceAdjustment>,
    /// SYN proxy data; all zeroes on entries that were created over netlink.
    #[doc(alias = "CTA_SYNPROXY")]
    pub synproxy: Option<Synproxy>,
    /// Security context, on hosts with a security module that resolves it.
    #[doc(alias = "CTA_SECCTX")]
    pub secctx: Option<Box<str>>,
    /// Attributes that this version does not know.
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

/// Adjustment of TCP sequence numbers after a helper has changed the length of the payload.
#[doc(alias = "nf_ct_seqadj")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequenceAdjustment {
    /// Sequence number from which `after` applies.
    #[doc(alias = "CTA_SEQADJ_CORRECTION_POS")]
    pub position: u32,
    /// Offset before `position`.
    #[doc(alias = "CTA_SEQADJ_OFFSET_BEFORE")]
    pub before: u32,
    /// Offset from `position` on.
    #[doc(alias = "CTA_SEQADJ_OFFSET_AFTER")]
    pub after: u32,
}

/// State of the SYN proxy.
#[doc(alias = "nf_conn_synproxy")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Synproxy {
    /// Initial sequence number.
    #[doc(alias = "CTA_SYNPROXY_ISN")]
    pub isn: u32,
    /// Initial timestamp.
    #[doc(alias = "CTA_SYNPROXY_ITS")]
    pub its: u32,
    /// Timestamp offset.
    #[doc(alias = "CTA_SYNPROXY_TSOFF")]
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

    /// The count of all, also beyond the first four.
    #[must_use]
    pub fn count(&self) -> u8 {
        self.count
    }

    #[cold]
    pub(super) fn add(&mut self, kind: u16) {
        if let Some(slot) = self.first.get_mut(usize::from(self.count)) {
            *slot = kind;
        }
        self.count = self.count.saturating_add(1);
    }
}

impl Flow {
    /// A flow with its two tuples and no other field.
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

    /// A flow without any field, to decode into.
    #[must_use]
    pub fn blank() -> Self {
        Flow::new(Tuple::UNSPECIFIED, Tuple::UNSPECIFIED)
    }

    /// Whether packets of this flow bypass the tracker, in a flowtable or in hardware, so that
    /// they change neither its state nor its timeout.
    #[doc(alias = "IPS_OFFLOAD")]
    #[must_use]
    pub fn is_offloaded(&self) -> bool {
        self.status.intersects(OFFLOADED)
    }

    /// The zone, from the three attributes that the kernel may send.
    #[must_use]
    pub fn zone(&self) -> Zone {
        Zone::from_dump(self.zone_both, self.orig.zone, self.reply.zone)
    }

    /// Packets of both directions; `None` without accounting.
    #[must_use]
    pub fn packets(&self) -> Option<u64> {
        self.sum_of(|counters| counters.packets)
    }

    /// Bytes of both directions; `None` without accounting.
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
}
