//! Create entries.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use super::batch::{Outcome, send_each_with_refusals};
use crate::model::{Flow, L4, ProtoInfo, SequenceAdjustment, Status, Synproxy, Tuple};
use crate::netlink::{Connection, Error};
use crate::wire::uapi::{cta, cta_help, cta_nat, cta_protoinfo, cta_seqadj, cta_synproxy, ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{AttributeWriter, Batch, Header};

/// Status bits that a request may set; the kernel sets the others itself.
const SETTABLE: Status = Status::SeenReply.union(Status::Assured).union(Status::Confirmed).union(Status::FixedTimeout);

/// Creates an entry for each of `flows`, with its tuples, zone, status, timeout, mark, state, helper,
/// labels, sequence adjustment and SYN proxy numbers. Where the status has a NAT bit, the request has the
/// NAT that is the difference of the tuples, so that packets are rewritten; without one, the reply tuple is stored as it
/// is and no packet is.
///
/// Not created, since the kernel sets them or has no request for them: id, counters, start time, security context,
/// and the status bits other than SEEN_REPLY, ASSURED and FIXED_TIMEOUT. A flow with a master becomes an entry without
/// one. A missing timeout is 0: an entry that has expired. Labels are stored only while a rule uses labels, and dropped
/// without an error otherwise.
///
/// An entry that exists counts as failed with `EEXIST`, one for which the table is full with `ENOMEM`,
/// one whose hash chain is too long with `ENOSPC` (`nf_conntrack_hash_check_insert` in
/// net/netfilter/nf_conntrack_core.c), one with a helper that the kernel does not have with `EOPNOTSUPP`, or `EAGAIN`
/// if its module has just been loaded.
///
/// # Errors
/// As [`super::delete()`].
#[doc(alias = "IPCTNL_MSG_CT_NEW")]
pub fn create(connection: &mut Connection, flows: &[Flow], outcome: &mut Outcome) -> Result<(), Error> {
    send(connection, flows, NLM_F_CREATE | NLM_F_EXCL, outcome, |_, _| {})
}

/// [`create()`], which adds the places in `flows` of those that exist to `existing` and does not count them.
///
/// # Errors
/// As [`super::delete()`].
pub fn create_missing(
    connection: &mut Connection,
    flows: &[Flow],
    outcome: &mut Outcome,
    existing: &mut Vec<usize>,
) -> Result<(), Error> {
    let (mut created, mut exist) = (Outcome::default(), Vec::new());
    let sent = send(connection, flows, NLM_F_CREATE | NLM_F_EXCL, &mut created, |place, errno| {
        if errno == Errno::EEXIST as i32 {
            exist.push(place);
        }
    });
    created.failed.remove(&(Errno::EEXIST as i32));
    outcome.add(&created);
    existing.append(&mut exist);
    sent
}

/// [`create()`], where an entry that exists is changed instead: to the timeout, status, state, mark and labels of the
/// flow. The kernel finds it by the original tuple of the flow in *either* direction, and compares neither the reply tuple
/// nor the id (`ctnetlink_new_conntrack` in net/netfilter/nf_conntrack_netlink.c). Where that is not wanted, use
/// [`get`](super::get()), and [`update`](super::update()) or [`create()`].
///
/// A flow with none of SEEN_REPLY, ASSURED and FIXED_TIMEOUT leaves the status as it is.
///
/// An existing entry is refused with `EOPNOTSUPP` if the flow has NAT, `EBUSY` if it has another helper (in
/// both cases it is not changed), `EBUSY` if the flow has a status and lacks a bit of the entry's, `EPERM` if its
/// timeout is fixed, `ENOSPC` if it has no room for labels. The kernel applies helper, timeout, status,
/// state, mark and labels in this order, and what precedes the one that is refused stays.
///
/// # Errors
/// As [`super::delete()`].
#[doc(alias = "ctnetlink_new_conntrack")]
pub fn create_or_update(connection: &mut Connection, flows: &[Flow], outcome: &mut Outcome) -> Result<(), Error> {
    send(connection, flows, NLM_F_CREATE, outcome, |_, _| {})
}

fn send(
    connection: &mut Connection,
    flows: &[Flow],
    create: u16,
    outcome: &mut Outcome,
    refused: impl FnMut(usize, i32),
) -> Result<(), Error> {
    let write = |batch: &mut Batch, sequence: u32, flags: u16, flow: &Flow| {
        let header = Header {
            subsystem: nfnl_subsys::CTNETLINK,
            command: ipctnl_msg_ct::NEW,
            flags: flags | create,
            family: flow.family,
            sequence,
        };
        batch.push(header, |writer| {
            // A new entry is confirmed without it as well (`ctnetlink_create_conntrack`).
            if create & NLM_F_EXCL != 0 || flow.status.intersects(SETTABLE - Status::Confirmed) {
                emit_status(writer, flow.status);
            }
            emit(writer, flow);
        });
    };
    send_each_with_refusals(connection, "create entries", flows, outcome, write, refused)
}

fn emit_status(writer: &mut AttributeWriter<'_>, status: Status) {
    let status = (status & SETTABLE) | Status::Confirmed;
    writer.put(cta::STATUS, &status.bits().to_be_bytes());
}

fn emit(writer: &mut AttributeWriter<'_>, flow: &Flow) {
    flow.orig.emit(writer, cta::TUPLE_ORIG);
    emit_reply(writer, flow);
    writer.put(cta::TIMEOUT, &flow.timeout.unwrap_or(0).to_be_bytes());
    if let Some(mark) = flow.mark {
        writer.put(cta::MARK, &mark.to_be_bytes());
    }
    if let Some(zone) = flow.zone_both {
        writer.put(cta::ZONE, &zone.to_be_bytes());
    }
    if let Some(helper) = &flow.helper {
        let name: Vec<u8> = helper.as_bytes().iter().copied().chain([0]).collect();
        writer.nest(cta::HELP, |nest| nest.put(cta_help::NAME, &name));
    }
    if let Some(labels) = flow.labels {
        writer.put(cta::LABELS, &labels.to_bytes());
    }
    emit_protoinfo(writer, &flow.protoinfo);
    // The kernel sets SEQ_ADJUST with them (`ctnetlink_change_seq_adj`).
    if flow.status.contains(Status::SeqAdjust) {
        emit_seq_adj(writer, cta::SEQ_ADJ_ORIG, flow.seq_adj_orig);
        emit_seq_adj(writer, cta::SEQ_ADJ_REPLY, flow.seq_adj_reply);
    }
    emit_synproxy(writer, flow.synproxy);
}

fn emit_seq_adj(writer: &mut AttributeWriter<'_>, kind: u16, adjustment: Option<SequenceAdjustment>) {
    let Some(SequenceAdjustment { position, before, after }) = adjustment else { return };
    writer.nest(kind, |nest| {
        nest.put(cta_seqadj::CORRECTION_POS, &position.to_be_bytes());
        nest.put(cta_seqadj::OFFSET_BEFORE, &before.to_be_bytes());
        nest.put(cta_seqadj::OFFSET_AFTER, &after.to_be_bytes());
    });
}

/// The kernel wants all three (`ctnetlink_change_synproxy`). All zeroes are what it starts with.
fn emit_synproxy(writer: &mut AttributeWriter<'_>, synproxy: Option<Synproxy>) {
    let Some(Synproxy { isn, its, tsoff }) = synproxy.filter(|synproxy| *synproxy != Synproxy::default()) else {
        return;
    };
    writer.nest(cta::SYNPROXY, |nest| {
        nest.put(cta_synproxy::ISN, &isn.to_be_bytes());
        nest.put(cta_synproxy::ITS, &its.to_be_bytes());
        nest.put(cta_synproxy::TSOFF, &tsoff.to_be_bytes());
    });
}

/// Source NAT also changes the id of an ICMP query (`l4proto_in_range` in net/netfilter/nf_nat_core.c).
fn icmp_id(reply: &Tuple) -> Option<u16> {
    match reply.l4 {
        L4::Icmp { id, .. } => Some(id),
        L4::None | L4::Ports { .. } => None,
    }
}

/// Writes the reply tuple without NAT, and the NAT apart: so the kernel also sets up the rewriting of
/// packets, and the status bits (`ctnetlink_setup_nat` in net/netfilter/nf_conntrack_netlink.c).
fn emit_reply(writer: &mut AttributeWriter<'_>, flow: &Flow) {
    let mut plain = flow.reply;
    if flow.status.contains(Status::SrcNat) {
        plain.dst = flow.orig.src;
        emit_nat(writer, cta::NAT_SRC, flow.reply.dst, flow.reply.dport().or(icmp_id(&flow.reply)));
    }
    if flow.status.contains(Status::DstNat) {
        plain.src = flow.orig.dst;
        emit_nat(writer, cta::NAT_DST, flow.reply.src, flow.reply.sport());
    }
    if flow.status.intersects(Status::SrcNat | Status::DstNat) {
        plain.l4 = inverse_l4(&flow.orig, flow.reply.l4);
    }
    plain.emit(writer, cta::TUPLE_REPLY);
}

fn inverse_l4(orig: &Tuple, reply: L4) -> L4 {
    match (orig.l4, reply) {
        (L4::Ports { src, dst }, L4::Ports { .. }) => L4::Ports { src: dst, dst: src },
        (L4::Icmp { id, .. }, L4::Icmp { kind, code, .. }) => L4::Icmp { kind, code, id },
        (_, other) => other,
    }
}

fn emit_nat(writer: &mut AttributeWriter<'_>, kind: u16, address: IpAddr, port: Option<u16>) {
    writer.nest(kind, |nat| {
        match address {
            IpAddr::V4(address) => {
                nat.put(cta_nat::V4_MINIP, &address.octets());
                nat.put(cta_nat::V4_MAXIP, &address.octets());
            }
            IpAddr::V6(address) => {
                nat.put(cta_nat::V6_MINIP, &address.octets());
                nat.put(cta_nat::V6_MAXIP, &address.octets());
            }
        }
        if let Some(port) = port {
            nat.nest(cta_nat::PROTO, |range| {
                range.put(cta_nat::PROTO_MIN, &port.to_be_bytes());
                range.put(cta_nat::PROTO_MAX, &port.to_be_bytes());
            });
        }
    });
}

fn emit_protoinfo(writer: &mut AttributeWriter<'_>, protoinfo: &ProtoInfo) {
    match protoinfo {
        ProtoInfo::Tcp(tcp) => writer.nest(cta::PROTOINFO, |info| {
            info.nest(cta_protoinfo::TCP, |nest| {
                nest.put(cta_protoinfo::TCP_STATE, &[tcp.state.number()]);
                for (kind, flags) in
                    [(cta_protoinfo::TCP_FLAGS_ORIG, tcp.flags_orig), (cta_protoinfo::TCP_FLAGS_REPLY, tcp.flags_reply)]
                {
                    flags.into_iter().for_each(|flags| nest.put(kind, &[flags, 0xff]));
                }
                // The kernel uses them only with those of both directions and the flag for it.
                for (kind, scale) in [
                    (cta_protoinfo::TCP_WSCALE_ORIG, tcp.wscale_orig),
                    (cta_protoinfo::TCP_WSCALE_REPLY, tcp.wscale_reply),
                ] {
                    scale.into_iter().for_each(|scale| nest.put(kind, &[scale]));
                }
            });
        }),
        ProtoInfo::Sctp(sctp) => writer.nest(cta::PROTOINFO, |info| {
            info.nest(cta_protoinfo::SCTP, |nest| {
                nest.put(cta_protoinfo::SCTP_STATE, &[sctp.state.number()]);
                nest.put(cta_protoinfo::SCTP_VTAG_ORIG, &sctp.vtag_orig.unwrap_or(1).to_be_bytes());
                nest.put(cta_protoinfo::SCTP_VTAG_REPLY, &sctp.vtag_reply.unwrap_or(1).to_be_bytes());
            });
        }),
        // A dump lacks a part of what DCCP needs; the kernel starts it at NONE.
        ProtoInfo::None | ProtoInfo::Dccp(_) | ProtoInfo::Unknown(_) => {}
    }
}
