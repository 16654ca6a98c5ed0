//! Why a question about a flow has no certain answer.

use std::fmt;

/// Why something about a flow cannot be known from what the kernel dumps.
///
/// A flow whose answer is undecided is never matched, negated or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Undecided {
    /// Handled by a flowtable or by hardware: timeout and state stand still.
    Offloaded,
    /// There are flowtables: the flow may have come back from one, where packets do
    /// not refresh the timeout.
    Flowtable,
    /// `IPS_FIXED_TIMEOUT`: packets do not refresh the timeout.
    FixedTimeout,
    /// A short-lived entry of a NAT insert race.
    NatClash,
    /// More time is left than today's sysctls give.
    LongerThanSysctl,
    /// Several timeouts could have been in force (data not acknowledged,
    /// window closed, keepalive unanswered, RST not accepted).
    AmbiguousTimeout,
    /// A timeout policy exists for this protocol, and a dump does not show
    /// which flows it is bound to.
    TimeoutPolicy,
    /// No state, or one that this version does not know: made over netlink, or by a newer kernel.
    UnknownState,
    /// The timeout was set when the flow was made (GRE), or by its helper.
    TimeoutOfHelper,
    /// The handshake is not complete: packets sent again do not refresh the
    /// timeout, so it says how old the attempt is, not when it last tried.
    NotRefreshed,
    /// The timeouts in force could not be read.
    UnknownTimeouts,
    /// The entry was made with `nf_conntrack_timestamp=0`.
    NoTimestamp,
    /// The entry was made in the future: the clock was set back since.
    ClockStep,
    /// The entry was made with `nf_conntrack_acct=0`.
    NoAccounting,
    /// The value is known only to the second, and the limit falls into that second.
    WithinOneSecond,
    /// The kernel sent no such attribute.
    NotSent,
}

impl Undecided {
    /// Every reason.
    pub const ALL: [Undecided; 16] = [
        Undecided::Offloaded,
        Undecided::Flowtable,
        Undecided::FixedTimeout,
        Undecided::NatClash,
        Undecided::LongerThanSysctl,
        Undecided::AmbiguousTimeout,
        Undecided::TimeoutPolicy,
        Undecided::UnknownState,
        Undecided::TimeoutOfHelper,
        Undecided::NotRefreshed,
        Undecided::UnknownTimeouts,
        Undecided::NoTimestamp,
        Undecided::ClockStep,
        Undecided::NoAccounting,
        Undecided::WithinOneSecond,
        Undecided::NotSent,
    ];

    /// A word for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Undecided::Offloaded => "offloaded",
            Undecided::Flowtable => "flowtable",
            Undecided::FixedTimeout => "fixed-timeout",
            Undecided::NatClash => "nat-clash",
            Undecided::LongerThanSysctl => "longer-than-sysctl",
            Undecided::AmbiguousTimeout => "ambiguous-timeout",
            Undecided::TimeoutPolicy => "timeout-policy",
            Undecided::UnknownState => "unknown-state",
            Undecided::TimeoutOfHelper => "timeout-of-helper",
            Undecided::UnknownTimeouts => "unknown-timeouts",
            Undecided::NotRefreshed => "not-refreshed",
            Undecided::NoTimestamp => "no-timestamp",
            Undecided::ClockStep => "clock-step",
            Undecided::NoAccounting => "no-accounting",
            Undecided::WithinOneSecond => "within-one-second",
            Undecided::NotSent => "not-sent",
        }
    }

    /// What is so, and what would decide it, for a person.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Undecided::Offloaded => "in a flowtable, so in use as far as can be known; name them with 'status offload'",
            Undecided::Flowtable => {
                "there are flowtables, and what passes in one leaves no trace on a flow that comes back: use --confirm-idle, or choose by 'timeout' and add --soft, which cuts nothing in use"
            }
            Undecided::FixedTimeout => "the timeout is fixed and says nothing about traffic; use 'age' or 'timeout'",
            Undecided::NatClash => "entries of a NAT race, gone within a second",
            Undecided::LongerThanSysctl => {
                "more time left than today's sysctl gives: say which was in force before, with --base-timeout, or use --confirm-idle"
            }
            Undecided::AmbiguousTimeout => {
                "unacknowledged data, a closed window or a lost RST may have shortened the timeout: use --confirm-idle"
            }
            Undecided::TimeoutPolicy => "a timeout policy exists for the protocol: use --confirm-idle",
            Undecided::UnknownState => "no state that is known: use --confirm-idle, or match on 'timeout'",
            Undecided::TimeoutOfHelper => {
                "a helper sets timeouts of its own, or the timeout was fixed when the flow was made: use --confirm-idle"
            }
            Undecided::NotRefreshed => {
                "still in its handshake, where packets sent again leave no trace: match on 'state' with 'timeout' or 'age'"
            }
            Undecided::UnknownTimeouts => "the timeouts in force could not be read",
            Undecided::ClockStep => "made in the future: the clock was set back since",
            Undecided::NoTimestamp => "made while net.netfilter.nf_conntrack_timestamp was 0",
            Undecided::NoAccounting => "made while net.netfilter.nf_conntrack_acct was 0",
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
    fn every_reason_has_a_word_of_its_own_and_a_hint() {
        for (place, reason) in Undecided::ALL.iter().enumerate() {
            assert!(Undecided::ALL.iter().skip(place + 1).all(|other| other.name() != reason.name()), "{reason}");
            assert!(!reason.hint().is_empty());
        }
    }
}
