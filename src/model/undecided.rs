//! Reasons for which a property of a flow is not certain.

use std::fmt;

/// Why a property of a flow cannot be determined from a dump.
///
/// A flow for which a filter is undecided is not matched, also where the filter is negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Undecided {
    /// In a flowtable or in hardware: packets change neither timeout nor state.
    Offloaded,
    /// There are flowtables: the flow may have been in one, where packets do not refresh the timeout.
    Flowtable,
    /// Packets do not refresh the timeout.
    #[doc(alias = "IPS_FIXED_TIMEOUT")]
    FixedTimeout,
    /// A short-lived entry of a clash of two insertions.
    #[doc(alias = "IPS_NAT_CLASH")]
    NatClash,
    /// The remaining timeout exceeds that of the current sysctls.
    LongerThanSysctl,
    /// Several timeouts are possible (unacknowledged data, a closed window, an unanswered keepalive,
    /// an RST that was not accepted).
    AmbiguousTimeout,
    /// A program wrote timeouts into entries, perhaps into this one (`ctnl flush --soft`).
    WrittenTimeout,
    /// What timeouts were written into entries could not be read.
    UnknownWrittenTimeouts,
    /// A timeout policy exists for the protocol, and a dump does not contain the policy of a flow.
    TimeoutPolicy,
    /// No state, or an unknown one: created over netlink, or by a newer kernel.
    UnknownState,
    /// The timeout was set by a helper.
    TimeoutOfHelper,
    /// The entry was created over netlink (`conntrack -I`, conntrackd, a restore): its timeout was chosen by
    /// that program, not by the kernel.
    #[doc(alias = "ctnetlink_create_conntrack")]
    MadeOverNetlink,
    /// The flow keeps the timeouts that were in force at its creation (GRE), and the kernel does not
    /// report them.
    #[doc(alias = "nf_conntrack_gre_packet")]
    CopiedAtCreation,
    /// The idle time that the remaining timeout implies exceeds the age of the entry.
    LongerThanAge,
    /// The handshake is not complete: retransmitted packets do not refresh the timeout
    /// ([`ProtoInfo::is_handshake`](super::ProtoInfo::is_handshake)).
    NotRefreshed,
    /// The timeouts could not be read.
    UnknownTimeouts,
    /// The entry was created while `nf_conntrack_timestamp` was 0.
    NoTimestamp,
    /// The entry was created in the future: the clock was set back.
    ClockStep,
    /// The entry was created while `nf_conntrack_acct` was 0.
    NoAccounting,
    /// The value has a resolution of one second, and the limit is within this second.
    WithinOneSecond,
    /// The kernel sent no such attribute.
    NotSent,
}

impl Undecided {
    /// Every reason.
    pub const ALL: [Undecided; 21] = [
        Undecided::Offloaded,
        Undecided::Flowtable,
        Undecided::FixedTimeout,
        Undecided::NatClash,
        Undecided::LongerThanSysctl,
        Undecided::AmbiguousTimeout,
        Undecided::WrittenTimeout,
        Undecided::UnknownWrittenTimeouts,
        Undecided::TimeoutPolicy,
        Undecided::UnknownState,
        Undecided::TimeoutOfHelper,
        Undecided::MadeOverNetlink,
        Undecided::CopiedAtCreation,
        Undecided::LongerThanAge,
        Undecided::NotRefreshed,
        Undecided::UnknownTimeouts,
        Undecided::NoTimestamp,
        Undecided::ClockStep,
        Undecided::NoAccounting,
        Undecided::WithinOneSecond,
        Undecided::NotSent,
    ];

    /// Name for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Undecided::Offloaded => "offloaded",
            Undecided::Flowtable => "flowtable",
            Undecided::FixedTimeout => "fixed-timeout",
            Undecided::NatClash => "nat-clash",
            Undecided::LongerThanSysctl => "longer-than-sysctl",
            Undecided::AmbiguousTimeout => "ambiguous-timeout",
            Undecided::WrittenTimeout => "written-timeout",
            Undecided::UnknownWrittenTimeouts => "unknown-written-timeouts",
            Undecided::TimeoutPolicy => "timeout-policy",
            Undecided::UnknownState => "unknown-state",
            Undecided::TimeoutOfHelper => "timeout-of-helper",
            Undecided::MadeOverNetlink => "made-over-netlink",
            Undecided::CopiedAtCreation => "copied-at-creation",
            Undecided::LongerThanAge => "longer-than-age",
            Undecided::UnknownTimeouts => "unknown-timeouts",
            Undecided::NotRefreshed => "not-refreshed",
            Undecided::NoTimestamp => "no-timestamp",
            Undecided::ClockStep => "clock-step",
            Undecided::NoAccounting => "no-accounting",
            Undecided::WithinOneSecond => "within-one-second",
            Undecided::NotSent => "not-sent",
        }
    }

    /// The reason, and the options that decide the property.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Undecided::Offloaded => "in a flowtable, and taken to be in use; match them with 'status offload'",
            Undecided::Flowtable => {
                "there are flowtables, in which packets do not refresh the timeout: use --confirm-idle, or match on 'timeout' and use --soft, after which live flows refresh with their next packet"
            }
            Undecided::FixedTimeout => "packets do not refresh the timeout: match on 'age' or 'timeout'",
            Undecided::NatClash => "entries of a clash of two insertions, which expire within a second",
            Undecided::LongerThanSysctl => {
                "the remaining timeout exceeds the sysctl: give the earlier value with --base-timeout, or use --confirm-idle"
            }
            Undecided::AmbiguousTimeout => {
                "unacknowledged data, a closed window or a lost RST may have shortened the timeout: use --confirm-idle"
            }
            Undecided::WrittenTimeout => {
                "the timeout may be one that flush --soft wrote: use --confirm-idle, or wait for as long as that timeout"
            }
            Undecided::UnknownWrittenTimeouts => {
                "the notes of timeouts that flush --soft wrote cannot be read: use --confirm-idle; or mount /proc if /proc/sys/kernel/random/boot_id is missing, and otherwise look at /run/ctnl and remove files that are named written-* and have no timeout in their name"
            }
            Undecided::TimeoutPolicy => "a timeout policy exists for the protocol: use --confirm-idle",
            Undecided::UnknownState => "no known state: use --confirm-idle, or match on 'timeout'",
            Undecided::TimeoutOfHelper => "the timeout was set by a helper: use --confirm-idle",
            Undecided::MadeOverNetlink => {
                "created by conntrackd, conntrack -I or a restore, which chose the timeout: use --confirm-idle, or --trust-netlink-timeouts where these timeouts are those of the sysctls"
            }
            Undecided::CopiedAtCreation => {
                "GRE flows keep the timeouts in force at their creation: use --confirm-idle, or give every value that was in force with --base-timeout gre.unreplied=30 and gre.stream=180"
            }
            Undecided::LongerThanAge => {
                "the remaining timeout implies more idle time than the entry exists: it was written by a program, or the clock was set back; use --confirm-idle"
            }
            Undecided::NotRefreshed => {
                "in the handshake, where retransmitted packets do not refresh the timeout: match on 'state' with 'timeout' or 'age'"
            }
            Undecided::UnknownTimeouts => {
                "the timeouts could be read neither over netlink (nfnetlink_cttimeout) nor from /proc/sys/net/netfilter: use --confirm-idle"
            }
            Undecided::ClockStep => "created in the future: the clock was set back",
            Undecided::NoTimestamp => "created while net.netfilter.nf_conntrack_timestamp was 0",
            Undecided::NoAccounting => "created while net.netfilter.nf_conntrack_acct was 0",
            Undecided::WithinOneSecond => "within a second of the limit",
            Undecided::NotSent => "the kernel did not send the attribute",
        }
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_a_hint() {
        for (index, reason) in Undecided::ALL.iter().enumerate() {
            assert!(Undecided::ALL.iter().skip(index + 1).all(|other| other.name() != reason.name()), "{reason}");
            assert!(!reason.hint().is_empty());
        }
    }

    #[test]
    fn the_hint_of_what_could_not_be_read_names_the_files() {
        assert!(Undecided::UnknownWrittenTimeouts.hint().contains("/proc/sys/kernel/random/boot_id"));
        assert!(Undecided::UnknownTimeouts.hint().contains("/proc/sys/net/netfilter"));
    }
}
