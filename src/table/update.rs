//! Change existing entries.

use super::batch::{BATCH, Outcome, Requests};
use super::patch::Patch;
use super::target::Target;
use crate::netlink::{Connection, Error};
use crate::wire::Batch;
use crate::wire::uapi::ipctnl_msg_ct;

/// Changes each target by its patch, and adds the result of each to `outcome`. A target should come from
/// [`Patch::target_of`], which refuses what the kernel ignores without an error.
///
/// An entry counts once: as done when all [steps](Patch::steps) of its patch were applied; otherwise by the error of the
/// step that was refused, and in [`Outcome::partly`] if an earlier step was applied.
///
/// The kernel does not compare the id (`ctnetlink_change_conntrack` in
/// net/netfilter/nf_conntrack_netlink.c), so a new flow with the same tuple gets the patch, too. The next packet of a
/// live flow restores its full timeout.
///
/// # Errors
/// As [`super::delete()`]. The kernel refuses a timeout for an entry with a fixed one with `EPERM`, labels for an
/// entry without room for them with `ENOSPC`, and a status without a bit that the entry has by now with `EBUSY`.
#[doc(alias = "IPCTNL_MSG_CT_NEW")]
#[doc(alias = "ctnetlink_change_conntrack")]
pub fn update(connection: &mut Connection, updates: &[(Target, Patch)], outcome: &mut Outcome) -> Result<(), Error> {
    let (mut requests, mut unsent) = (Requests::new(OPERATION), updates.len() as u64);
    for part in updates.chunks(BATCH) {
        let (targets, steps): (Vec<Target>, Vec<Vec<Patch>>) =
            part.iter().map(|(target, patch)| (*target, patch.steps())).unzip();
        let mut progress = Progress::new(&targets);
        let step_of = |item: usize, step: usize| steps.get(item).and_then(|steps| steps.get(step)).copied();
        progress.fill(&mut requests, connection, step_of);
        let sent = requests.send(connection).and_then(|()| {
            unsent -= part.len() as u64;
            progress.finish(&mut requests, connection, step_of, outcome)
        });
        if sent.is_err() {
            outcome.unsent += unsent;
            return sent;
        }
    }
    Ok(())
}

/// Sets the remaining timeout of `targets` to `seconds`: [`update()`] with [`Patch::timeout`].
///
/// # Errors
/// As [`update()`].
#[doc(alias = "CTA_TIMEOUT")]
pub fn lower_timeout(
    connection: &mut Connection,
    targets: &[Target],
    seconds: u32,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let updates: Vec<_> = targets.iter().map(|target| (*target, Patch::timeout(seconds))).collect();
    update(connection, &updates, outcome)
}

pub(super) const OPERATION: &str = "update entries";

/// The targets of one datagram, of which some have further steps.
#[derive(Debug)]
pub(super) struct Progress<'t> {
    targets: &'t [Target],
    /// Those in the current step, by their place in `targets`.
    current: Vec<usize>,
    step: usize,
}

impl<'t> Progress<'t> {
    pub(super) fn new(targets: &'t [Target]) -> Self {
        Progress { targets, current: (0..targets.len()).collect(), step: 0 }
    }

    /// Writes the requests of the current step. An item without one is left out.
    pub(super) fn fill(
        &mut self,
        requests: &mut Requests,
        connection: &mut Connection,
        step_of: impl Fn(usize, usize) -> Option<Patch>,
    ) {
        let step = self.step;
        let with_patch: Vec<_> = self
            .current
            .iter()
            .filter_map(|item| Some((*item, self.targets.get(*item)?, step_of(*item, step)?)))
            .collect();
        self.current = with_patch.iter().map(|(item, ..)| *item).collect();
        requests.fill(connection, &with_patch, |batch, sequence, flags, (_, target, patch)| {
            write(batch, sequence, flags, target, patch);
        });
    }

    /// Counts the answers of the step that was sent, and sends and counts the steps after it.
    pub(super) fn finish(
        mut self,
        requests: &mut Requests,
        connection: &mut Connection,
        step_of: impl Fn(usize, usize) -> Option<Patch>,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        // A patch without a step changes nothing.
        outcome.done += (self.targets.len() - self.current.len()) as u64;
        loop {
            self.count_step(requests, connection, &step_of, outcome)?;
            if self.current.is_empty() {
                return Ok(());
            }
            self.step += 1;
            self.fill(requests, connection, &step_of);
            if let Err(error) = requests.send(connection) {
                outcome.unanswered += self.current.len() as u64;
                return Err(error);
            }
        }
    }

    /// Keeps those that have a further step.
    fn count_step(
        &mut self,
        requests: &mut Requests,
        connection: &mut Connection,
        step_of: &impl Fn(usize, usize) -> Option<Patch>,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        if self.current.is_empty() {
            return Ok(());
        }
        let answered = requests.collect_answers(connection);
        for (_, errno) in requests.refused() {
            outcome.add_refused(*errno);
            outcome.partly += u64::from(self.step > 0);
        }
        let places: Vec<usize> = requests.refused().iter().map(|(place, _)| *place).collect();
        let mut place = 0;
        self.current.retain(|_| {
            place += 1;
            !places.contains(&(place - 1))
        });
        if answered.is_err() {
            outcome.unanswered += self.current.len() as u64;
            return answered;
        }
        let before = self.current.len();
        let next = self.step + 1;
        self.current.retain(|item| step_of(*item, next).is_some());
        outcome.done += (before - self.current.len()) as u64;
        Ok(())
    }
}

/// Writes the request for one target.
pub(super) fn write(batch: &mut Batch, sequence: u32, flags: u16, target: &Target, patch: &Patch) {
    batch.push(target.header(ipctnl_msg_ct::NEW, flags, sequence), |writer| {
        target.emit(writer);
        patch.emit(writer, target.status());
    });
}
