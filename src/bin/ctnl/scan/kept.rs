//! Entries in memory, for an order: where memory runs out, adding one is an error.

use std::collections::TryReserveError;

use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::model::Flow;

/// An entry in memory.
#[derive(Debug)]
pub struct Kept {
    flow: Flow,
    confirmed_idle: Option<u32>,
    /// Its number among all that were added.
    pub added: u64,
}

/// Entries in blocks, which are not moved when there are more of them.
#[derive(Debug, Default)]
pub struct Store {
    blocks: Vec<Vec<Kept>>,
    /// Places of entries that were removed.
    free: Vec<u32>,
    added: u64,
}

/// The system has no memory for another entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl From<TryReserveError> for OutOfMemory {
    fn from(_: TryReserveError) -> Self {
        OutOfMemory
    }
}

/// Entries in a block, of some 400 KiB: when no further one can be allocated, there is memory left for what
/// small parts of the program need.
const BLOCK: usize = 1024;

impl Kept {
    /// The entry as a subject.
    pub fn subject<'a>(&'a self, ages: &'a IdleEstimator) -> Subject<'a> {
        Subject { confirmed_idle: self.confirmed_idle, ..Subject::new(&self.flow, ages) }
    }
}

impl Store {
    /// Keeps a copy. Its place.
    pub fn add(&mut self, subject: &Subject<'_>) -> Result<u32, OutOfMemory> {
        let flow = try_clone(subject.flow)?;
        let kept = Kept { flow, confirmed_idle: subject.confirmed_idle, added: self.added };
        self.added += 1;
        if let Some(place) = self.free.pop() {
            if let Some(slot) = self.slot(place) {
                *slot = kept;
            }
            return Ok(place);
        }
        let last = match self.blocks.last() {
            Some(block) if block.len() < BLOCK => self.blocks.len() - 1,
            _ => self.add_block()?,
        };
        let block = self.blocks.get_mut(last).ok_or(OutOfMemory)?;
        block.push(kept);
        u32::try_from(last * BLOCK + block.len() - 1).map_err(|_| OutOfMemory)
    }

    fn add_block(&mut self) -> Result<usize, OutOfMemory> {
        let mut block = Vec::new();
        block.try_reserve_exact(BLOCK)?;
        self.blocks.try_reserve(1)?;
        self.blocks.push(block);
        Ok(self.blocks.len() - 1)
    }

    /// Makes the place of an entry available to another one.
    pub fn remove(&mut self, place: u32) -> Result<(), OutOfMemory> {
        self.free.try_reserve(1)?;
        self.free.push(place);
        Ok(())
    }

    /// The entry at a place.
    pub fn get(&self, place: u32) -> Option<&Kept> {
        let place = place as usize;
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    fn slot(&mut self, place: u32) -> Option<&mut Kept> {
        let place = place as usize;
        self.blocks.get_mut(place / BLOCK)?.get_mut(place % BLOCK)
    }
}

/// A copy. The security context is the only part that has memory of its own.
fn try_clone(flow: &Flow) -> Result<Flow, OutOfMemory> {
    let secctx = flow.secctx.as_deref().map(try_boxed).transpose()?;
    Ok(Flow { secctx, ..*flow })
}

fn try_boxed(text: &str) -> Result<Box<str>, OutOfMemory> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())?;
    copy.push_str(text);
    Ok(copy.into_boxed_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_at_their_places_and_removed_places_are_used_again() {
        let (mut store, ages) = (Store::default(), IdleEstimator::without_timeouts(0));
        let add = |store: &mut Store, id| {
            let flow = Flow { id: Some(id), secctx: Some(id.to_string().into()), ..Flow::blank() };
            store.add(&Subject::new(&flow, &ages)).unwrap()
        };
        let count = 2 * BLOCK as u32 + 1;
        let places: Vec<u32> = (0..count).map(|id| add(&mut store, id)).collect();
        assert!(places.iter().copied().eq(0..count));
        store.remove(BLOCK as u32).unwrap();
        assert_eq!(add(&mut store, count), BLOCK as u32);
        assert_eq!(add(&mut store, count + 1), count);
        let kept = store.get(BLOCK as u32).unwrap();
        assert_eq!(
            (kept.flow.id, kept.flow.secctx.as_deref(), kept.added),
            (Some(count), Some("2049"), u64::from(count))
        );
        assert!(store.get(count + 1).is_none());
    }
}
