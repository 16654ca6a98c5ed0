//! The registry of the kernel's conntrack timeouts: names for `--base-timeout`, netlink numbers,
//! files below `/proc/sys` and defaults.

/// A timeout of the kernel: of a protocol, or of a state of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// TCP: a SYN was seen.
    TcpSynSent,
    /// TCP: a SYN/ACK was seen.
    TcpSynRecv,
    /// TCP: the handshake is complete.
    TcpEstablished,
    /// TCP: a FIN was seen.
    TcpFinWait,
    /// TCP: the FIN is acknowledged.
    TcpCloseWait,
    /// TCP: both sides have sent a FIN.
    TcpLastAck,
    /// TCP: closed in order.
    TcpTimeWait,
    /// TCP: reset.
    TcpClose,
    /// TCP: a SYN from both sides.
    TcpSynSent2,
    /// TCP: too many retransmissions, or the window is closed.
    TcpMaxRetrans,
    /// TCP: data is not acknowledged.
    TcpUnacknowledged,
    /// UDP and UDP-lite: not a stream yet.
    Udp,
    /// UDP and UDP-lite: a stream.
    UdpStream,
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmpv6,
    /// GRE: no answer yet.
    Gre,
    /// GRE: packets were seen in both directions.
    GreStream,
    /// SCTP: closed, or an INIT was seen.
    SctpClosed,
    /// SCTP: an INIT ACK was seen.
    SctpCookieWait,
    /// SCTP: a COOKIE ECHO was seen.
    SctpCookieEchoed,
    /// SCTP: the association is established.
    SctpEstablished,
    /// SCTP: the original side shuts down.
    SctpShutdownSent,
    /// SCTP: the reply side shuts down.
    SctpShutdownRecd,
    /// SCTP: the shutdown is acknowledged.
    SctpShutdownAckSent,
    /// SCTP: a HEARTBEAT on a new path.
    SctpHeartbeatSent,
    /// SCTP: a new path was answered (before Linux 6.2).
    SctpHeartbeatAcked,
    /// DCCP (before Linux 6.18): a Request was seen.
    DccpRequest,
    /// DCCP (before Linux 6.18): a Response was seen.
    DccpRespond,
    /// DCCP (before Linux 6.18): the Response is acknowledged.
    DccpPartopen,
    /// DCCP (before Linux 6.18): the connection is established.
    DccpOpen,
    /// DCCP (before Linux 6.18): the server requests to close.
    DccpClosereq,
    /// DCCP (before Linux 6.18): closing.
    DccpClosing,
    /// DCCP (before Linux 6.18): closed.
    DccpTimewait,
    /// Every protocol without a tracker of its own.
    Generic,
}

/// One row of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerRow {
    /// The timer.
    pub timer: Timer,
    /// Name, such as `tcp.established`.
    pub name: &'static str,
    /// Protocol number in netlink: 255 for the generic tracker, [`NOT_IN_NETLINK`] for a timeout
    /// that is only in `/proc`.
    pub protocol: u8,
    /// Attribute number in netlink (`CTA_TIMEOUT_TCP_*` and others).
    pub attribute: u16,
    /// File in `/proc/sys/net/netfilter`, if any.
    pub sysctl: Option<&'static str>,
    /// Default of current kernels in seconds; `None` for states that they do not have.
    pub default: Option<u32>,
    /// When it applies.
    pub doc: &'static str,
}

/// The protocol number of timeouts that netlink does not report, or not correctly: kernels without
/// `HEARTBEAT_ACKED` report for it the number behind the end of their table.
pub const NOT_IN_NETLINK: u8 = 0;

const fn row(
    timer: Timer,
    name: &'static str,
    (protocol, attribute): (u8, u16),
    sysctl: Option<&'static str>,
    default: Option<u32>,
    doc: &'static str,
) -> TimerRow {
    TimerRow { timer, name, protocol, attribute, sysctl, default, doc }
}

/// Every timer, in the order of [`Timer`].
#[rustfmt::skip]
pub const TIMERS: [TimerRow; Timer::COUNT] = [
    row(Timer::TcpSynSent, "tcp.syn_sent", (6, 1), Some("nf_conntrack_tcp_timeout_syn_sent"), Some(120), "TCP: a SYN was seen"),
    row(Timer::TcpSynRecv, "tcp.syn_recv", (6, 2), Some("nf_conntrack_tcp_timeout_syn_recv"), Some(60), "TCP: a SYN/ACK was seen"),
    row(Timer::TcpEstablished, "tcp.established", (6, 3), Some("nf_conntrack_tcp_timeout_established"), Some(432_000), "TCP: the handshake is complete"),
    row(Timer::TcpFinWait, "tcp.fin_wait", (6, 4), Some("nf_conntrack_tcp_timeout_fin_wait"), Some(120), "TCP: a FIN was seen"),
    row(Timer::TcpCloseWait, "tcp.close_wait", (6, 5), Some("nf_conntrack_tcp_timeout_close_wait"), Some(60), "TCP: the FIN is acknowledged"),
    row(Timer::TcpLastAck, "tcp.last_ack", (6, 6), Some("nf_conntrack_tcp_timeout_last_ack"), Some(30), "TCP: both sides have sent a FIN"),
    row(Timer::TcpTimeWait, "tcp.time_wait", (6, 7), Some("nf_conntrack_tcp_timeout_time_wait"), Some(120), "TCP: closed in order"),
    row(Timer::TcpClose, "tcp.close", (6, 8), Some("nf_conntrack_tcp_timeout_close"), Some(10), "TCP: reset"),
    row(Timer::TcpSynSent2, "tcp.syn_sent2", (6, 9), None, Some(120), "TCP: a SYN from both sides"),
    row(Timer::TcpMaxRetrans, "tcp.max_retrans", (6, 10), Some("nf_conntrack_tcp_timeout_max_retrans"), Some(300), "TCP: too many retransmissions, or the window is closed"),
    row(Timer::TcpUnacknowledged, "tcp.unacknowledged", (6, 11), Some("nf_conntrack_tcp_timeout_unacknowledged"), Some(300), "TCP: data is not acknowledged"),
    row(Timer::Udp, "udp.unreplied", (17, 1), Some("nf_conntrack_udp_timeout"), Some(30), "UDP and UDP-lite: not a stream yet"),
    row(Timer::UdpStream, "udp.stream", (17, 2), Some("nf_conntrack_udp_timeout_stream"), Some(120), "UDP and UDP-lite: a stream"),
    row(Timer::Icmp, "icmp", (1, 1), Some("nf_conntrack_icmp_timeout"), Some(30), "ICMP"),
    row(Timer::Icmpv6, "icmpv6", (58, 1), Some("nf_conntrack_icmpv6_timeout"), Some(30), "ICMPv6"),
    row(Timer::Gre, "gre.unreplied", (47, 1), Some("nf_conntrack_gre_timeout"), Some(30), "GRE: no answer yet"),
    row(Timer::GreStream, "gre.stream", (47, 2), Some("nf_conntrack_gre_timeout_stream"), Some(180), "GRE: packets were seen in both directions"),
    row(Timer::SctpClosed, "sctp.closed", (132, 1), Some("nf_conntrack_sctp_timeout_closed"), Some(10), "SCTP: closed, or an INIT was seen"),
    row(Timer::SctpCookieWait, "sctp.cookie_wait", (132, 2), Some("nf_conntrack_sctp_timeout_cookie_wait"), Some(3), "SCTP: an INIT ACK was seen"),
    row(Timer::SctpCookieEchoed, "sctp.cookie_echoed", (132, 3), Some("nf_conntrack_sctp_timeout_cookie_echoed"), Some(3), "SCTP: a COOKIE ECHO was seen"),
    row(Timer::SctpEstablished, "sctp.established", (132, 4), Some("nf_conntrack_sctp_timeout_established"), Some(210), "SCTP: the association is established"),
    row(Timer::SctpShutdownSent, "sctp.shutdown_sent", (132, 5), Some("nf_conntrack_sctp_timeout_shutdown_sent"), Some(3), "SCTP: the original side shuts down"),
    row(Timer::SctpShutdownRecd, "sctp.shutdown_recd", (132, 6), Some("nf_conntrack_sctp_timeout_shutdown_recd"), Some(3), "SCTP: the reply side shuts down"),
    row(Timer::SctpShutdownAckSent, "sctp.shutdown_ack_sent", (132, 7), Some("nf_conntrack_sctp_timeout_shutdown_ack_sent"), Some(3), "SCTP: the shutdown is acknowledged"),
    row(Timer::SctpHeartbeatSent, "sctp.heartbeat_sent", (132, 8), Some("nf_conntrack_sctp_timeout_heartbeat_sent"), Some(30), "SCTP: a HEARTBEAT on a new path"),
    row(Timer::SctpHeartbeatAcked, "sctp.heartbeat_acked", (NOT_IN_NETLINK, 3), Some("nf_conntrack_sctp_timeout_heartbeat_acked"), None, "SCTP: a new path was answered (before Linux 6.2)"),
    row(Timer::DccpRequest, "dccp.request", (33, 1), Some("nf_conntrack_dccp_timeout_request"), Some(240), "DCCP (before Linux 6.18): a Request was seen"),
    row(Timer::DccpRespond, "dccp.respond", (33, 2), Some("nf_conntrack_dccp_timeout_respond"), Some(480), "DCCP (before Linux 6.18): a Response was seen"),
    row(Timer::DccpPartopen, "dccp.partopen", (33, 3), Some("nf_conntrack_dccp_timeout_partopen"), Some(480), "DCCP (before Linux 6.18): the Response is acknowledged"),
    row(Timer::DccpOpen, "dccp.open", (33, 4), Some("nf_conntrack_dccp_timeout_open"), Some(43_200), "DCCP (before Linux 6.18): the connection is established"),
    row(Timer::DccpClosereq, "dccp.closereq", (33, 5), Some("nf_conntrack_dccp_timeout_closereq"), Some(64), "DCCP (before Linux 6.18): the server requests to close"),
    row(Timer::DccpClosing, "dccp.closing", (33, 6), Some("nf_conntrack_dccp_timeout_closing"), Some(64), "DCCP (before Linux 6.18): closing"),
    row(Timer::DccpTimewait, "dccp.timewait", (33, 7), Some("nf_conntrack_dccp_timeout_timewait"), Some(240), "DCCP (before Linux 6.18): closed"),
    row(Timer::Generic, "generic", (255, 1), Some("nf_conntrack_generic_timeout"), Some(600), "every protocol without a tracker of its own"),
];

impl Timer {
    /// The number of timeouts.
    pub const COUNT: usize = 34;

    /// The timeout with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TIMERS.iter().find(|row| row.name == name).map(|row| row.timer)
    }

    /// Name, such as `tcp.established`.
    #[must_use]
    pub fn name(self) -> &'static str {
        TIMERS.get(self as usize).map_or("", |row| row.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_the_index_of_its_timer() {
        for (index, row) in TIMERS.iter().enumerate() {
            assert_eq!(row.timer as usize, index, "{}", row.name);
            assert_eq!(Timer::from_name(row.name), Some(row.timer));
            assert_eq!(row.timer.name(), row.name);
        }
    }

    #[test]
    fn names_numbers_and_files_are_unique() {
        for (index, row) in TIMERS.iter().enumerate() {
            for other in &TIMERS[index + 1..] {
                assert_ne!(row.name, other.name);
                assert_ne!((row.protocol, row.attribute), (other.protocol, other.attribute), "{}", row.name);
                assert!(row.sysctl.is_none() || row.sysctl != other.sysctl, "{}", row.name);
            }
            assert!(!row.doc.is_empty());
        }
    }
}
