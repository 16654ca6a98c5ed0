//! The status bits of an entry (`IPS_*`).

pub use netlink_packet_netfilter::conntrack::Status;

use crate::wire::uapi::ips;

/// Either bit of a flow in a flowtable.
pub(crate) const OFFLOADED: Status = Status::Offload.union(Status::from_bits_retain(ips::HW_OFFLOAD));

/// One named status bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusBit {
    /// Its name, in the kernel's words, lower case.
    pub name: &'static str,
    /// The bit.
    pub bit: Status,
    /// What it says about the flow.
    pub doc: &'static str,
}

const fn row(name: &'static str, bit: Status, doc: &'static str) -> StatusBit {
    StatusBit { name, bit, doc }
}

/// Every status bit that has a name, lowest first.
pub const STATUS_BITS: [StatusBit; 16] = [
    row("expected", Status::Expected, "was expected by a helper (RELATED)"),
    row("seen-reply", Status::SeenReply, "packets have gone both ways"),
    row("assured", Status::Assured, "seen enough traffic: a full table does not evict it"),
    row("confirmed", Status::Confirmed, "in the table; its first packet has left the host"),
    row("src-nat", Status::SrcNat, "source address or port is rewritten"),
    row("dst-nat", Status::DstNat, "destination address or port is rewritten"),
    row("seq-adjust", Status::SeqAdjust, "TCP sequence numbers are adjusted"),
    row("src-nat-done", Status::SrcNatDone, "source NAT has been decided"),
    row("dst-nat-done", Status::DstNatDone, "destination NAT has been decided"),
    row("dying", Status::Dying, "being removed"),
    row("fixed-timeout", Status::FixedTimeout, "timeout is not refreshed by packets"),
    row("template", Status::Template, "a template of the CT target, not a flow"),
    row("nat-clash", Status::Untracked, "short-lived entry of a NAT insert race (IPS_NAT_CLASH)"),
    row("helper", Status::Helper, "its helper was set explicitly"),
    row("offload", Status::Offload, "handled by a flowtable: timeout and state stand still"),
    row("hw-offload", Status::from_bits_retain(ips::HW_OFFLOAD), "handled by hardware"),
];
