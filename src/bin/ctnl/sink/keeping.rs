//! Keeping what a destination has acknowledged, and sending it again after it was lost.

use super::deliver::{DeliveryError, Receipt};
use super::queue::Item;
use super::worker::{Tried, Worker};

impl Worker {
    /// Keeps a delivered item in the spool, if that was asked for.
    pub(super) fn keep(&mut self, item: &Item, receipt: Option<&Receipt>) {
        let now = self.clock.now().monotonic;
        let kept = self.sink.spool().map_or(Ok(()), |mut spool| spool.keep(item, receipt, now));
        match kept {
            Err(error) if !self.keeping_failed => {
                self.keeping_failed = true;
                self.warn(format!("acknowledged lines cannot be kept: {error}"));
            }
            kept => self.keeping_failed &= kept.is_err(),
        }
    }

    /// Removes what was kept long enough, while the destination answers: the time during which it is down may be
    /// that in which it loses lines.
    pub(super) fn expire_kept(&mut self, tried: Tried) {
        let now = self.clock.now().monotonic;
        if let Some(mut spool) = self.sink.spool().filter(|_| tried == Tried::Done) {
            spool.expire_kept(now);
        }
    }

    fn warn(&self, text: String) {
        let mut state = self.sink.state();
        let text = format!("sink {}: {text}", state.statistics.name);
        state.warnings.push(text);
    }

    /// Moves the kept lines that the destination has lost back into the spool. The spool is not locked while the
    /// destination is asked.
    pub(super) fn restore(&mut self) -> Result<(), DeliveryError> {
        let failed = |error| DeliveryError::io("read the kept lines", &error);
        let segments = self.sink.spool().map(|spool| spool.kept_segments()).unwrap_or_default();
        let (mut from, mut last_stored) = (None, None);
        for number in segments.into_iter().rev() {
            let receipts = self.sink.spool().map_or_else(|| Ok(Vec::new()), |spool| spool.kept_receipts(number));
            let (offsets, receipts): (Vec<u64>, Vec<Receipt>) = receipts.map_err(failed)?.into_iter().unzip();
            let lost = self.target.first_lost(&receipts)?;
            if let Some(offset) = offsets.get(lost) {
                from = Some((number, *offset));
            }
            if lost > 0 {
                last_stored = receipts.get(lost - 1).cloned();
                break;
            }
        }
        let bytes = match (from, self.sink.spool()) {
            (Some((number, offset)), Some(mut spool)) => spool.restore(number, offset).map_err(failed)?,
            _ => 0,
        };
        let earlier = if last_stored.is_none() { ", and earlier ones may be lost" } else { "" };
        self.warn(format!(
            "the stream has lost lines that it had acknowledged: sending {bytes} kept bytes again{earlier}"
        ));
        self.target.keep(last_stored);
        Ok(())
    }
}
