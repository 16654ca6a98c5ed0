//! How many events did not fit, and after which of those that did.
//!
//! The kernel says once that the queue was full (`ENOBUFS`), ahead of what is
//! queued. From then on it refuses everything, and counts it, until the last of
//! the queued has been taken; what comes next is queued again, perhaps before
//! that last one has been looked at. So the place of the loss is where the queue
//! no longer shrinks by what is taken from it.
//!
//! The sum is exact. A place may be wrong by what goes on in that very moment: the
//! kernel refuses first and counts after, so a refusal that is under way on another
//! processor is in the next number.

use std::cell::Cell;
use std::thread;

use crate::netlink::{Error, MemInfo};

/// A queued datagram takes at least that much more than its bytes: the kernel's
/// `sk_buff` and what belongs to it, rounded up (576 on 64 bits, 384 on 32).
const LEAST_OVERHEAD: u32 = 384;

/// And never more than that as a whole. Events take 1280, expectations less than
/// a page.
const LARGEST: u32 = 8192;

/// How often to look again at a number that is just being changed.
const PATIENCE: u32 = 100;

/// What was refused, as far as it has been told.
#[derive(Debug)]
pub(super) struct Losses {
    /// The kernel's count at the last look. It has 32 bits, which can be full within hours in
    /// which nobody reads: hence [`Losses::see`] meanwhile.
    seen: Cell<u32>,
    /// Refusals up to that look that have not been told.
    untold: Cell<u64>,
    /// What was queued when the kernel began to refuse is being taken.
    full: Option<Full>,
    /// The last number may hold refusals that the kernel has yet to announce.
    foretold: bool,
}

/// A queue to which nothing is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Full {
    /// Bytes that it held at the last look.
    used: u32,
    /// Datagrams that are there for certain: looking costs as much as taking one.
    certain: u32,
}

impl Full {
    fn of(used: u32) -> Self {
        Full { used, certain: (used / LARGEST).saturating_sub(1) }
    }
}

/// Where an empty queue leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is missing.
    Complete,
    /// So many are missing here.
    Lost(u64),
    /// It has been filled since: look again.
    Refilled,
}

impl Losses {
    /// What is refused from now on, the kernel's count being `drops`.
    pub(super) fn since(drops: u32) -> Self {
        Losses { seen: Cell::new(drops), untold: Cell::new(0), full: None, foretold: false }
    }

    /// The kernel's count is `drops` by now.
    pub(super) fn see(&self, drops: u32) {
        let more = drops.wrapping_sub(self.seen.replace(drops));
        self.untold.set(self.untold.get() + u64::from(more));
    }

    /// The kernel has said that the queue was full.
    #[cold]
    pub(super) fn announced(&mut self, look: impl FnMut() -> Result<MemInfo, Error>) -> Result<(), Error> {
        self.full = Some(Full::of(steady(look)?.used));
        Ok(())
    }

    /// Whether the place of a loss is still to be found.
    #[inline]
    pub(super) fn are_pending(&self) -> bool {
        self.full.is_some()
    }

    /// A datagram of `length` bytes has been taken; what is missing after it, if
    /// that is the place.
    #[inline]
    pub(super) fn taken(
        &mut self,
        length: usize,
        look: impl FnMut() -> Result<MemInfo, Error>,
    ) -> Result<Option<u64>, Error> {
        match self.full {
            None => Ok(None),
            Some(full) => self.taken_from(full, length, look),
        }
    }

    #[cold]
    fn taken_from(
        &mut self,
        full: Full,
        length: usize,
        mut look: impl FnMut() -> Result<MemInfo, Error>,
    ) -> Result<Option<u64>, Error> {
        if full.certain > 1 {
            self.full = Some(Full { certain: full.certain - 1, ..full });
            return Ok(None);
        }
        let now = steady(&mut look)?;
        let least = u32::try_from(length).unwrap_or(LARGEST).saturating_add(LEAST_OVERHEAD);
        let shrunk = full.certain > 0 || full.used.saturating_sub(now.used) >= least;
        if now.used > 0 && shrunk {
            self.full = Some(Full::of(now.used));
            return Ok(None);
        }
        self.tell(now, look)
    }

    /// The queue was found empty.
    #[inline]
    pub(super) fn at_the_end(&mut self, mut look: impl FnMut() -> Result<MemInfo, Error>) -> Result<End, Error> {
        let now = look()?;
        self.see(now.drops);
        if self.full.is_none() && self.untold.get() == 0 {
            return Ok(End::Complete);
        }
        // What is queued by now came before the refusals, which will be announced.
        if self.full.is_none() && now.used > 0 {
            return Ok(End::Refilled);
        }
        Ok(self.tell(now, look)?.map_or(End::Refilled, End::Lost))
    }

    /// The number of what is missing here; None where it has been told already.
    #[cold]
    fn tell(&mut self, now: MemInfo, mut look: impl FnMut() -> Result<MemInfo, Error>) -> Result<Option<u64>, Error> {
        let (was_announced, was_foretold) = (self.full.take().is_some(), self.foretold);
        self.see(now.drops);
        // The kernel announces first and counts after.
        for _ in 0..PATIENCE {
            if self.untold.get() > 0 || was_foretold {
                break;
            }
            thread::yield_now();
            self.see(look()?.drops);
        }
        let lost = self.untold.take();
        self.foretold = now.used > 0 || !was_announced;
        Ok((lost > 0 || !was_foretold).then_some(lost))
    }
}

/// A look at which no refusal was just under way: such a one counts as queued for
/// as long as it takes.
fn steady(mut look: impl FnMut() -> Result<MemInfo, Error>) -> Result<MemInfo, Error> {
    let mut least = look()?;
    for _ in 0..PATIENCE {
        let now = look()?;
        if now.used >= least.used {
            return Ok(MemInfo { used: least.used, ..now });
        }
        least = now;
    }
    Ok(least)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn at(used: u32, drops: u32) -> impl FnMut() -> Result<MemInfo, Error> {
        move || Ok(MemInfo { used, capacity: 8192, drops })
    }

    /// Looks that differ from one to the next; the last one stays.
    fn looks(looks: &[(u32, u32)]) -> impl FnMut() -> Result<MemInfo, Error> {
        let mut looks = looks.iter().rev().copied().collect::<Vec<_>>();
        move || {
            let (used, drops) = if looks.len() > 1 { looks.pop() } else { looks.last().copied() }.unwrap();
            Ok(MemInfo { used, capacity: 8192, drops })
        }
    }

    #[test]
    fn without_an_announcement_an_empty_queue_is_complete() {
        let mut losses = Losses::since(7);
        assert_eq!(losses.taken(250, || panic!("no need to look")).unwrap(), None);
        assert_eq!(losses.at_the_end(at(0, 7)).unwrap(), End::Complete);
    }

    #[test]
    fn the_loss_is_told_after_the_last_of_a_full_queue_and_once() {
        let mut losses = Losses::since(0);
        losses.announced(at(3840, 5)).unwrap();
        assert_eq!(losses.taken(250, at(2560, 6)).unwrap(), None);
        assert_eq!(losses.taken(250, at(1280, 7)).unwrap(), None);
        assert_eq!(losses.taken(250, at(0, 8)).unwrap(), Some(8));
        assert_eq!(losses.at_the_end(at(0, 8)).unwrap(), End::Complete);
    }

    #[test]
    fn a_queue_that_no_longer_shrinks_has_been_filled_after_the_loss() {
        for refilled in [768, 1280, 2560] {
            let mut losses = Losses::since(0);
            losses.announced(at(1280, 5)).unwrap();
            assert_eq!(losses.taken(250, at(refilled, 5)).unwrap(), Some(5), "{refilled}");
        }
    }

    #[test]
    fn a_refusal_that_is_under_way_does_not_count_as_queued() {
        let mut losses = Losses::since(0);
        losses.announced(looks(&[(3840, 5), (2560, 5)])).unwrap();
        assert_eq!(losses.taken(250, looks(&[(2560, 5), (1280, 6)])).unwrap(), None);
        assert_eq!(losses.taken(250, looks(&[(1280, 7), (0, 8)])).unwrap(), Some(8));
    }

    #[test]
    fn a_large_queue_is_looked_at_seldom_and_its_end_is_found() {
        let (mut losses, mut queued, mut looks) = (Losses::since(0), 13_000_u32, 0);
        losses.announced(at(queued * 1280, 1)).unwrap();
        let mut lost = None;
        while lost.is_none() {
            queued -= 1;
            let look = || {
                looks += 1;
                Ok(MemInfo { used: queued * 1280, capacity: 1 << 24, drops: 9 })
            };
            lost = losses.taken(250, look).unwrap();
        }
        assert_eq!((lost, queued), (Some(9), 0));
        assert!(looks < 300, "{looks}");
    }

    #[test]
    fn the_kernels_counter_may_begin_again() {
        let mut losses = Losses::since(u32::MAX - 2);
        losses.announced(at(0, u32::MAX)).unwrap();
        assert_eq!(losses.at_the_end(at(0, 4)).unwrap(), End::Lost(7));
        assert_eq!(losses.at_the_end(at(0, 4)).unwrap(), End::Complete);
    }

    #[test]
    fn the_kernels_counter_may_go_round_while_nobody_reads() {
        let mut losses = Losses::since(0);
        for drops in [3_000_000_000, 1_000_000_000, 4_000_000_000] {
            losses.see(drops);
        }
        losses.announced(at(0, 4_000_000_000)).unwrap();
        assert_eq!(losses.at_the_end(at(0, 5)).unwrap(), End::Lost((2 << 32) + 5));
        assert_eq!(losses.at_the_end(at(0, 5)).unwrap(), End::Complete);
    }

    #[test]
    fn a_count_that_comes_after_its_announcement_is_waited_for() {
        let mut losses = Losses::since(0);
        losses.announced(at(0, 0)).unwrap();
        assert_eq!(losses.at_the_end(looks(&[(0, 0), (0, 0), (0, 1)])).unwrap(), End::Lost(1));
    }

    #[test]
    fn a_loss_that_the_kernel_does_not_count_is_still_told() {
        let mut losses = Losses::since(3);
        losses.announced(at(0, 3)).unwrap();
        assert_eq!(losses.at_the_end(at(0, 3)).unwrap(), End::Lost(0));
        assert_eq!(losses.at_the_end(at(0, 3)).unwrap(), End::Complete);
    }

    #[test]
    fn a_number_told_before_its_announcement_is_not_told_again() {
        let mut losses = Losses::since(0);
        losses.announced(at(1280, 2)).unwrap();
        // Suspended here, the queue was filled and overrun again.
        assert_eq!(losses.taken(250, at(2560, 5)).unwrap(), Some(5));
        losses.announced(at(2560, 5)).unwrap();
        assert_eq!(losses.taken(250, at(1280, 5)).unwrap(), None);
        assert_eq!(losses.taken(250, at(0, 5)).unwrap(), None);
        losses.announced(at(1280, 6)).unwrap();
        assert_eq!(losses.taken(250, at(0, 6)).unwrap(), Some(1));
    }

    #[test]
    fn what_was_overrun_since_it_was_found_empty_is_read_first() {
        let mut losses = Losses::since(0);
        assert_eq!(losses.at_the_end(at(2560, 3)).unwrap(), End::Refilled);
        losses.announced(at(2560, 3)).unwrap();
        assert_eq!(losses.taken(250, at(1280, 3)).unwrap(), None);
        assert_eq!(losses.taken(250, at(0, 3)).unwrap(), Some(3));
    }
}
