//! The options of an event stream.

use std::sync::Arc;
use std::time::Duration;

use ctnl::sysctl::Sysctl;

/// The kinds of records that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordKinds {
    /// New entries.
    pub new: bool,
    /// Changes of entries.
    pub update: bool,
    /// Ends of entries.
    pub destroy: bool,
    /// Expectations.
    pub expectations: bool,
    /// One record per connection, at its end (`--flows`).
    pub flows: bool,
    /// With `flows`, another one at its beginning (`--flows=both`).
    pub begins: bool,
}

/// What to do after events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// Compare the table with the live set, and write the difference.
    Resync,
    /// Go on.
    Continue,
    /// End the stream.
    Exit,
}

/// When a namespace is compared with its table although no event was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconcile {
    /// While the live set has entries that may end without an event.
    Auto,
    /// At this interval.
    Every(Duration),
    /// Never.
    Off,
}

/// The options of an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowOptions {
    /// The records that are written.
    pub kinds: RecordKinds,
    /// Whether the stream begins with the entries that exist.
    pub seed: bool,
    /// What to do after a loss.
    pub on_gap: OnGap,
    /// When dumps find entries that were created or have ended without an event.
    pub reconcile: Reconcile,
    /// Bytes up to which the socket's queue may grow.
    pub buffer_max: usize,
    /// Whether the kernel repeats events that did not fit (`--reliable`).
    pub reliable: bool,
    /// Time between two snapshots.
    pub stats_interval: Option<Duration>,
    /// Time between two heartbeat records.
    pub heartbeat: Option<Duration>,
    /// The name of the stream.
    pub stream: Arc<str>,
    /// The version of the program.
    pub version: &'static str,
    /// The sysctls of conntrack.
    pub netfilter: Sysctl,
}

impl FollowOptions {
    /// Whether the live set is kept. Without it memory is constant.
    pub fn keeps_live_set(&self) -> bool {
        self.seed || self.on_gap == OnGap::Resync || self.kinds.flows || matches!(self.reconcile, Reconcile::Every(_))
    }
}
