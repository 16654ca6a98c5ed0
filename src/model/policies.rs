//! Which protocols have timeout policies, and whether flows may be offloaded.

/// Timeout policies of one network namespace: timeouts that a rule binds to
/// flows (`ct timeout` of nftables, `CT --timeout` of iptables). A dump does not
/// show which flows are bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    bound: Vec<(u16, u8)>,
    /// Whether there are flowtables. A flow that comes back from one has what was
    /// left of the timeout that it went in with, however busy it was there.
    pub flowtables: bool,
}

/// Layer 3 numbers of a policy that hold for IPv4 and IPv6 alike:
/// `NFPROTO_UNSPEC` and `NFPROTO_INET`.
const EVERY_FAMILY: [u16; 2] = [0, 1];

impl Policies {
    /// The layer 4 number of the generic tracker.
    pub const GENERIC: u8 = 255;

    /// Adds a policy for a layer 3 (`NFPROTO_*`) and a layer 4 protocol.
    pub fn add(&mut self, family: u16, protocol: u8) {
        if !self.bound.contains(&(family, protocol)) {
            self.bound.push((family, protocol));
        }
    }

    /// Whether some flows of this family and protocol may be bound to one.
    #[must_use]
    pub fn cover(&self, family: u8, protocol: u8) -> bool {
        let of_family = |policy: u16| EVERY_FAMILY.contains(&policy) || policy == u16::from(family);
        self.bound.iter().any(|(policy_family, policy)| *policy == protocol && of_family(*policy_family))
    }

    /// Whether there is no policy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty()
    }

    /// Each as layer 3 and layer 4 number.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u8)> {
        self.bound.iter().copied()
    }
}
