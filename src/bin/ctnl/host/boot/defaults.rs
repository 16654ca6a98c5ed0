//! The values that the kernel gives the settings of conntrack when it creates them.

use ctnl::model::TIMERS;

/// Settings that are no timeouts, with their defaults in any version since 2.6.32.
const OTHERS: &[(&str, &[u64])] = &[
    ("nf_conntrack_acct", &[0]),
    ("nf_conntrack_timestamp", &[0]),
    // 2 since Linux 5.19 (`NF_CT_EVENTS_DEFAULT` in net/netfilter/nf_conntrack_ecache.c).
    ("nf_conntrack_events", &[1, 2]),
    ("nf_conntrack_checksum", &[1]),
    ("nf_conntrack_log_invalid", &[0]),
    ("nf_conntrack_tcp_loose", &[1]),
    ("nf_conntrack_tcp_be_liberal", &[0]),
    ("nf_conntrack_tcp_ignore_invalid_rst", &[0]),
    ("nf_conntrack_tcp_max_retrans", &[3]),
];

/// Timeouts whose default was another one in former versions.
const FORMER: &[(&str, u64)] = &[
    ("nf_conntrack_udp_timeout_stream", 180),
    ("nf_conntrack_sctp_timeout_established", 432_000),
    ("nf_conntrack_sctp_timeout_shutdown_sent", 0),
    ("nf_conntrack_sctp_timeout_shutdown_recd", 0),
];

/// The defaults of the setting `name`, such as `nf_conntrack_acct`, in any version; empty where they are unknown,
/// or depend on the host.
pub fn of(name: &str) -> Vec<u64> {
    if let Some((_, defaults)) = OTHERS.iter().find(|(other, _)| *other == name) {
        return defaults.to_vec();
    }
    let timer = TIMERS.iter().find(|row| row.sysctl == Some(name)).and_then(|row| row.default);
    let former = FORMER.iter().filter(|(other, _)| *other == name).map(|(_, seconds)| *seconds);
    timer.map(u64::from).into_iter().chain(former).collect()
}

/// The buckets that the kernel may choose where it is given no hash size, with `memory` bytes
/// (`nf_conntrack_init_start` in net/netfilter/nf_conntrack_core.c): those of current versions first.
pub fn buckets(memory: u64) -> Vec<u64> {
    const GIB: u64 = 1 << 30;
    match memory {
        _ if memory > 4 * GIB => vec![262_144, 65_536, 16_384],
        _ if memory > GIB => vec![65_536, 16_384],
        _ => vec![round_up((memory / 16_384 / 8).max(1024))],
    }
}

/// Whether `value` is one of the `defaults` of a host. What the kernel counts as memory differs a little from MemTotal.
pub fn is_one_of(value: u64, defaults: &[u64]) -> bool {
    defaults.iter().any(|default| value.abs_diff(*default) <= default / 32)
}

/// The buckets of a table that was asked to have `size`: it fills pages (`nf_ct_alloc_hashtable`).
pub fn round_up(size: u64) -> u64 {
    size.div_ceil(512).saturating_mul(512)
}

/// The maxima that the kernel may choose where none is set: equal to the buckets since Linux 5.15, 4 times as many
/// before, and 8 times the hash size that the module is loaded with.
pub fn maxima(buckets: u64, is_given: bool) -> Vec<u64> {
    if is_given { vec![buckets.saturating_mul(8)] } else { vec![buckets, buckets.saturating_mul(4)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_depends_on_memory_and_former_versions_had_others() {
        let gib = |count: u64| count << 30;
        assert_eq!(buckets(gib(8)), [262_144, 65_536, 16_384]);
        assert_eq!(buckets(gib(2)), [65_536, 16_384]);
        assert_eq!((buckets(512 << 20), buckets(1 << 20)), (vec![4096], vec![1024]));
        assert!(is_one_of(4096, &[4000]) && !is_one_of(8192, &[4000]));
        assert_eq!((round_up(1), round_up(512), round_up(513)), (512, 512, 1024));
        assert_eq!((maxima(10, true), maxima(10, false)), (vec![80], vec![10, 40]));
        assert_eq!(of("nf_conntrack_udp_timeout_stream"), [120, 180]);
        assert_eq!(of("nf_conntrack_tcp_timeout_established"), [432_000]);
        assert_eq!((of("nf_conntrack_acct"), of("nf_conntrack_max")), (vec![0], vec![]));
    }
}
