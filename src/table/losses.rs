//! The number of events that did not fit into the socket's queue, and their place in the
//! stream.
//!
//! `netlink_broadcast_deliver` (net/netlink/af_netlink.c) refuses an event when the queue is
//! full, or when the socket has `NETLINK_S_CONGESTED`. For each refused event,
//! `netlink_overrun` sets that bit, sets `sk_err = ENOBUFS` if the bit was clear, and then
//! increments `sk_drops`. `netlink_rcv_wake` clears the bit when a receive call has emptied
//! the queue. So:
//!
//! - recvmsg(2) returns `ENOBUFS` once, before the events that are still queued.
//! - Everything is refused and counted until the last queued event has been received. The
//!   loss is behind that event.
//! - The next event can be queued before the caller has processed that last one. The place
//!   of the loss is therefore where the queue did not shrink by what was received from it.
//!
//! The sum of all reported numbers is exact. A single number can be wrong by the refusals
//! that are under way: the kernel sets the error first and counts after, so a refusal on
//! another processor may be counted only in the next number.
//!
//! And it can be counted in an earlier number than that of its `ENOBUFS`: a refusal that was decided
//! while the bit was set, and is counted after a receive call has emptied the queue, sets the bit and the
//! error anew. What a sample has counted has set its error before the sample, and recvmsg(2) returns an
//! error before anything else: so the next call returns it, or there is none.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use crate::netlink::{Error, MemInfo};

/// A queued datagram occupies at least this much more than its bytes: `truesize` includes the
/// kernel's `sk_buff` and `skb_shared_info` (576 bytes on 64-bit kernels, 384 on 32-bit ones).
const MIN_OVERHEAD: u32 = 384;

/// And at most this much in all. Events occupy 1280 bytes, expectations less than a page.
const MAX_TRUESIZE: u32 = 8192;

/// Samples that are taken while a number is being changed.
const MAX_SAMPLES: u32 = 100;

/// Further samples, a millisecond apart, before a loss is taken for one that the kernel does not count:
/// the thread that is about to count it may have been preempted.
const MAX_PATIENT_SAMPLES: u32 = 50;

/// Refused events, as far as they have been reported.
#[derive(Debug)]
pub(super) struct Losses {
    /// `sk_drops` of the last sample. It has 32 bits, which can wrap within hours in which
    /// nothing is read; hence [`Losses::add_sample`] meanwhile.
    drops: Cell<u32>,
    /// Refusals up to that sample that have not been reported.
    unreported: Cell<u64>,
    /// The queue as it was when the kernel began to refuse, which is being received.
    full: Option<FullQueue>,
    /// A number has just been reported: if the next receive call returns `ENOBUFS`, that may be the
    /// error of refusals that are in this number.
    may_return_enobufs: bool,
    /// It has returned it.
    is_counted: bool,
}

/// A queue to which the kernel adds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FullQueue {
    /// Bytes in the queue at the last sample.
    used: u32,
    /// Datagrams that are certainly in it. A sample costs as much as receiving one.
    certain: u32,
}

impl FullQueue {
    fn of(used: u32) -> Self {
        FullQueue { used, certain: (used / MAX_TRUESIZE).saturating_sub(1) }
    }
}

/// What an empty queue means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmptyOutcome {
    /// Nothing is missing.
    Complete,
    /// This many events are missing here; `None` where the kernel did not count them.
    Lost(Option<u64>),
    /// The queue has been filled meanwhile: receive again.
    Refilled,
}

impl Losses {
    /// Counts what is refused from now on; `drops` is the kernel's count now.
    pub(super) fn since(drops: u32) -> Self {
        let (unreported, full) = (Cell::new(0), None);
        Losses { drops: Cell::new(drops), unreported, full, may_return_enobufs: false, is_counted: false }
    }

    /// Adds a sample of the kernel's count.
    pub(super) fn add_sample(&self, drops: u32) {
        let more = drops.wrapping_sub(self.drops.replace(drops));
        self.unreported.set(self.unreported.get() + u64::from(more));
    }

    /// recvmsg(2) has returned `ENOBUFS`.
    #[cold]
    pub(super) fn on_enobufs(&mut self, sample: impl FnMut() -> Result<MemInfo, Error>) -> Result<(), Error> {
        self.full = Some(FullQueue::of(settled(sample)?.used));
        self.is_counted = std::mem::take(&mut self.may_return_enobufs);
        Ok(())
    }

    /// Whether the place of a loss is still to be found.
    #[inline]
    pub(super) fn is_locating(&self) -> bool {
        self.full.is_some()
    }

    /// A datagram of `length` bytes has been received. Returns the loss behind it, if this is
    /// the place of one: the inner `None` is a number that the kernel did not count.
    #[inline]
    pub(super) fn on_datagram(
        &mut self,
        length: usize,
        sample: impl FnMut() -> Result<MemInfo, Error>,
    ) -> Result<Option<Option<u64>>, Error> {
        match self.full {
            None => {
                self.may_return_enobufs = false;
                Ok(None)
            }
            Some(full) => self.locate(full, length, sample),
        }
    }

    #[cold]
    fn locate(
        &mut self,
        full: FullQueue,
        length: usize,
        mut sample: impl FnMut() -> Result<MemInfo, Error>,
    ) -> Result<Option<Option<u64>>, Error> {
        if full.certain > 1 {
            self.full = Some(FullQueue { certain: full.certain - 1, ..full });
            return Ok(None);
        }
        let now = settled(&mut sample)?;
        let least = u32::try_from(length).unwrap_or(MAX_TRUESIZE).saturating_add(MIN_OVERHEAD);
        let has_shrunk = full.certain > 0 || full.used.saturating_sub(now.used) >= least;
        if now.used > 0 && has_shrunk {
            self.full = Some(FullQueue::of(now.used));
            return Ok(None);
        }
        self.report(now, sample)
    }

    /// recvmsg(2) has found the queue empty.
    #[inline]
    pub(super) fn on_empty(
        &mut self,
        mut sample: impl FnMut() -> Result<MemInfo, Error>,
    ) -> Result<EmptyOutcome, Error> {
        let now = sample()?;
        self.add_sample(now.drops);
        if self.full.is_none() && self.unreported.get() == 0 {
            self.may_return_enobufs = false;
            return Ok(EmptyOutcome::Complete);
        }
        // What is queued now came before the refusals, whose ENOBUFS is still to come.
        if self.full.is_none() && now.used > 0 {
            return Ok(EmptyOutcome::Refilled);
        }
        Ok(self.report(now, sample)?.map_or(EmptyOutcome::Refilled, EmptyOutcome::Lost))
    }

    /// The number of events that are missing here; `None` where it was reported before. The
    /// inner `None`: the kernel did not count them, because it had no memory to make an event
    /// (`ctnetlink_conntrack_event` in net/netfilter/nf_conntrack_netlink.c calls `nfnetlink_set_err` in nfnetlink.c,
    /// which sets `ENOBUFS` alone).
    #[cold]
    fn report(
        &mut self,
        now: MemInfo,
        sample: impl FnMut() -> Result<MemInfo, Error>,
    ) -> Result<Option<Option<u64>>, Error> {
        let is_counted = std::mem::take(&mut self.is_counted);
        self.full = None;
        self.add_sample(now.drops);
        if !is_counted {
            self.wait_for_count(sample)?;
        }
        let lost = self.unreported.take();
        self.may_return_enobufs = lost > 0;
        Ok((lost > 0 || !is_counted).then_some((lost > 0).then_some(lost)))
    }

    /// `netlink_overrun` sets the error first and counts after.
    fn wait_for_count(&self, mut sample: impl FnMut() -> Result<MemInfo, Error>) -> Result<(), Error> {
        for tried in 0..MAX_SAMPLES + MAX_PATIENT_SAMPLES {
            if self.unreported.get() > 0 {
                break;
            }
            if tried < MAX_SAMPLES {
                thread::yield_now()
            } else {
                thread::sleep(Duration::from_millis(1))
            }
            self.add_sample(sample()?.drops);
        }
        Ok(())
    }
}

/// A sample during which no refusal was under way. Since Linux 6.16 (and in stable kernels of that
/// time) `netlink_broadcast_deliver` adds an event to `sk_rmem_alloc` before it decides, and
/// subtracts a refused one again.
fn settled(mut sample: impl FnMut() -> Result<MemInfo, Error>) -> Result<MemInfo, Error> {
    let mut least = sample()?;
    for _ in 0..MAX_SAMPLES {
        let now = sample()?;
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

    /// Samples that differ from one to the next; the last one is repeated.
    fn samples(samples: &[(u32, u32)]) -> impl FnMut() -> Result<MemInfo, Error> {
        let mut samples = samples.iter().rev().copied().collect::<Vec<_>>();
        move || {
            let (used, drops) = if samples.len() > 1 { samples.pop() } else { samples.last().copied() }.unwrap();
            Ok(MemInfo { used, capacity: 8192, drops })
        }
    }

    #[test]
    fn without_enobufs_an_empty_queue_is_complete() {
        let mut losses = Losses::since(7);
        assert_eq!(losses.on_datagram(250, || panic!("no sample is needed")).unwrap(), None);
        assert_eq!(losses.on_empty(at(0, 7)).unwrap(), EmptyOutcome::Complete);
    }

    #[test]
    fn a_loss_is_reported_behind_the_last_datagram_of_a_full_queue_and_once() {
        let mut losses = Losses::since(0);
        losses.on_enobufs(at(3840, 5)).unwrap();
        assert_eq!(losses.on_datagram(250, at(2560, 6)).unwrap(), None);
        assert_eq!(losses.on_datagram(250, at(1280, 7)).unwrap(), None);
        assert_eq!(losses.on_datagram(250, at(0, 8)).unwrap(), Some(Some(8)));
        assert_eq!(losses.on_empty(at(0, 8)).unwrap(), EmptyOutcome::Complete);
    }

    #[test]
    fn a_queue_that_does_not_shrink_was_filled_after_the_loss() {
        for refilled in [768, 1280, 2560] {
            let mut losses = Losses::since(0);
            losses.on_enobufs(at(1280, 5)).unwrap();
            assert_eq!(losses.on_datagram(250, at(refilled, 5)).unwrap(), Some(Some(5)), "{refilled}");
        }
    }

    #[test]
    fn a_refusal_that_is_under_way_is_not_taken_for_a_queued_event() {
        let mut losses = Losses::since(0);
        losses.on_enobufs(samples(&[(3840, 5), (2560, 5)])).unwrap();
        assert_eq!(losses.on_datagram(250, samples(&[(2560, 5), (1280, 6)])).unwrap(), None);
        assert_eq!(losses.on_datagram(250, samples(&[(1280, 7), (0, 8)])).unwrap(), Some(Some(8)));
    }

    #[test]
    fn a_large_queue_is_sampled_seldom_and_its_end_is_found() {
        let (mut losses, mut queued, mut samples) = (Losses::since(0), 13_000_u32, 0);
        losses.on_enobufs(at(queued * 1280, 1)).unwrap();
        let mut lost = None;
        while lost.is_none() {
            queued -= 1;
            let sample = || {
                samples += 1;
                Ok(MemInfo { used: queued * 1280, capacity: 1 << 24, drops: 9 })
            };
            lost = losses.on_datagram(250, sample).unwrap();
        }
        assert_eq!((lost, queued), (Some(Some(9)), 0));
        assert!(samples < 300, "{samples}");
    }

    #[test]
    fn the_kernels_counter_may_wrap() {
        let mut losses = Losses::since(u32::MAX - 2);
        losses.on_enobufs(at(0, u32::MAX)).unwrap();
        assert_eq!(losses.on_empty(at(0, 4)).unwrap(), EmptyOutcome::Lost(Some(7)));
        assert_eq!(losses.on_empty(at(0, 4)).unwrap(), EmptyOutcome::Complete);
    }

    #[test]
    fn the_kernels_counter_may_wrap_several_times_while_nothing_is_received() {
        let mut losses = Losses::since(0);
        for drops in [3_000_000_000, 1_000_000_000, 4_000_000_000] {
            losses.add_sample(drops);
        }
        losses.on_enobufs(at(0, 4_000_000_000)).unwrap();
        assert_eq!(losses.on_empty(at(0, 5)).unwrap(), EmptyOutcome::Lost(Some((2 << 32) + 5)));
        assert_eq!(losses.on_empty(at(0, 5)).unwrap(), EmptyOutcome::Complete);
    }

    #[test]
    fn a_count_that_follows_its_enobufs_is_waited_for() {
        let mut losses = Losses::since(0);
        losses.on_enobufs(at(0, 0)).unwrap();
        assert_eq!(losses.on_empty(samples(&[(0, 0), (0, 0), (0, 1)])).unwrap(), EmptyOutcome::Lost(Some(1)));
    }

    #[test]
    fn a_loss_that_the_kernel_does_not_count_is_reported_without_a_number() {
        let mut losses = Losses::since(3);
        losses.on_enobufs(at(0, 3)).unwrap();
        assert_eq!(losses.on_empty(at(0, 3)).unwrap(), EmptyOutcome::Lost(None));
        assert_eq!(losses.on_empty(at(0, 3)).unwrap(), EmptyOutcome::Complete);
    }

    #[test]
    fn a_number_reported_before_its_enobufs_is_not_reported_again() {
        let mut losses = Losses::since(0);
        losses.on_enobufs(at(1280, 2)).unwrap();
        // Suspended here, the queue was filled and overrun again.
        assert_eq!(losses.on_datagram(250, at(2560, 5)).unwrap(), Some(Some(5)));
        losses.on_enobufs(at(2560, 5)).unwrap();
        assert_eq!(losses.on_datagram(250, at(1280, 5)).unwrap(), None);
        assert_eq!(losses.on_datagram(250, at(0, 5)).unwrap(), None);
        losses.on_enobufs(at(1280, 6)).unwrap();
        assert_eq!(losses.on_datagram(250, at(0, 6)).unwrap(), Some(Some(1)));
    }

    /// Decided while the bit was set, counted after the last datagram was received: the kernel sets the
    /// error again, with an empty queue.
    #[test]
    fn an_enobufs_right_after_a_reported_loss_is_that_of_a_refusal_in_it() {
        let mut losses = Losses::since(0);
        losses.on_enobufs(at(1280, 5)).unwrap();
        assert_eq!(losses.on_datagram(250, at(0, 6)).unwrap(), Some(Some(6)));
        losses.on_enobufs(at(0, 6)).unwrap();
        assert_eq!(losses.on_empty(at(0, 6)).unwrap(), EmptyOutcome::Refilled);
        assert_eq!(losses.on_empty(at(0, 6)).unwrap(), EmptyOutcome::Complete);
        // The next one is not, also if nothing was received in between but an empty queue.
        losses.on_enobufs(at(0, 6)).unwrap();
        assert_eq!(losses.on_empty(at(0, 6)).unwrap(), EmptyOutcome::Lost(None));
    }

    #[test]
    fn an_enobufs_after_further_datagrams_is_a_loss_of_its_own() {
        let mut losses = Losses::since(0);
        losses.on_enobufs(at(1280, 5)).unwrap();
        assert_eq!(losses.on_datagram(250, at(0, 6)).unwrap(), Some(Some(6)));
        assert_eq!(losses.on_datagram(250, at(0, 6)).unwrap(), None);
        losses.on_enobufs(at(0, 6)).unwrap();
        assert_eq!(losses.on_empty(at(0, 6)).unwrap(), EmptyOutcome::Lost(None));
    }

    #[test]
    fn a_queue_that_overran_after_it_was_found_empty_is_received_first() {
        let mut losses = Losses::since(0);
        assert_eq!(losses.on_empty(at(2560, 3)).unwrap(), EmptyOutcome::Refilled);
        losses.on_enobufs(at(2560, 3)).unwrap();
        assert_eq!(losses.on_datagram(250, at(1280, 3)).unwrap(), None);
        assert_eq!(losses.on_datagram(250, at(0, 3)).unwrap(), Some(Some(3)));
    }
}
