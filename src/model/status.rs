//! The status bits of an entry (`IPS_*`).

pub use netlink_packet_netfilter::conntrack::Status;

use crate::wire::uapi::ips;

/// The bits of a flow in a flowtable or in hardware.
pub(crate) const OFFLOADED: Status = Status::Offload.union(Status::from_bits_retain(ips::HW_OFFLOAD));

/// One named status bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusBit {
    /// Name: that of the kernel in lower case.
    pub name: &'static str,
    /// The bit.
    pub bit: Status,
    /// Its meaning.
    pub doc: &'static str,
}

const fn row(name: &'static str, bit: Status, doc: &'static str) -> StatusBit {
    StatusBit { name, bit, doc }
}

/// Every status bit with a name, lowest first.
#[doc(alias = "ip_conntrack_status")]
pub const STATUS_BITS: [StatusBit; 16] = [
    row("expected", Status::Expected, "was expected by a helper (RELATED)"),
    row("seen-reply", Status::SeenReply, "packets were seen in both directions"),
    row("assured", Status::Assured, "seen enough traffic: not evicted when the table is full (early_drop)"),
    row("confirmed", Status::Confirmed, "in the table: its first packet has passed all hooks"),
    row("src-nat", Status::SrcNat, "source address or port is rewritten"),
    row("dst-nat", Status::DstNat, "destination address or port is rewritten"),
    row("seq-adjust", Status::SeqAdjust, "TCP sequence numbers are adjusted"),
    row("src-nat-done", Status::SrcNatDone, "source NAT is set up"),
    row("dst-nat-done", Status::DstNatDone, "destination NAT is set up"),
    row("dying", Status::Dying, "being removed"),
    row("fixed-timeout", Status::FixedTimeout, "packets do not refresh the timeout"),
    row("template", Status::Template, "a template of the CT target, not a flow"),
    row("nat-clash", Status::Untracked, "short-lived entry of a clash of two insertions (IPS_NAT_CLASH)"),
    row("helper", Status::Helper, "its helper was set explicitly"),
    row("offload", Status::Offload, "in a flowtable: packets change neither timeout nor state"),
    row(
        "hw-offload",
        Status::from_bits_retain(ips::HW_OFFLOAD),
        "in hardware: packets change neither timeout nor state",
    ),
];
