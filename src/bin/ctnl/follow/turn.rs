//! One turn: each queue that is not empty is read once.

use ctnl::netlink::Error;

use super::emitter::{Drained, Emitter, MAX_EVENTS_PER_TURN};
use super::streams::{QueueRead, Streams};

/// The result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// All queues are empty, after this many events.
    Drained(u32),
    /// More is queued.
    More,
    /// The outlet has no capacity.
    Blocked,
}

/// Reads each queue that is not empty.
pub(super) fn turn(emitter: &mut Emitter<'_>, streams: &mut Streams) -> Result<Turn, Error> {
    let (mut events, mut more, mut is_blocked) = (0, false, false);
    let now = emitter.env.realtime();
    streams.read_each(now, |stream| {
        let drained = emitter.drain(stream, MAX_EVENTS_PER_TURN)?;
        match drained {
            Drained::Empty(count) => events += count,
            Drained::More => more = true,
            Drained::Blocked => is_blocked = true,
        }
        Ok(QueueRead { is_empty: matches!(drained, Drained::Empty(_)), is_last: is_blocked })
    })?;
    Ok(match (is_blocked, more) {
        (true, _) => Turn::Blocked,
        (false, true) => Turn::More,
        (false, false) => Turn::Drained(events),
    })
}
