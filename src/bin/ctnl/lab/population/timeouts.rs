//! The full timeouts of a namespace, from which an entry's idle time counts down.

use ctnl::model::TcpState;

/// Full timeouts in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// By state number.
    tcp: [u32; 10],
    /// TCP with data that is not acknowledged.
    pub tcp_unacknowledged: u32,
    /// UDP and UDP-lite that are not assured.
    pub udp: u32,
    /// UDP and UDP-lite that are assured.
    pub udp_stream: u32,
    pub icmp: u32,
    pub icmpv6: u32,
    pub gre: u32,
    pub gre_stream: u32,
    /// By state number.
    sctp: [u32; 9],
    /// Protocols without a tracker.
    pub generic: u32,
}

/// What the kernel starts a namespace with (Linux 6.18).
impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            tcp: [120, 120, 60, 432_000, 120, 60, 30, 120, 10, 120],
            tcp_unacknowledged: 300,
            udp: 30,
            udp_stream: 120,
            icmp: 30,
            icmpv6: 30,
            gre: 30,
            gre_stream: 180,
            sctp: [10, 10, 3, 3, 210, 3, 3, 3, 30],
            generic: 600,
        }
    }
}

const TCP: [&str; 10] = [
    "",
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    // SYN_SENT2 has no file of its own.
    "syn_sent",
];

const SCTP: [&str; 9] = [
    "",
    "closed",
    "cookie_wait",
    "cookie_echoed",
    "established",
    "shutdown_sent",
    "shutdown_recd",
    "shutdown_ack_sent",
    "heartbeat_sent",
];

impl Timeouts {
    /// The timeouts that `read` gives for a file `nf_conntrack_NAME` of
    /// `/proc/sys/net/netfilter`; those of a present kernel for what it has not.
    pub fn from_sysctls(read: impl Fn(&str) -> Option<u32>) -> Self {
        let mut timeouts = Self::default();
        let numbered = [("tcp", &mut timeouts.tcp[..], &TCP[..]), ("sctp", &mut timeouts.sctp[..], &SCTP[..])];
        for (protocol, values, names) in numbered {
            for (value, name) in values.iter_mut().zip(names) {
                *value = read(&format!("{protocol}_timeout_{name}")).unwrap_or(*value);
            }
        }
        let single = [
            ("tcp_timeout_unacknowledged", &mut timeouts.tcp_unacknowledged),
            ("udp_timeout", &mut timeouts.udp),
            ("udp_timeout_stream", &mut timeouts.udp_stream),
            ("icmp_timeout", &mut timeouts.icmp),
            ("icmpv6_timeout", &mut timeouts.icmpv6),
            ("gre_timeout", &mut timeouts.gre),
            ("gre_timeout_stream", &mut timeouts.gre_stream),
            ("generic_timeout", &mut timeouts.generic),
        ];
        for (name, value) in single {
            *value = read(name).unwrap_or(*value);
        }
        timeouts
    }

    pub fn tcp(&self, state: TcpState) -> u32 {
        self.tcp.get(usize::from(state.number())).copied().unwrap_or(self.generic)
    }

    pub fn sctp(&self, state: u8) -> u32 {
        self.sctp.get(usize::from(state)).copied().unwrap_or(self.generic)
    }
}
