//! Delete expectations.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use nix::errno::Errno;

use super::BATCH;
use super::batch::{Outcome, Requests};
use super::expect_get::expect_get;
use super::expectation_target::ExpectationTarget;
use super::expectations::expectations;
use super::zones::zones_of;
use crate::model::{Expectation, Tuple};
use crate::netlink::{Connection, Error};
use crate::wire::uapi::ipctnl_msg_exp;

const OPERATION: &str = "delete expectations";

/// Deletes `targets` and adds the result of each to `outcome`. An expectation that no longer exists, or that has another
/// id by now, counts as gone.
///
/// A kernel since 5.1 without a later fix compares the id of a delete with the address of the expectation, and not with the
/// hash that it sends (`ctnetlink_del_expect` and `nf_expect_get_id` in
/// net/netfilter/nf_conntrack_netlink.c), and answers `ENOENT` for every one. So what is not found is fetched, and deleted
/// without an id if the kernel finds the expectation with that id.
///
/// # Errors
/// As [`super::delete()`].
#[doc(alias = "IPCTNL_MSG_EXP_DELETE")]
pub fn expect_delete(
    connection: &mut Connection,
    targets: &[ExpectationTarget],
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let (mut requests, mut unsent) = (Requests::new(OPERATION), targets.len() as u64);
    for part in targets.chunks(BATCH) {
        requests.fill(connection, part, |batch, sequence, flags, target| {
            batch.push(target.header(ipctnl_msg_exp::DELETE, flags, sequence), |writer| target.emit(writer));
        });
        let sent = requests.send(connection).and_then(|()| {
            unsent -= part.len() as u64;
            count(connection, &mut requests, part, outcome)
        });
        if sent.is_err() {
            outcome.unsent += unsent;
            return sent;
        }
    }
    Ok(())
}

/// Deletes the expectations that `choose` returns true for, found by a dump. Returns the number of those that a
/// delete cannot identify, which are left.
///
/// # Errors
/// As [`expectations`] and [`expect_delete`].
pub fn expect_flush(
    connection: &mut Connection,
    mut choose: impl FnMut(&Expectation) -> bool,
    outcome: &mut Outcome,
) -> Result<u64, Error> {
    let mut chosen = Vec::new();
    expectations(connection, |expectation| {
        if choose(&expectation) {
            chosen.push(expectation);
        }
    })?;
    let zones = expect_zones(connection, &chosen)?;
    let (mut targets, mut left) = (Vec::new(), 0);
    for (expectation, zone) in chosen.iter().zip(zones) {
        match ExpectationTarget::of(expectation) {
            // One that no zone has is gone, which its delete shows.
            Ok(target) => targets.push(target.in_zone(zone.unwrap_or(0))),
            Err(_) => left += 1,
        }
    }
    expect_delete(connection, &targets, outcome)?;
    Ok(left)
}

/// The zone of the master of `expectation`, which a dump does not show. `None` where the expectation does not exist any more.
///
/// # Errors
/// As [`expect_get`] and [`zones_of`].
pub fn expect_zone(connection: &mut Connection, expectation: &Expectation) -> Result<Option<u16>, Error> {
    MasterZones::default().zone_of(connection, expectation)
}

/// As [`expect_zone`], of each of `expectations` in their order; the zones of each master are looked up once.
///
/// # Errors
/// As [`expect_zone`].
pub fn expect_zones(connection: &mut Connection, expectations: &[Expectation]) -> Result<Vec<Option<u16>>, Error> {
    let mut zones = MasterZones::default();
    expectations.iter().map(|expectation| zones.zone_of(connection, expectation)).collect()
}

/// The zones of masters, each looked up once: that takes up to 0.1 s.
#[derive(Default)]
struct MasterZones(HashMap<Tuple, Vec<u16>>);

impl MasterZones {
    fn zone_of(&mut self, connection: &mut Connection, expectation: &Expectation) -> Result<Option<u16>, Error> {
        let Ok(target) = ExpectationTarget::of(expectation) else { return Ok(None) };
        let is_in = |connection: &mut Connection, zone| {
            let found = expect_get(connection, target.tuple(), zone)?;
            Ok(found.and_then(|found| found.id) == Some(target.id()))
        };
        if is_in(connection, 0)? {
            return Ok(Some(0));
        }
        let zones = match self.0.entry(expectation.master) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(zones_of(connection, &expectation.master)?),
        };
        for zone in zones.iter() {
            if is_in(connection, *zone)? {
                return Ok(Some(*zone));
            }
        }
        Ok(None)
    }
}

fn count(
    connection: &mut Connection,
    requests: &mut Requests,
    targets: &[ExpectationTarget],
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let answered = requests.collect_answers(connection);
    let silent = (targets.len() - requests.refused().len()) as u64;
    match answered {
        Ok(()) => outcome.done += silent,
        Err(_) => outcome.unanswered += silent,
    }
    let mut not_found = Vec::new();
    for (place, errno) in requests.refused() {
        if *errno == Errno::ENOENT as i32 && answered.is_ok() {
            not_found.extend(targets.get(*place));
        } else {
            outcome.add_refused(*errno);
        }
    }
    answered?;
    let mut left = not_found.len() as u64;
    for target in not_found {
        left -= 1;
        if let Err(error) = delete_without_id(connection, target, outcome) {
            outcome.unanswered += left + 1;
            return Err(error);
        }
    }
    Ok(())
}

/// Deletes `target` if the kernel finds the expectation with its id by its tuple.
fn delete_without_id(
    connection: &mut Connection,
    target: &ExpectationTarget,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let found = expect_get(connection, target.tuple(), target.zone())?;
    if found.and_then(|found| found.id) != Some(target.id()) {
        outcome.gone += 1;
        return Ok(());
    }
    let header = target.header(ipctnl_msg_exp::DELETE, 0, 0);
    match connection.request(OPERATION, header, |writer| target.emit_without_id(writer), |_| Ok(())) {
        Ok(()) => outcome.done += 1,
        Err(Error::Refused(refused)) => outcome.add_refused(refused.errno as i32),
        Err(error) => return Err(error),
    }
    Ok(())
}
