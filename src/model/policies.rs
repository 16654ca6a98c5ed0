//! Timeout policies and flowtables of a network namespace.

use crate::wire::Family;

/// Timeout policies of one network namespace: timeouts that rules bind to flows (`ct timeout` of
/// nftables, `CT --timeout` of iptables). A dump does not contain the policy of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    bound: Vec<(Family, u8)>,
    /// Whether there are flowtables. A flow that leaves one has the remaining timeout with which it
    /// entered, also where packets were forwarded in between.
    pub flowtables: bool,
}

/// Families of a policy that hold for IPv4 and IPv6 alike.
const EVERY_FAMILY: [Family; 2] = [Family::UNSPEC, Family::INET];

impl Policies {
    /// The protocol number of the generic tracker.
    pub const GENERIC: u8 = 255;

    /// Adds a policy for a family and a layer 4 protocol.
    pub fn add(&mut self, family: Family, protocol: u8) {
        if !self.bound.contains(&(family, protocol)) {
            self.bound.push((family, protocol));
        }
    }

    /// Whether a flow of this family and protocol may be bound to a policy.
    #[must_use]
    pub fn may_bind(&self, family: Family, protocol: u8) -> bool {
        let of_family = |policy: Family| EVERY_FAMILY.contains(&policy) || policy == family;
        self.bound.iter().any(|(policy_family, policy)| *policy == protocol && of_family(*policy_family))
    }

    /// Whether there is no policy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// The family and the layer 4 protocol of each policy.
    pub fn iter(&self) -> impl Iterator<Item = (Family, u8)> {
        self.bound.iter().copied()
    }
}
