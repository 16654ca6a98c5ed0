//! Which of the tables of all network namespaces have a queue of events, and of which size: the largest, as far as that changes
//! seldom. What is in a queue is lost when it is replaced.

use std::cmp::Reverse;

/// Namespaces whose sockets are kept open, those with most entries: with buffers, some 10 MB.
pub const MOST_KEPT: usize = 32;
/// Of these, those with a large queue of events.
pub const MOST_LARGE: usize = 4;
/// Tables of so few entries, or fewer, count as equally large.
const FEW: u32 = 8;

/// The queue of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Its sockets are closed.
    None,
    Small,
    Large,
}

/// A table.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub entries: u32,
    pub queue: Queue,
    /// The only one that is shown.
    pub is_only: bool,
    /// Its queue could not be opened. It is tried again as long as no other one is closed for it.
    pub was_refused: bool,
}

/// The queues that the tables are to have, in the same order.
pub fn queues(tables: &[Candidate]) -> Vec<Queue> {
    let mut planned: Vec<(Candidate, Queue)> = tables.iter().map(|table| (*table, table.queue)).collect();
    open_largest(&mut planned);
    enlarge_largest(&mut planned);
    planned.into_iter().map(|(_, queue)| queue).collect()
}

/// Whether a table is so much larger that it takes the place of another one.
fn exceeds(entries: u32, other: u32) -> bool {
    u64::from(entries) > 2 * u64::from(other.max(FEW))
}

fn open_largest(planned: &mut [(Candidate, Queue)]) {
    let mut closed: Vec<usize> = (0..planned.len()).filter(|place| queue_at(planned, *place) == Queue::None).collect();
    closed.sort_by_key(|place| {
        planned.get(*place).map(|(table, _)| (!table.is_only, table.was_refused, Reverse(table.entries)))
    });
    for place in closed {
        let Some((table, _)) = planned.get(place).copied() else { continue };
        let open = planned.iter_mut().filter(|(_, queue)| *queue != Queue::None);
        let (mut kept, mut smallest) = (0, None::<&mut (Candidate, Queue)>);
        for other in open {
            kept += 1;
            if !other.0.is_only && smallest.as_ref().is_none_or(|smallest| other.0.entries < smallest.0.entries) {
                smallest = Some(other);
            }
        }
        if kept >= MOST_KEPT {
            let is_larger = |than: &Candidate| !table.was_refused && exceeds(table.entries, than.entries);
            match smallest {
                Some(smallest) if table.is_only || is_larger(&smallest.0) => smallest.1 = Queue::None,
                _ => return,
            }
        }
        set(planned, place, Queue::Small);
    }
}

fn enlarge_largest(planned: &mut [(Candidate, Queue)]) {
    for _ in 0..MOST_LARGE {
        let places = |planned: &[(Candidate, Queue)], queue| -> Vec<(u32, usize)> {
            let with = planned.iter().enumerate().filter(|(_, (_, other))| *other == queue);
            with.map(|(place, (table, _))| (table.entries, place)).collect()
        };
        let (small, large) = (places(planned, Queue::Small), places(planned, Queue::Large));
        let Some((entries, place)) = small.into_iter().max_by_key(|(entries, place)| (*entries, Reverse(*place)))
        else {
            return;
        };
        let is_new = planned.get(place).is_some_and(|(table, _)| table.queue == Queue::None);
        match large.iter().min() {
            Some((smallest, other)) if large.len() >= MOST_LARGE => {
                if !exceeds(entries, *smallest) {
                    return;
                }
                set(planned, *other, Queue::Small);
            }
            // A queue is not replaced for a few entries.
            _ if !is_new && !exceeds(entries, 0) => return,
            _ => {}
        }
        set(planned, place, Queue::Large);
    }
}

fn queue_at(planned: &[(Candidate, Queue)], place: usize) -> Queue {
    planned.get(place).map_or(Queue::None, |(_, queue)| *queue)
}

fn set(planned: &mut [(Candidate, Queue)], place: usize, queue: Queue) {
    if let Some(planned) = planned.get_mut(place) {
        planned.1 = queue;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn table(entries: u32, queue: Queue) -> Candidate {
        Candidate { entries, queue, is_only: false, was_refused: false }
    }

    /// The queues, applied.
    fn next(tables: &[Candidate]) -> Vec<Candidate> {
        tables.iter().zip(queues(tables)).map(|(table, queue)| Candidate { queue, ..*table }).collect()
    }

    fn kept(tables: &[Candidate]) -> usize {
        tables.iter().filter(|table| table.queue != Queue::None).count()
    }

    fn large(tables: &[Candidate]) -> Vec<usize> {
        (0..tables.len()).filter(|place| tables[*place].queue == Queue::Large).collect()
    }

    #[test]
    fn the_largest_have_queues_and_four_of_them_large_ones() {
        let tables = next(&(0..40).map(|entries| table(entries, Queue::None)).collect::<Vec<_>>());
        assert_eq!((kept(&tables), large(&tables)), (MOST_KEPT, vec![36, 37, 38, 39]));
        assert!(tables[..8].iter().all(|table| table.queue == Queue::None));
    }

    #[test]
    fn a_namespace_that_grows_has_a_queue_in_place_of_the_smallest_and_then_nothing_changes() {
        let mut tables = next(&[table(1, Queue::None); 36]);
        assert_eq!(kept(&tables), MOST_KEPT);
        assert_eq!(tables[35].queue, Queue::None);
        tables[35].entries = 300;
        tables[8].entries = 300;
        tables = next(&tables);
        assert_eq!(kept(&tables), MOST_KEPT);
        assert!(large(&tables).contains(&35) && large(&tables).contains(&8), "{tables:?}");
        assert_eq!(queues(&tables), tables.iter().map(|table| table.queue).collect::<Vec<_>>());
    }

    #[test]
    fn tables_that_take_turns_by_less_than_twice_their_entries_keep_their_queues() {
        let mut tables = next(&[table(100, Queue::None); 40]);
        let before = queues(&tables);
        for round in 0..10 {
            for (place, table) in tables.iter_mut().enumerate() {
                table.entries = if (place + round) % 2 == 0 { 100 } else { 190 };
            }
            assert_eq!(queues(&tables), before);
            tables = next(&tables);
        }
        // Neither do a few entries that come and go.
        let mut tables = next(&[table(0, Queue::None); 40]);
        let before = queues(&tables);
        tables.iter_mut().skip(32).for_each(|table| table.entries = 16);
        assert_eq!(queues(&tables), before);
    }

    #[test]
    fn the_only_one_that_is_shown_has_a_queue_whatever_its_size_and_one_that_was_refused_closes_no_other() {
        let mut tables = next(&[table(100, Queue::None); 40]);
        tables[39] = Candidate { entries: 0, is_only: true, ..tables[39] };
        tables = next(&tables);
        assert_eq!((kept(&tables), tables[39].queue != Queue::None), (MOST_KEPT, true));
        tables[39] = Candidate { entries: 100, is_only: false, ..tables[39] };
        tables[38] = Candidate { entries: 1000, was_refused: true, ..tables[38] };
        assert_eq!(queues(&tables), tables.iter().map(|table| table.queue).collect::<Vec<_>>());
        // Where no other one is closed for it, it is tried again.
        tables.drain(30..38);
        assert_ne!(queues(&tables)[30], Queue::None, "{tables:?}");
    }
}
