//! States that TCP does not have: valid where the filter matches only protocols that have them.

use super::error::ParseError;
use crate::field::Tracker;

/// A state that only these trackers have, and the error where the filter matches other protocols.
#[derive(Debug, Clone)]
pub(super) struct RareState {
    pub trackers: Vec<Tracker>,
    pub error: ParseError,
}

impl RareState {
    /// The error, unless every protocol that `is_possible` has the state.
    pub(super) fn check(&self, is_possible: impl Fn(u8) -> bool) -> Result<(), ParseError> {
        let has_state = |number: u8| self.trackers.iter().any(|tracker| u8::from(tracker.protocol()) == number);
        match (0..=u8::MAX).all(|number| has_state(number) || !is_possible(number)) {
            true => Ok(()),
            false => Err(self.error.clone()),
        }
    }
}
