//! The trackers with states, and the states of a name.

use crate::model::{DccpState, Protocol, SctpState, TcpState};

/// The trackers with states. The code of a state has the tracker's number in the high byte and
/// the kernel's state number in the low byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracker {
    /// TCP.
    Tcp,
    /// SCTP.
    Sctp,
    /// DCCP.
    Dccp,
}

impl Tracker {
    /// Every tracker.
    pub const ALL: [Tracker; 3] = [Tracker::Tcp, Tracker::Sctp, Tracker::Dccp];

    /// The tracker of the state with this code.
    #[must_use]
    pub fn of_code(code: u16) -> Option<Self> {
        let [tracker, _] = code.to_be_bytes();
        Self::ALL.into_iter().find(|known| *known as u8 == tracker)
    }

    /// The code of this tracker's state of that number.
    #[must_use]
    pub fn code(self, number: u8) -> u16 {
        u16::from_be_bytes([self as u8, number])
    }

    /// The kernel's name of a state of this tracker.
    #[must_use]
    pub fn state_name(self, number: u8) -> Option<&'static str> {
        match self {
            Tracker::Tcp => TcpState::from(number).name(),
            Tracker::Sctp => SctpState::from(number).name(),
            Tracker::Dccp => DccpState::from(number).name(),
        }
    }

    /// The protocol that it tracks.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Tracker::Tcp => Protocol::Tcp,
            Tracker::Sctp => Protocol::Sctp,
            Tracker::Dccp => Protocol::Dccp,
        }
    }

    /// The states that have a name.
    fn named(self) -> impl Iterator<Item = (u16, &'static str)> {
        (0..=u8::MAX).filter_map(move |number| Some((self.code(number), self.state_name(number)?)))
    }
}

/// The codes of the states with the name `word`, of every tracker that has it: `established` is
/// a state of TCP and one of SCTP. Case, `-` and `_` are ignored, and what two trackers spell
/// differently is one name: `time_wait` and `timewait`, `close` and `closed`. A number is that
/// state of every tracker. Empty if there is no such state; those of TCP come first.
#[must_use]
pub fn state_codes(word: &str) -> Vec<u16> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse().map_or(Vec::new(), |number| Tracker::ALL.map(|tracker| tracker.code(number)).to_vec());
    }
    let name = spelling(word);
    let all = Tracker::ALL.into_iter().flat_map(Tracker::named);
    all.filter(|(_, known)| spelling(known) == name).map(|(code, _)| code).collect()
}

/// What the spellings of one name have in common.
fn spelling(word: &str) -> String {
    let letters: String = word.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_uppercase()).collect();
    // TCP's CLOSE is CLOSED in SCTP.
    if letters == "CLOSED" { "CLOSE".to_owned() } else { letters }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_name_is_the_states_of_every_tracker_that_has_it() {
        assert_eq!(state_codes("established"), [Tracker::Tcp.code(3), Tracker::Sctp.code(4)]);
        assert_eq!(state_codes("Syn-Sent"), [Tracker::Tcp.code(1)]);
        assert_eq!(state_codes("200"), Tracker::ALL.map(|tracker| tracker.code(200)));
        assert!(state_codes("256").is_empty() && state_codes("estab").is_empty() && state_codes("").is_empty());
        assert!(state_codes("-").is_empty());
    }

    #[test]
    fn a_name_that_two_trackers_spell_differently_is_the_states_of_both() {
        for word in ["timewait", "time_wait", "Time-Wait", "TIMEWAIT"] {
            assert_eq!(state_codes(word), [Tracker::Tcp.code(7), Tracker::Dccp.code(7)], "{word}");
        }
        for word in ["close", "closed"] {
            assert_eq!(state_codes(word), [Tracker::Tcp.code(8), Tracker::Sctp.code(1)], "{word}");
        }
    }

    #[test]
    fn no_two_states_of_one_tracker_have_the_same_spelling() {
        for tracker in Tracker::ALL {
            let spellings: HashSet<String> = tracker.named().map(|(_, name)| spelling(name)).collect();
            assert_eq!(spellings.len(), 10, "{tracker:?}");
        }
    }

    #[test]
    fn a_code_has_its_tracker() {
        for tracker in Tracker::ALL {
            assert_eq!(Tracker::of_code(tracker.code(255)), Some(tracker));
        }
        assert_eq!(Tracker::of_code(0x300), None);
    }
}
