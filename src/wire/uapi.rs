//! The numbers of the kernel's headers, one block per C enum.
//!
//! Only this file knows them. Distribution headers may be older than the
//! running kernel, so each number is written out here.

/// `NFNL_SUBSYS_*`, `linux/netfilter/nfnetlink.h`: the high byte of `nlmsg_type`.
pub mod nfnl_subsys {
    /// Conntrack entries.
    #[doc(alias = "NFNL_SUBSYS_CTNETLINK")]
    pub const CTNETLINK: u8 = 1;
    /// Expectations.
    #[doc(alias = "NFNL_SUBSYS_CTNETLINK_EXP")]
    pub const CTNETLINK_EXP: u8 = 2;
    /// Timeout policies and the namespace's default timeouts (Linux 3.4).
    #[doc(alias = "NFNL_SUBSYS_CTNETLINK_TIMEOUT")]
    pub const CTNETLINK_TIMEOUT: u8 = 8;
    /// nf_tables.
    #[doc(alias = "NFNL_SUBSYS_NFTABLES")]
    pub const NFTABLES: u8 = 10;
}

/// `enum nfnetlink_groups`: the multicast groups of conntrack.
pub mod nfnlgrp {
    /// Entries that came.
    #[doc(alias = "NFNLGRP_CONNTRACK_NEW")]
    pub const CONNTRACK_NEW: u32 = 1;
    /// Entries that changed.
    #[doc(alias = "NFNLGRP_CONNTRACK_UPDATE")]
    pub const CONNTRACK_UPDATE: u32 = 2;
    /// Entries that went.
    #[doc(alias = "NFNLGRP_CONNTRACK_DESTROY")]
    pub const CONNTRACK_DESTROY: u32 = 3;
    /// Expectations that came.
    #[doc(alias = "NFNLGRP_CONNTRACK_EXP_NEW")]
    pub const CONNTRACK_EXP_NEW: u32 = 4;
    /// Expectations that changed (no kernel sends any).
    #[doc(alias = "NFNLGRP_CONNTRACK_EXP_UPDATE")]
    pub const CONNTRACK_EXP_UPDATE: u32 = 5;
    /// Expectations that went.
    #[doc(alias = "NFNLGRP_CONNTRACK_EXP_DESTROY")]
    pub const CONNTRACK_EXP_DESTROY: u32 = 6;
}

/// `enum cntl_msg_types`: the low byte of `nlmsg_type` for conntrack entries.
pub mod ipctnl_msg_ct {
    /// Create or update; also the type of every entry in an answer.
    pub const NEW: u8 = 0;
    /// Get one entry, or dump.
    pub const GET: u8 = 1;
    /// Delete one entry. Without a usable tuple the kernel takes it for a flush.
    pub const DELETE: u8 = 2;
    /// As `GET`, but zeroes the counters: never sent by ctnl.
    pub const GET_CTRZERO: u8 = 3;
    /// Per-CPU statistics.
    pub const GET_STATS_CPU: u8 = 4;
    /// Entry count and maximum (Linux 3.8; maximum since 4.19).
    pub const GET_STATS: u8 = 5;
    /// Entries whose destroy event waits for redelivery.
    pub const GET_DYING: u8 = 6;
    /// Unconfirmed entries (always empty since Linux 5.19).
    pub const GET_UNCONFIRMED: u8 = 7;
}

/// `enum ctattr_type`: attributes of a conntrack message.
pub mod cta {
    /// Nest: the tuple of the direction in which the flow was opened.
    pub const TUPLE_ORIG: u16 = 1;
    /// Nest: the tuple that packets of the other direction carry.
    pub const TUPLE_REPLY: u16 = 2;
    /// be32: `IPS_*` bits.
    pub const STATUS: u16 = 3;
    /// Nest: what the protocol tracker knows.
    pub const PROTOINFO: u16 = 4;
    /// Nest: the helper (ALG).
    pub const HELP: u16 = 5;
    /// Nest, request only: source NAT to set up.
    pub const NAT_SRC: u16 = 6;
    /// be32: seconds left, rounded down.
    pub const TIMEOUT: u16 = 7;
    /// be32.
    pub const MARK: u16 = 8;
    /// Nest.
    pub const COUNTERS_ORIG: u16 = 9;
    /// Nest.
    pub const COUNTERS_REPLY: u16 = 10;
    /// be32: reference count.
    pub const USE: u16 = 11;
    /// be32: opaque.
    pub const ID: u16 = 12;
    /// Nest, request only: destination NAT to set up.
    pub const NAT_DST: u16 = 13;
    /// Nest: the tuple of the flow that expected this one.
    pub const TUPLE_MASTER: u16 = 14;
    /// Nest.
    pub const SEQ_ADJ_ORIG: u16 = 15;
    /// Nest.
    pub const SEQ_ADJ_REPLY: u16 = 16;
    /// be32, obsolete.
    pub const SECMARK: u16 = 17;
    /// be16: the zone of both directions.
    pub const ZONE: u16 = 18;
    /// Nest: security context.
    pub const SECCTX: u16 = 19;
    /// Nest: start and stop time.
    pub const TIMESTAMP: u16 = 20;
    /// be32, request only.
    pub const MARK_MASK: u16 = 21;
    /// 16 bytes.
    pub const LABELS: u16 = 22;
    /// Request only.
    pub const LABELS_MASK: u16 = 23;
    /// Nest.
    pub const SYNPROXY: u16 = 24;
    /// Nest, request only (Linux 5.8).
    pub const FILTER: u16 = 25;
    /// be32, request only (Linux 5.15).
    pub const STATUS_MASK: u16 = 26;
    /// be64: time of the event (Linux 6.14).
    pub const TIMESTAMP_EVENT: u16 = 27;
}

/// `enum ctattr_filter` and its flags (`CTA_FILTER_F_*`), which are in host order.
pub mod cta_filter {
    /// u32, host order.
    pub const ORIG_FLAGS: u16 = 1;
    /// u32, host order.
    pub const REPLY_FLAGS: u16 = 2;

    /// The source address counts.
    pub const IP_SRC: u32 = 1;
    /// The destination address counts.
    pub const IP_DST: u32 = 2;
    /// The protocol counts.
    pub const PROTO_NUM: u32 = 8;
    /// The source port counts.
    pub const SRC_PORT: u32 = 0x10;
    /// The destination port counts.
    pub const DST_PORT: u32 = 0x20;
}

/// `enum ctattr_tuple`.
pub mod cta_tuple {
    /// Nest: addresses.
    pub const IP: u16 = 1;
    /// Nest: protocol and ports.
    pub const PROTO: u16 = 2;
    /// be16: a zone that holds for this direction only.
    pub const ZONE: u16 = 3;
}

/// `enum ctattr_ip`.
pub mod cta_ip {
    /// be32.
    pub const V4_SRC: u16 = 1;
    /// be32.
    pub const V4_DST: u16 = 2;
    /// 16 bytes.
    pub const V6_SRC: u16 = 3;
    /// 16 bytes.
    pub const V6_DST: u16 = 4;
}

/// `enum ctattr_l4proto`.
pub mod cta_proto {
    /// u8: protocol number.
    pub const NUM: u16 = 1;
    /// be16.
    pub const SRC_PORT: u16 = 2;
    /// be16.
    pub const DST_PORT: u16 = 3;
    /// be16.
    pub const ICMP_ID: u16 = 4;
    /// u8.
    pub const ICMP_TYPE: u16 = 5;
    /// u8.
    pub const ICMP_CODE: u16 = 6;
    /// be16.
    pub const ICMPV6_ID: u16 = 7;
    /// u8.
    pub const ICMPV6_TYPE: u16 = 8;
    /// u8.
    pub const ICMPV6_CODE: u16 = 9;
}

/// `enum ctattr_protoinfo` and the enums nested in it.
pub mod cta_protoinfo {
    /// Nest.
    pub const TCP: u16 = 1;
    /// Nest.
    pub const DCCP: u16 = 2;
    /// Nest.
    pub const SCTP: u16 = 3;

    /// u8.
    pub const TCP_STATE: u16 = 1;
    /// u8.
    pub const TCP_WSCALE_ORIG: u16 = 2;
    /// u8.
    pub const TCP_WSCALE_REPLY: u16 = 3;
    /// `struct nf_ct_tcp_flags`.
    pub const TCP_FLAGS_ORIG: u16 = 4;
    /// `struct nf_ct_tcp_flags`.
    pub const TCP_FLAGS_REPLY: u16 = 5;

    /// u8.
    pub const DCCP_STATE: u16 = 1;
    /// u8.
    pub const DCCP_ROLE: u16 = 2;
    /// be64.
    pub const DCCP_HANDSHAKE_SEQ: u16 = 3;

    /// u8.
    pub const SCTP_STATE: u16 = 1;
    /// be32.
    pub const SCTP_VTAG_ORIG: u16 = 2;
    /// be32.
    pub const SCTP_VTAG_REPLY: u16 = 3;
}

/// `enum ctattr_counters`.
pub mod cta_counters {
    /// be64.
    pub const PACKETS: u16 = 1;
    /// be64.
    pub const BYTES: u16 = 2;
    /// be32, before Linux 2.6.29.
    pub const PACKETS32: u16 = 3;
    /// be32, before Linux 2.6.29.
    pub const BYTES32: u16 = 4;
}

/// `enum ctattr_tstamp`.
pub mod cta_timestamp {
    /// be64 nanoseconds of `CLOCK_REALTIME`.
    pub const START: u16 = 1;
    /// be64 nanoseconds, in destroy events only.
    pub const STOP: u16 = 2;
}

/// `enum ctattr_help`.
pub mod cta_help {
    /// String.
    pub const NAME: u16 = 1;
    /// Opaque.
    pub const INFO: u16 = 2;
}

/// `enum ctattr_secctx`.
pub mod cta_secctx {
    /// String.
    pub const NAME: u16 = 1;
}

/// `enum ctattr_seqadj`.
pub mod cta_seqadj {
    /// be32.
    pub const CORRECTION_POS: u16 = 1;
    /// be32.
    pub const OFFSET_BEFORE: u16 = 2;
    /// be32.
    pub const OFFSET_AFTER: u16 = 3;
}

/// `enum ctattr_synproxy`.
pub mod cta_synproxy {
    /// be32.
    pub const ISN: u16 = 1;
    /// be32.
    pub const ITS: u16 = 2;
    /// be32.
    pub const TSOFF: u16 = 3;
}

/// `enum ctattr_expect`: attributes of an expectation.
pub mod cta_expect {
    /// Nest: the tuple of the flow that expects.
    pub const MASTER: u16 = 1;
    /// Nest: the tuple of what is expected.
    pub const TUPLE: u16 = 2;
    /// Nest: which bits of it count.
    pub const MASK: u16 = 3;
    /// be32 seconds.
    pub const TIMEOUT: u16 = 4;
    /// Opaque, 4 bytes.
    pub const ID: u16 = 5;
    /// String.
    pub const HELP_NAME: u16 = 6;
    /// be16.
    pub const ZONE: u16 = 7;
    /// be32 (Linux 2.6.37).
    pub const FLAGS: u16 = 8;
    /// be32 (Linux 3.5).
    pub const CLASS: u16 = 9;
    /// Nest (Linux 3.5).
    pub const NAT: u16 = 10;
    /// String (Linux 3.5).
    pub const FN: u16 = 11;
}

/// `enum ctattr_expect_nat`.
pub mod cta_expect_nat {
    /// be32.
    pub const DIR: u16 = 1;
    /// Nest.
    pub const TUPLE: u16 = 2;
}

/// `enum ctnl_exp_msg_types`: the low byte of `nlmsg_type` for expectations.
pub mod ipctnl_msg_exp {
    /// Create or update; also the type of every expectation in an answer.
    pub const NEW: u8 = 0;
    /// Delete.
    pub const DELETE: u8 = 2;
}

/// `enum ctattr_nat`, for create requests.
pub mod cta_nat {
    /// be32.
    pub const V4_MINIP: u16 = 1;
    /// be32.
    pub const V4_MAXIP: u16 = 2;
    /// Nest.
    pub const PROTO: u16 = 3;
    /// 16 bytes.
    pub const V6_MINIP: u16 = 4;
    /// 16 bytes.
    pub const V6_MAXIP: u16 = 5;
    /// be16, inside `PROTO`.
    pub const PROTO_MIN: u16 = 1;
    /// be16, inside `PROTO`.
    pub const PROTO_MAX: u16 = 2;
}

/// `enum ctattr_stats_global`.
pub mod cta_stats_global {
    /// be32.
    pub const ENTRIES: u16 = 1;
    /// be32, Linux 4.19.
    pub const MAX_ENTRIES: u16 = 2;
}

/// `enum nfnl_attr_types`-style extended ACK attributes (`NLMSGERR_ATTR_*`).
pub mod nlmsgerr {
    /// String: the kernel's own words.
    pub const MSG: u16 = 1;
    /// u32, host order: offset of the attribute at kind in the request.
    pub const OFFS: u16 = 2;
}

/// `enum ip_conntrack_status` bits that `netlink-packet-netfilter` lacks.
pub mod ips {
    /// The flow is handled by hardware (Linux 5.3).
    pub const HW_OFFLOAD: u32 = 1 << 15;
}

/// `cttimeout` (`enum ctnl_timeout_msg_types` and attributes).
pub mod cttimeout {
    /// List timeout policies.
    pub const MSG_GET: u8 = 1;
    /// The namespace's default timeouts of one protocol (Linux 3.13).
    pub const MSG_DEFAULT_GET: u8 = 4;
    /// String.
    pub const NAME: u16 = 1;
    /// be16.
    pub const L3PROTO: u16 = 2;
    /// u8.
    pub const L4PROTO: u16 = 3;
    /// Nest: be32 seconds by state number.
    pub const DATA: u16 = 4;
}

/// nf_tables objects, as far as timeout policies need them.
pub mod nft {
    /// `NFT_MSG_GETOBJ`.
    pub const MSG_GETOBJ: u8 = 19;
    /// `NFT_MSG_GETFLOWTABLE` (Linux 4.16).
    pub const MSG_GETFLOWTABLE: u8 = 23;
    /// `NFTA_OBJ_TYPE`, be32.
    pub const OBJ_TYPE: u16 = 3;
    /// `NFTA_OBJ_DATA`, nest.
    pub const OBJ_DATA: u16 = 4;
    /// `NFT_OBJECT_CT_TIMEOUT`.
    pub const OBJECT_CT_TIMEOUT: u32 = 7;
    /// `NFTA_CT_TIMEOUT_L3PROTO`, be16.
    pub const CT_TIMEOUT_L3PROTO: u16 = 1;
    /// `NFTA_CT_TIMEOUT_L4PROTO`, u8.
    pub const CT_TIMEOUT_L4PROTO: u16 = 2;
}

/// Address families of `nfgenmsg`.
pub mod nfproto {
    /// Any.
    #[doc(alias = "NFPROTO_UNSPEC")]
    pub const UNSPEC: u8 = 0;
    /// IPv4 and IPv6.
    #[doc(alias = "NFPROTO_INET")]
    pub const INET: u8 = 1;
    /// IPv4.
    pub const IPV4: u8 = 2;
    /// IPv6.
    pub const IPV6: u8 = 10;
}
