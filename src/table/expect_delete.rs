//! Delete expectations.

use nix::errno::Errno;

use super::BATCH;
use super::batch::{Outcome, Requests};
use super::expect_get::expect_get;
use super::expectation_target::ExpectationTarget;
use super::expectations::expectations;
use crate::model::Expectation;
use crate::netlink::{Connection, Error};
use crate::wire::uapi::ipctnl_msg_exp;

const OPERATION: &str = "delete expectations";

/// Deletes `targets` and adds the result of each to `outcome`. An expectation that no longer exists, or that has another
/// id by now, counts as gone.
///
/// Kernels until 6.x compare the id of a delete with something else than the id that they send
/// (`ctnetlink_del_expect` in net/netfilter/nf_conntrack_netlink.c uses the address, `nf_expect_get_id` a hash), and
/// answer `ENOENT` for every one. So what is not found is fetched, and deleted without an id if the kernel
/// finds the expectation with that id.
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

/// Deletes the expectations that `choose` returns true for, found by a dump. Those of masters in a zone other than 0
/// count as gone: a dump does not show their zone.
///
/// # Errors
/// As [`expectations`] and [`expect_delete`].
pub fn expect_flush(
    connection: &mut Connection,
    mut choose: impl FnMut(&Expectation) -> bool,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let mut targets = Vec::new();
    expectations(connection, |expectation| {
        if choose(&expectation) {
            targets.extend(ExpectationTarget::of(&expectation));
        }
    })?;
    expect_delete(connection, &targets, outcome)
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
