//! The numbers of the kernel's headers, one block per C enum.
//!
//! Each number is defined here, and nowhere else, since the headers of a distribution may be
//! older than the running kernel.

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
    /// New entries.
    #[doc(alias = "NFNLGRP_CONNTRACK_NEW")]
    pub const CONNTRACK_NEW: u32 = 1;
    /// Changed entries.
    #[doc(alias = "NFNLGRP_CONNTRACK_UPDATE")]
    pub const CONNTRACK_UPDATE: u32 = 2;
    /// Destroyed entries.
    #[doc(alias = "NFNLGRP_CONNTRACK_DESTROY")]
    pub const CONNTRACK_DESTROY: u32 = 3;
    /// New expectations.
    #[doc(alias = "NFNLGRP_CONNTRACK_EXP_NEW")]
    pub const CONNTRACK_EXP_NEW: u32 = 4;
    /// Changed expectations (no kernel sends any).
    #[doc(alias = "NFNLGRP_CONNTRACK_EXP_UPDATE")]
    pub const CONNTRACK_EXP_UPDATE: u32 = 5;
    /// Destroyed expectations.
    #[doc(alias = "NFNLGRP_CONNTRACK_EXP_DESTROY")]
    pub const CONNTRACK_EXP_DESTROY: u32 = 6;
}

/// `enum cntl_msg_types`: the low byte of `nlmsg_type` for conntrack entries.
pub mod ipctnl_msg_ct {
    /// Create or update; also the type of each entry in a reply.
    #[doc(alias = "IPCTNL_MSG_CT_NEW")]
    pub const NEW: u8 = 0;
    /// Get one entry, or dump.
    #[doc(alias = "IPCTNL_MSG_CT_GET")]
    pub const GET: u8 = 1;
    /// Delete one entry. A request without a tuple is a flush (`ctnetlink_del_conntrack` in
    /// net/netfilter/nf_conntrack_netlink.c).
    #[doc(alias = "IPCTNL_MSG_CT_DELETE")]
    pub const DELETE: u8 = 2;
    /// Like `GET`, and resets the counters to 0.
    #[doc(alias = "IPCTNL_MSG_CT_GET_CTRZERO")]
    pub const GET_CTRZERO: u8 = 3;
    /// Per-CPU statistics.
    #[doc(alias = "IPCTNL_MSG_CT_GET_STATS_CPU")]
    pub const GET_STATS_CPU: u8 = 4;
    /// Entry count and maximum (Linux 3.8; maximum since 4.19).
    #[doc(alias = "IPCTNL_MSG_CT_GET_STATS")]
    pub const GET_STATS: u8 = 5;
    /// Entries whose destroy event is not delivered yet.
    #[doc(alias = "IPCTNL_MSG_CT_GET_DYING")]
    pub const GET_DYING: u8 = 6;
    /// Unconfirmed entries (always empty since Linux 6.1).
    #[doc(alias = "IPCTNL_MSG_CT_GET_UNCONFIRMED")]
    pub const GET_UNCONFIRMED: u8 = 7;
}

/// `enum ctattr_type`: attributes of a conntrack message.
pub mod cta {
    /// Nest: the tuple of the direction in which the flow was opened.
    #[doc(alias = "CTA_TUPLE_ORIG")]
    pub const TUPLE_ORIG: u16 = 1;
    /// Nest: the tuple that packets of the other direction carry.
    #[doc(alias = "CTA_TUPLE_REPLY")]
    pub const TUPLE_REPLY: u16 = 2;
    /// be32: `IPS_*` bits.
    #[doc(alias = "CTA_STATUS")]
    pub const STATUS: u16 = 3;
    /// Nest: state of the protocol tracker.
    #[doc(alias = "CTA_PROTOINFO")]
    pub const PROTOINFO: u16 = 4;
    /// Nest: the helper (ALG).
    #[doc(alias = "CTA_HELP")]
    pub const HELP: u16 = 5;
    /// Nest, request only: source NAT to set up.
    #[doc(alias = "CTA_NAT_SRC")]
    pub const NAT_SRC: u16 = 6;
    /// be32: seconds left, rounded down.
    #[doc(alias = "CTA_TIMEOUT")]
    pub const TIMEOUT: u16 = 7;
    /// be32.
    #[doc(alias = "CTA_MARK")]
    pub const MARK: u16 = 8;
    /// Nest.
    #[doc(alias = "CTA_COUNTERS_ORIG")]
    pub const COUNTERS_ORIG: u16 = 9;
    /// Nest.
    #[doc(alias = "CTA_COUNTERS_REPLY")]
    pub const COUNTERS_REPLY: u16 = 10;
    /// be32: reference count.
    #[doc(alias = "CTA_USE")]
    pub const USE: u16 = 11;
    /// be32: opaque.
    #[doc(alias = "CTA_ID")]
    pub const ID: u16 = 12;
    /// Nest, request only: destination NAT to set up.
    #[doc(alias = "CTA_NAT_DST")]
    pub const NAT_DST: u16 = 13;
    /// Nest: the tuple of the master flow, whose helper expected this one.
    #[doc(alias = "CTA_TUPLE_MASTER")]
    pub const TUPLE_MASTER: u16 = 14;
    /// Nest.
    #[doc(alias = "CTA_SEQ_ADJ_ORIG")]
    pub const SEQ_ADJ_ORIG: u16 = 15;
    /// Nest.
    #[doc(alias = "CTA_SEQ_ADJ_REPLY")]
    pub const SEQ_ADJ_REPLY: u16 = 16;
    /// be32, obsolete.
    #[doc(alias = "CTA_SECMARK")]
    pub const SECMARK: u16 = 17;
    /// be16: the zone of both directions.
    #[doc(alias = "CTA_ZONE")]
    pub const ZONE: u16 = 18;
    /// Nest: security context.
    #[doc(alias = "CTA_SECCTX")]
    pub const SECCTX: u16 = 19;
    /// Nest: start and stop time.
    #[doc(alias = "CTA_TIMESTAMP")]
    pub const TIMESTAMP: u16 = 20;
    /// be32, request only.
    #[doc(alias = "CTA_MARK_MASK")]
    pub const MARK_MASK: u16 = 21;
    /// 16 bytes.
    #[doc(alias = "CTA_LABELS")]
    pub const LABELS: u16 = 22;
    /// Request only.
    #[doc(alias = "CTA_LABELS_MASK")]
    pub const LABELS_MASK: u16 = 23;
    /// Nest.
    #[doc(alias = "CTA_SYNPROXY")]
    pub const SYNPROXY: u16 = 24;
    /// Nest, request only (Linux 5.8).
    #[doc(alias = "CTA_FILTER")]
    pub const FILTER: u16 = 25;
    /// be32, request only (Linux 5.15).
    #[doc(alias = "CTA_STATUS_MASK")]
    pub const STATUS_MASK: u16 = 26;
    /// be64: time of the event (Linux 6.14).
    #[doc(alias = "CTA_TIMESTAMP_EVENT")]
    pub const TIMESTAMP_EVENT: u16 = 27;
}

/// `enum ctattr_filter` and its flags (`CTA_FILTER_F_*`), which are in host order.
pub mod cta_filter {
    /// u32, host order.
    #[doc(alias = "CTA_FILTER_ORIG_FLAGS")]
    pub const ORIG_FLAGS: u16 = 1;
    /// u32, host order.
    #[doc(alias = "CTA_FILTER_REPLY_FLAGS")]
    pub const REPLY_FLAGS: u16 = 2;

    /// Compare the source address.
    #[doc(alias = "CTA_FILTER_F_CTA_IP_SRC")]
    pub const IP_SRC: u32 = 1;
    /// Compare the destination address.
    #[doc(alias = "CTA_FILTER_F_CTA_IP_DST")]
    pub const IP_DST: u32 = 2;
    /// Compare the protocol.
    #[doc(alias = "CTA_FILTER_F_CTA_PROTO_NUM")]
    pub const PROTO_NUM: u32 = 8;
    /// Compare the source port.
    #[doc(alias = "CTA_FILTER_F_CTA_PROTO_SRC_PORT")]
    pub const SRC_PORT: u32 = 0x10;
    /// Compare the destination port.
    #[doc(alias = "CTA_FILTER_F_CTA_PROTO_DST_PORT")]
    pub const DST_PORT: u32 = 0x20;
}

/// `enum ctattr_tuple`.
pub mod cta_tuple {
    /// Nest: addresses.
    #[doc(alias = "CTA_TUPLE_IP")]
    pub const IP: u16 = 1;
    /// Nest: protocol and ports.
    #[doc(alias = "CTA_TUPLE_PROTO")]
    pub const PROTO: u16 = 2;
    /// be16: a zone that holds for this direction only.
    #[doc(alias = "CTA_TUPLE_ZONE")]
    pub const ZONE: u16 = 3;
}

/// `enum ctattr_ip`.
pub mod cta_ip {
    /// be32.
    #[doc(alias = "CTA_IP_V4_SRC")]
    pub const V4_SRC: u16 = 1;
    /// be32.
    #[doc(alias = "CTA_IP_V4_DST")]
    pub const V4_DST: u16 = 2;
    /// 16 bytes.
    #[doc(alias = "CTA_IP_V6_SRC")]
    pub const V6_SRC: u16 = 3;
    /// 16 bytes.
    #[doc(alias = "CTA_IP_V6_DST")]
    pub const V6_DST: u16 = 4;
}

/// `enum ctattr_l4proto`.
pub mod cta_proto {
    /// u8: protocol number.
    #[doc(alias = "CTA_PROTO_NUM")]
    pub const NUM: u16 = 1;
    /// be16.
    #[doc(alias = "CTA_PROTO_SRC_PORT")]
    pub const SRC_PORT: u16 = 2;
    /// be16.
    #[doc(alias = "CTA_PROTO_DST_PORT")]
    pub const DST_PORT: u16 = 3;
    /// be16.
    #[doc(alias = "CTA_PROTO_ICMP_ID")]
    pub const ICMP_ID: u16 = 4;
    /// u8.
    #[doc(alias = "CTA_PROTO_ICMP_TYPE")]
    pub const ICMP_TYPE: u16 = 5;
    /// u8.
    #[doc(alias = "CTA_PROTO_ICMP_CODE")]
    pub const ICMP_CODE: u16 = 6;
    /// be16.
    #[doc(alias = "CTA_PROTO_ICMPV6_ID")]
    pub const ICMPV6_ID: u16 = 7;
    /// u8.
    #[doc(alias = "CTA_PROTO_ICMPV6_TYPE")]
    pub const ICMPV6_TYPE: u16 = 8;
    /// u8.
    #[doc(alias = "CTA_PROTO_ICMPV6_CODE")]
    pub const ICMPV6_CODE: u16 = 9;
}

/// `enum ctattr_protoinfo` and the enums nested in it.
pub mod cta_protoinfo {
    /// Nest.
    #[doc(alias = "CTA_PROTOINFO_TCP")]
    pub const TCP: u16 = 1;
    /// Nest.
    #[doc(alias = "CTA_PROTOINFO_DCCP")]
    pub const DCCP: u16 = 2;
    /// Nest.
    #[doc(alias = "CTA_PROTOINFO_SCTP")]
    pub const SCTP: u16 = 3;

    /// u8.
    #[doc(alias = "CTA_PROTOINFO_TCP_STATE")]
    pub const TCP_STATE: u16 = 1;
    /// u8.
    #[doc(alias = "CTA_PROTOINFO_TCP_WSCALE_ORIG")]
    pub const TCP_WSCALE_ORIG: u16 = 2;
    /// u8.
    #[doc(alias = "CTA_PROTOINFO_TCP_WSCALE_REPLY")]
    pub const TCP_WSCALE_REPLY: u16 = 3;
    /// `struct nf_ct_tcp_flags`.
    #[doc(alias = "CTA_PROTOINFO_TCP_FLAGS_ORIG")]
    pub const TCP_FLAGS_ORIG: u16 = 4;
    /// `struct nf_ct_tcp_flags`.
    #[doc(alias = "CTA_PROTOINFO_TCP_FLAGS_REPLY")]
    pub const TCP_FLAGS_REPLY: u16 = 5;

    /// u8.
    #[doc(alias = "CTA_PROTOINFO_DCCP_STATE")]
    pub const DCCP_STATE: u16 = 1;
    /// u8.
    #[doc(alias = "CTA_PROTOINFO_DCCP_ROLE")]
    pub const DCCP_ROLE: u16 = 2;
    /// be64.
    #[doc(alias = "CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ")]
    pub const DCCP_HANDSHAKE_SEQ: u16 = 3;

    /// u8.
    #[doc(alias = "CTA_PROTOINFO_SCTP_STATE")]
    pub const SCTP_STATE: u16 = 1;
    /// be32.
    #[doc(alias = "CTA_PROTOINFO_SCTP_VTAG_ORIG")]
    pub const SCTP_VTAG_ORIG: u16 = 2;
    /// be32.
    #[doc(alias = "CTA_PROTOINFO_SCTP_VTAG_REPLY")]
    pub const SCTP_VTAG_REPLY: u16 = 3;
}

/// `enum ctattr_counters`.
pub mod cta_counters {
    /// be64.
    #[doc(alias = "CTA_COUNTERS_PACKETS")]
    pub const PACKETS: u16 = 1;
    /// be64.
    #[doc(alias = "CTA_COUNTERS_BYTES")]
    pub const BYTES: u16 = 2;
    /// be32, before Linux 2.6.29.
    #[doc(alias = "CTA_COUNTERS32_PACKETS")]
    pub const PACKETS32: u16 = 3;
    /// be32, before Linux 2.6.29.
    #[doc(alias = "CTA_COUNTERS32_BYTES")]
    pub const BYTES32: u16 = 4;
}

/// `enum ctattr_tstamp`.
pub mod cta_timestamp {
    /// be64 nanoseconds of `CLOCK_REALTIME`.
    #[doc(alias = "CTA_TIMESTAMP_START")]
    pub const START: u16 = 1;
    /// be64 nanoseconds, in destroy events only.
    #[doc(alias = "CTA_TIMESTAMP_STOP")]
    pub const STOP: u16 = 2;
}

/// `enum ctattr_help`.
pub mod cta_help {
    /// String.
    #[doc(alias = "CTA_HELP_NAME")]
    pub const NAME: u16 = 1;
    /// Opaque.
    #[doc(alias = "CTA_HELP_INFO")]
    pub const INFO: u16 = 2;
}

/// `enum ctattr_secctx`.
pub mod cta_secctx {
    /// String.
    #[doc(alias = "CTA_SECCTX_NAME")]
    pub const NAME: u16 = 1;
}

/// `enum ctattr_seqadj`.
pub mod cta_seqadj {
    /// be32.
    #[doc(alias = "CTA_SEQADJ_CORRECTION_POS")]
    pub const CORRECTION_POS: u16 = 1;
    /// be32.
    #[doc(alias = "CTA_SEQADJ_OFFSET_BEFORE")]
    pub const OFFSET_BEFORE: u16 = 2;
    /// be32.
    #[doc(alias = "CTA_SEQADJ_OFFSET_AFTER")]
    pub const OFFSET_AFTER: u16 = 3;
}

/// `enum ctattr_synproxy`.
pub mod cta_synproxy {
    /// be32.
    #[doc(alias = "CTA_SYNPROXY_ISN")]
    pub const ISN: u16 = 1;
    /// be32.
    #[doc(alias = "CTA_SYNPROXY_ITS")]
    pub const ITS: u16 = 2;
    /// be32.
    #[doc(alias = "CTA_SYNPROXY_TSOFF")]
    pub const TSOFF: u16 = 3;
}

/// `enum ctattr_expect`: attributes of an expectation.
pub mod cta_expect {
    /// Nest: the original tuple of the master flow.
    #[doc(alias = "CTA_EXPECT_MASTER")]
    pub const MASTER: u16 = 1;
    /// Nest: the expected tuple.
    #[doc(alias = "CTA_EXPECT_TUPLE")]
    pub const TUPLE: u16 = 2;
    /// Nest: the bits of the expected tuple that are compared.
    #[doc(alias = "CTA_EXPECT_MASK")]
    pub const MASK: u16 = 3;
    /// be32 seconds.
    #[doc(alias = "CTA_EXPECT_TIMEOUT")]
    pub const TIMEOUT: u16 = 4;
    /// Opaque, 4 bytes.
    #[doc(alias = "CTA_EXPECT_ID")]
    pub const ID: u16 = 5;
    /// String.
    #[doc(alias = "CTA_EXPECT_HELP_NAME")]
    pub const HELP_NAME: u16 = 6;
    /// be16.
    #[doc(alias = "CTA_EXPECT_ZONE")]
    pub const ZONE: u16 = 7;
    /// be32 (Linux 2.6.37).
    #[doc(alias = "CTA_EXPECT_FLAGS")]
    pub const FLAGS: u16 = 8;
    /// be32 (Linux 3.5).
    #[doc(alias = "CTA_EXPECT_CLASS")]
    pub const CLASS: u16 = 9;
    /// Nest (Linux 3.5).
    #[doc(alias = "CTA_EXPECT_NAT")]
    pub const NAT: u16 = 10;
    /// String (Linux 3.5).
    #[doc(alias = "CTA_EXPECT_FN")]
    pub const FN: u16 = 11;
}

/// `enum ctattr_expect_nat`.
pub mod cta_expect_nat {
    /// be32.
    #[doc(alias = "CTA_EXPECT_NAT_DIR")]
    pub const DIR: u16 = 1;
    /// Nest.
    #[doc(alias = "CTA_EXPECT_NAT_TUPLE")]
    pub const TUPLE: u16 = 2;
}

/// `enum ctnl_exp_msg_types`: the low byte of `nlmsg_type` for expectations.
pub mod ipctnl_msg_exp {
    /// Create or update; also the type of each expectation in a reply.
    #[doc(alias = "IPCTNL_MSG_EXP_NEW")]
    pub const NEW: u8 = 0;
    /// Read one, or all with `NLM_F_DUMP`.
    #[doc(alias = "IPCTNL_MSG_EXP_GET")]
    pub const GET: u8 = 1;
    /// Delete.
    #[doc(alias = "IPCTNL_MSG_EXP_DELETE")]
    pub const DELETE: u8 = 2;
    /// The counters of each processor, with `NLM_F_DUMP`.
    #[doc(alias = "IPCTNL_MSG_EXP_GET_STATS_CPU")]
    pub const GET_STATS_CPU: u8 = 3;
}

/// `enum ctattr_expect_stats`.
pub mod cta_stats_exp {
    /// Expectations that packets met.
    #[doc(alias = "CTA_STATS_EXP_NEW")]
    pub const NEW: u16 = 1;
    /// Created.
    #[doc(alias = "CTA_STATS_EXP_CREATE")]
    pub const CREATE: u16 = 2;
    /// Deleted.
    #[doc(alias = "CTA_STATS_EXP_DELETE")]
    pub const DELETE: u16 = 3;
}

/// `enum ctattr_nat`, for create requests.
pub mod cta_nat {
    /// be32.
    #[doc(alias = "CTA_NAT_V4_MINIP")]
    pub const V4_MINIP: u16 = 1;
    /// be32.
    #[doc(alias = "CTA_NAT_V4_MAXIP")]
    pub const V4_MAXIP: u16 = 2;
    /// Nest.
    #[doc(alias = "CTA_NAT_PROTO")]
    pub const PROTO: u16 = 3;
    /// 16 bytes.
    #[doc(alias = "CTA_NAT_V6_MINIP")]
    pub const V6_MINIP: u16 = 4;
    /// 16 bytes.
    #[doc(alias = "CTA_NAT_V6_MAXIP")]
    pub const V6_MAXIP: u16 = 5;
    /// be16, inside `PROTO`.
    #[doc(alias = "CTA_PROTONAT_PORT_MIN")]
    pub const PROTO_MIN: u16 = 1;
    /// be16, inside `PROTO`.
    #[doc(alias = "CTA_PROTONAT_PORT_MAX")]
    pub const PROTO_MAX: u16 = 2;
}

/// `enum ctattr_stats_cpu`, be32 each. 1, 3 and 5 to 7 are no longer sent.
pub mod cta_stats {
    /// A tuple that NAT tried was in use.
    #[doc(alias = "CTA_STATS_FOUND")]
    pub const FOUND: u16 = 2;
    /// Packets without an entry.
    #[doc(alias = "CTA_STATS_INVALID")]
    pub const INVALID: u16 = 4;
    /// Entries made by ctnetlink or BPF.
    #[doc(alias = "CTA_STATS_INSERT")]
    pub const INSERT: u16 = 8;
    /// Entries that could not be inserted.
    #[doc(alias = "CTA_STATS_INSERT_FAILED")]
    pub const INSERT_FAILED: u16 = 9;
    /// Dropped packets.
    #[doc(alias = "CTA_STATS_DROP")]
    pub const DROP: u16 = 10;
    /// Evicted entries.
    #[doc(alias = "CTA_STATS_EARLY_DROP")]
    pub const EARLY_DROP: u16 = 11;
    /// Bad ICMP errors.
    #[doc(alias = "CTA_STATS_ERROR")]
    pub const ERROR: u16 = 12;
    /// Lookups that started again.
    #[doc(alias = "CTA_STATS_SEARCH_RESTART")]
    pub const SEARCH_RESTART: u16 = 13;
    /// Clashes that were resolved.
    #[doc(alias = "CTA_STATS_CLASH_RESOLVE")]
    pub const CLASH_RESOLVE: u16 = 14;
    /// Hash chains that were too long, Linux 5.15.
    #[doc(alias = "CTA_STATS_CHAIN_TOOLONG")]
    pub const CHAIN_TOOLONG: u16 = 15;
}

/// `enum ctattr_stats_global`.
pub mod cta_stats_global {
    /// be32.
    #[doc(alias = "CTA_STATS_GLOBAL_ENTRIES")]
    pub const ENTRIES: u16 = 1;
    /// be32, Linux 4.19.
    #[doc(alias = "CTA_STATS_GLOBAL_MAX_ENTRIES")]
    pub const MAX_ENTRIES: u16 = 2;
}

/// `enum nfnl_attr_types`-style extended ACK attributes (`NLMSGERR_ATTR_*`).
pub mod nlmsgerr {
    /// String: the kernel's error message.
    #[doc(alias = "NLMSGERR_ATTR_MSG")]
    pub const MSG: u16 = 1;
    /// u32, host order: offset in the request of the attribute that was refused.
    #[doc(alias = "NLMSGERR_ATTR_OFFS")]
    pub const OFFS: u16 = 2;
}

/// `enum ip_conntrack_status` bits that `netlink-packet-netfilter` lacks.
pub mod ips {
    /// The flow is handled by hardware (Linux 5.3).
    #[doc(alias = "IPS_HW_OFFLOAD")]
    pub const HW_OFFLOAD: u32 = 1 << 15;
}

/// `cttimeout` (`enum ctnl_timeout_msg_types` and attributes).
pub mod cttimeout {
    /// List timeout policies.
    #[doc(alias = "IPCTNL_MSG_TIMEOUT_GET")]
    pub const MSG_GET: u8 = 1;
    /// The namespace's default timeouts of one protocol (Linux 3.13).
    #[doc(alias = "IPCTNL_MSG_TIMEOUT_DEFAULT_GET")]
    pub const MSG_DEFAULT_GET: u8 = 4;
    /// String.
    #[doc(alias = "CTA_TIMEOUT_NAME")]
    pub const NAME: u16 = 1;
    /// be16.
    #[doc(alias = "CTA_TIMEOUT_L3PROTO")]
    pub const L3PROTO: u16 = 2;
    /// u8.
    #[doc(alias = "CTA_TIMEOUT_L4PROTO")]
    pub const L4PROTO: u16 = 3;
    /// Nest: be32 seconds by state number.
    #[doc(alias = "CTA_TIMEOUT_DATA")]
    pub const DATA: u16 = 4;
}

/// nf_tables objects: what is needed to list timeout policies and flowtables.
pub mod nft {
    /// `NFT_MSG_GETOBJ`.
    #[doc(alias = "NFT_MSG_GETOBJ")]
    pub const MSG_GETOBJ: u8 = 19;
    /// `NFT_MSG_GETFLOWTABLE` (Linux 4.16).
    #[doc(alias = "NFT_MSG_GETFLOWTABLE")]
    pub const MSG_GETFLOWTABLE: u8 = 23;
    /// `NFTA_OBJ_TYPE`, be32.
    #[doc(alias = "NFTA_OBJ_TYPE")]
    pub const OBJ_TYPE: u16 = 3;
    /// `NFTA_OBJ_DATA`, nest.
    #[doc(alias = "NFTA_OBJ_DATA")]
    pub const OBJ_DATA: u16 = 4;
    /// `NFT_OBJECT_CT_TIMEOUT`.
    #[doc(alias = "NFT_OBJECT_CT_TIMEOUT")]
    pub const OBJECT_CT_TIMEOUT: u32 = 7;
    /// `NFTA_CT_TIMEOUT_L3PROTO`, be16.
    #[doc(alias = "NFTA_CT_TIMEOUT_L3PROTO")]
    pub const CT_TIMEOUT_L3PROTO: u16 = 1;
    /// `NFTA_CT_TIMEOUT_L4PROTO`, u8.
    #[doc(alias = "NFTA_CT_TIMEOUT_L4PROTO")]
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
    #[doc(alias = "NFPROTO_IPV4")]
    pub const IPV4: u8 = 2;
    /// IPv6.
    #[doc(alias = "NFPROTO_IPV6")]
    pub const IPV6: u8 = 10;
}
