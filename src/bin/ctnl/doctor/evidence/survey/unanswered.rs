//! Entries of which only one side has spoken, or whose handshake is not complete: floods, scans, dead targets.

use std::net::IpAddr;

use ctnl::group::FrequentItems;
use ctnl::model::{ProtoInfo, Protocol, Status, TcpState};

use super::endpoints::Destination;
use super::entry::{SurveyedEntry, Tally};

/// Counters of each kind by source, by destination and by both.
const COUNTERS: usize = 880;

/// One in so many is counted by source and destination: that is for a share, and the kernel dumps in the order of hashes.
const PAIR_EVERY: u64 = 8;

/// What is missing of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// TCP: a SYN, and no answer.
    SynAnswer,
    /// TCP: a SYN and its SYN/ACK, and no ACK.
    FinalAck,
    /// TCP that was picked up in the middle of the stream (`nf_conntrack_tcp_loose`), and only one side was seen.
    OtherSide,
    /// UDP: no reply.
    UdpReply,
    /// Any other protocol: no reply.
    Reply,
}

impl Missing {
    /// All of them.
    pub const ALL: [Missing; 5] =
        [Missing::SynAnswer, Missing::FinalAck, Missing::OtherSide, Missing::UdpReply, Missing::Reply];

    #[inline]
    fn of(entry: &SurveyedEntry<'_>) -> Option<Self> {
        let has_reply = entry.flow.status.contains(Status::SeenReply);
        match (entry.flow.protoinfo, entry.flow.orig.protocol) {
            (ProtoInfo::Tcp(info), _) => match info.state {
                TcpState::SynSent | TcpState::SynSent2 => Some(Missing::SynAnswer),
                TcpState::SynRecv => Some(Missing::FinalAck),
                _ => (!has_reply).then_some(Missing::OtherSide),
            },
            (ProtoInfo::None, Protocol::Udp | Protocol::UdpLite) => (!has_reply).then_some(Missing::UdpReply),
            _ => (!has_reply).then_some(Missing::Reply),
        }
    }
}

/// The entries of which the same is missing.
#[derive(Debug, Clone)]
pub struct Unanswered {
    /// By source; the total is that of the entries.
    pub sources: FrequentItems<IpAddr>,
    /// By destination and port.
    pub destinations: FrequentItems<Destination>,
    /// By source and destination address, of a sample.
    pairs: FrequentItems<(IpAddr, IpAddr)>,
}

impl Default for Unanswered {
    fn default() -> Self {
        Unanswered {
            sources: FrequentItems::new(COUNTERS),
            destinations: FrequentItems::new(COUNTERS),
            pairs: FrequentItems::new(COUNTERS),
        }
    }
}

impl Unanswered {
    /// The entries.
    pub fn entries(&self) -> u64 {
        self.sources.total()
    }

    /// The source and destination with most entries, and how many there are by the sample.
    pub fn largest_pair(&self) -> Option<((IpAddr, IpAddr), u64)> {
        let (pair, sampled) = self.pairs.top(1).into_iter().next()?;
        Some((pair, sampled.saturating_mul(self.entries()) / self.pairs.total().max(1)))
    }
}

/// All entries of which something is missing, by what it is.
#[derive(Debug, Clone, Default)]
pub struct AllUnanswered([Unanswered; Missing::ALL.len()]);

impl AllUnanswered {
    /// Those of which this is missing.
    pub fn of(&self, missing: Missing) -> Option<&Unanswered> {
        Missing::ALL.iter().position(|known| *known == missing).and_then(|place| self.0.get(place))
    }
}

impl Tally for AllUnanswered {
    #[inline]
    fn add(&mut self, entry: &SurveyedEntry<'_>) {
        if let Some(unanswered) = Missing::of(entry).and_then(|missing| self.0.get_mut(missing as usize)) {
            let orig = &entry.flow.orig;
            unanswered.sources.add(orig.src);
            unanswered.destinations.add(Destination::of(orig));
            if unanswered.sources.total() % PAIR_EVERY == 1 {
                unanswered.pairs.add((orig.src, orig.dst));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::age::Idle;
    use ctnl::model::{Flow, TcpInfo, Tuple, Undecided};

    use super::*;

    #[test]
    fn an_entry_is_counted_by_what_is_missing_of_its_conversation_and_a_whole_one_is_not() {
        let tcp = |state| (Protocol::Tcp, ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() }));
        let (udp, icmp) = ((Protocol::Udp, ProtoInfo::None), (Protocol::Icmp, ProtoInfo::None));
        let (none, replied) = (Status::empty(), Status::SeenReply);
        for ((protocol, protoinfo), status, expected) in [
            (tcp(TcpState::SynSent), none, Some(Missing::SynAnswer)),
            (tcp(TcpState::SynSent2), replied, Some(Missing::SynAnswer)),
            (tcp(TcpState::SynRecv), replied, Some(Missing::FinalAck)),
            (tcp(TcpState::Established), none, Some(Missing::OtherSide)),
            (tcp(TcpState::Established), replied, None),
            (udp, none, Some(Missing::UdpReply)),
            (udp, replied, None),
            (icmp, none, Some(Missing::Reply)),
            (icmp, replied, None),
            // In a flowtable: both sides have spoken.
            ((Protocol::Tcp, ProtoInfo::None), replied | Status::Offload, None),
        ] {
            let orig = Tuple { protocol, ..Tuple::UNSPECIFIED };
            let flow = Flow { protoinfo, status, ..Flow::new(orig, orig) };
            let mut all = AllUnanswered::default();
            all.add(&SurveyedEntry { flow: &flow, idle: Idle::Unknown(Undecided::NotSent) });
            let counted: Vec<_> =
                Missing::ALL.into_iter().filter(|missing| all.of(*missing).unwrap().entries() == 1).collect();
            assert_eq!(counted, Vec::from_iter(expected), "{protocol:?} {protoinfo:?}");
        }
    }
}
