//! Entries by protocol and state, each with its idle times.

use std::cmp::Reverse;
use std::fmt;

use ctnl::model::{DccpState, Flow, L4, ProtoInfo, Protocol, SctpState, Status, TcpState, protocol_name};

use super::entry::{SurveyedEntry, Tally};
use super::idle_times::{IdleTimes, Older};

/// A protocol, and the state of its tracker or, without one, whether both sides have spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolState {
    protocol: u8,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// The state of TCP, SCTP or DCCP, by its number, which is less than [`State::NUMBERS`].
    Tracked(u8),
    /// A protocol without states: no reply was seen.
    Unreplied,
    /// A protocol without states: a reply was seen.
    Replied,
    /// A protocol with states, in a flowtable: the kernel does not send the state.
    Offloaded,
    /// A protocol with states, and the kernel sent none that is known.
    Unknown,
}

impl ProtocolState {
    #[inline]
    fn of(flow: &Flow) -> Self {
        ProtocolState { protocol: flow.orig.protocol.into(), state: State::of(flow) }
    }

    /// The place in [`States`].
    #[inline]
    fn code(self) -> usize {
        usize::from(self.protocol) << 4 | usize::from(self.state.code())
    }

    /// Whether `--state established` matches it: a state of TCP and one of SCTP.
    fn is_established(self) -> bool {
        match (Protocol::from(self.protocol), self.state) {
            (Protocol::Tcp, State::Tracked(number)) => TcpState::from(number) == TcpState::Established,
            (Protocol::Sctp, State::Tracked(number)) => SctpState::from(number) == SctpState::Established,
            _ => false,
        }
    }
}

impl State {
    /// The numbers of states that are distinguished: current kernels have 10.
    const NUMBERS: u8 = 12;

    /// In 4 bits.
    #[inline]
    fn code(self) -> u8 {
        match self {
            State::Tracked(number) => number,
            State::Unreplied => 12,
            State::Replied => 13,
            State::Offloaded => 14,
            State::Unknown => 15,
        }
    }

    fn tracked(number: u8) -> Self {
        if number < State::NUMBERS { State::Tracked(number) } else { State::Unknown }
    }

    #[inline]
    fn of(flow: &Flow) -> Self {
        let has_states = match flow.orig.protocol {
            Protocol::Tcp | Protocol::Sctp => true,
            // Kernels without a DCCP tracker (6.18) keep no ports either.
            Protocol::Dccp => flow.orig.l4 != L4::None,
            _ => false,
        };
        match flow.protoinfo {
            _ if has_states && flow.is_offloaded() => State::Offloaded,
            ProtoInfo::Tcp(info) => State::tracked(info.state.number()),
            ProtoInfo::Sctp(info) => State::tracked(info.state.number()),
            ProtoInfo::Dccp(info) => State::tracked(info.state.number()),
            _ if has_states => State::Unknown,
            _ if flow.status.contains(Status::SeenReply) => State::Replied,
            _ => State::Unreplied,
        }
    }
}

/// As in `tcp ESTABLISHED`, `udp UNREPLIED`.
impl fmt::Display for ProtocolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = Protocol::from(self.protocol);
        match protocol_name(protocol) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "protocol {}", self.protocol)?,
        }
        let name = |number: u8| match protocol {
            Protocol::Sctp => SctpState::from(number).name(),
            Protocol::Dccp => DccpState::from(number).name(),
            _ => TcpState::from(number).name(),
        };
        match self.state {
            State::Tracked(number) => match name(number) {
                Some(name) => write!(f, " {name}"),
                None => write!(f, " state {number}"),
            },
            State::Unreplied => f.write_str(" UNREPLIED"),
            State::Replied => f.write_str(" replied"),
            State::Offloaded => f.write_str(" offloaded"),
            State::Unknown => f.write_str(" in an unknown state"),
        }
    }
}

/// The entries of one protocol and state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateRow {
    /// Entries.
    pub entries: u64,
    /// Of them, those that are not ASSURED.
    pub evictable: u64,
    /// Their idle times.
    pub idle: IdleTimes,
}

/// The entries of each protocol and state.
#[derive(Debug, Clone)]
pub struct States {
    rows: Vec<(ProtocolState, StateRow)>,
    /// The place of a row plus 1, by the code of protocol and state; 0 where there is none. A hash table took 10 ns more.
    places: Box<[u16; CODES]>,
}

/// 256 protocols with 16 states each.
const CODES: usize = 1 << 12;

impl Default for States {
    fn default() -> Self {
        States { rows: Vec::new(), places: Box::new([0; CODES]) }
    }
}

impl Tally for States {
    #[inline]
    fn add(&mut self, entry: &SurveyedEntry<'_>) {
        let state = ProtocolState::of(entry.flow);
        let Some(place) = self.places.get_mut(state.code()) else { return };
        if *place == 0 {
            self.rows.push((state, StateRow::default()));
            *place = u16::try_from(self.rows.len()).unwrap_or(u16::MAX);
        }
        if let Some((_, row)) = self.rows.get_mut(usize::from(*place) - 1) {
            row.entries += 1;
            row.evictable += u64::from(entry.is_evictable());
            row.idle.count(entry.idle);
        }
    }
}

impl States {
    /// The rows, the one with most entries first.
    pub fn rows(&self) -> Vec<(ProtocolState, &StateRow)> {
        let mut rows: Vec<_> = self.rows.iter().map(|(state, row)| (*state, row)).collect();
        rows.sort_by_key(|(state, row)| (Reverse(row.entries), *state));
        rows
    }

    /// What `ctnl flush --state established --older …` deletes.
    pub fn established(&self, older: Older) -> u64 {
        let rows = self.rows.iter().filter(|(state, _)| state.is_established());
        rows.map(|(_, row)| row.idle.certainly(older)).sum()
    }
}

#[cfg(test)]
mod tests {
    use ctnl::age::Idle;
    use ctnl::model::{SctpInfo, TcpInfo, Tuple, Undecided};

    use super::*;

    fn flow(protocol: Protocol, protoinfo: ProtoInfo, status: Status) -> Flow {
        let orig = Tuple { protocol, ..Tuple::UNSPECIFIED };
        Flow { protoinfo, status, ..Flow::new(orig, orig) }
    }

    #[test]
    fn entries_are_counted_by_protocol_and_state_and_the_largest_group_comes_first() {
        let tcp = |state| ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() });
        let sctp = ProtoInfo::Sctp(SctpInfo { state: SctpState::Established, ..SctpInfo::default() });
        let (none, replied) = (Status::empty(), Status::SeenReply | Status::Assured);
        let mut states = States::default();
        for (flow, days) in [
            (flow(Protocol::Tcp, tcp(TcpState::Established), replied), 2),
            (flow(Protocol::Tcp, tcp(TcpState::Established), replied), 0),
            (flow(Protocol::Tcp, tcp(TcpState::TimeWait), replied), 2),
            (flow(Protocol::Sctp, sctp, replied), 2),
            (flow(Protocol::Tcp, ProtoInfo::None, Status::Offload | replied), 2),
            (flow(Protocol::Tcp, ProtoInfo::None, none), 2),
            (flow(Protocol::Udp, ProtoInfo::None, none), 2),
            (flow(Protocol::Other(99), ProtoInfo::None, replied), 2),
        ] {
            let idle = Idle::AtLeast(days * 86_400, Undecided::AmbiguousTimeout);
            states.add(&SurveyedEntry { flow: &flow, idle });
        }
        let rows: Vec<_> = states.rows().into_iter().map(|(state, row)| (state.to_string(), row.entries)).collect();
        let expected = [
            ("tcp ESTABLISHED", 2),
            ("tcp TIME_WAIT", 1),
            ("tcp offloaded", 1),
            ("tcp in an unknown state", 1),
            ("udp UNREPLIED", 1),
            ("protocol 99 replied", 1),
            ("sctp ESTABLISHED", 1),
        ];
        assert_eq!(rows, expected.map(|(name, entries)| (name.to_owned(), entries)));
        assert_eq!(states.established(Older::HalfDay), 2, "of TCP and of SCTP, as the filter has it");
        let evictable: u64 = states.rows().iter().map(|(_, row)| row.evictable).sum();
        assert_eq!(evictable, 2);
    }
}
