//! Create expectations.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::BATCH;
use super::batch::{Outcome, Requests};
use super::expectation_target::{emit_tuple, header};
use crate::model::Expectation;
use crate::netlink::{Connection, Error};
use crate::wire::AttributeWriter;
use crate::wire::uapi::{cta_expect, cta_expect_nat, ipctnl_msg_exp};

/// Creates `expectations`, each with its tuple, mask, zone, flags, class, helper, NAT and function, for its master, which
/// must be in the table and have a helper. The id is the kernel's to set.
///
/// The kernel starts an expectation with the timeout of the helper's class, whatever the request has
/// (`nf_ct_expect_insert` in net/netfilter/nf_conntrack_expect.c); so where [`Expectation::timeout`] is not `None`, a second
/// request changes it. Where only that one was refused, the expectation is in [`Outcome::partly`].
///
/// One that exists counts as failed with `EEXIST` (or `EBUSY` where another one clashes with it), one whose master has no
/// helper or whose helper the kernel does not have with `EOPNOTSUPP`, one with a class that the helper does not have or an unknown
/// function with `EINVAL`, one of more than the helper allows with `EMFILE`. One whose master does not exist counts as gone
/// (`ENOENT`).
///
/// # Errors
/// As [`super::delete()`].
#[doc(alias = "IPCTNL_MSG_EXP_NEW")]
#[doc(alias = "ctnetlink_create_expect")]
pub fn expect_create(
    connection: &mut Connection,
    expectations: &[Expectation],
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let (mut requests, mut unsent) = (Requests::new("create expectations"), expectations.len() as u64);
    for part in expectations.chunks(BATCH) {
        let part: Vec<&Expectation> = part.iter().collect();
        fill(&mut requests, connection, &part, NLM_F_CREATE | NLM_F_EXCL);
        let sent = requests.send(connection).and_then(|()| {
            unsent -= part.len() as u64;
            count_and_set_timeouts(connection, &mut requests, part, outcome)
        });
        if sent.is_err() {
            outcome.unsent += unsent;
            return sent;
        }
    }
    Ok(())
}

fn fill(requests: &mut Requests, connection: &mut Connection, part: &[&Expectation], create: u16) {
    requests.fill(connection, part, |batch, sequence, flags, expectation| {
        let header = header(expectation.family, ipctnl_msg_exp::NEW, flags | create, sequence);
        batch.push(header, |writer| emit(writer, expectation));
    });
}

fn count_and_set_timeouts(
    connection: &mut Connection,
    requests: &mut Requests,
    mut part: Vec<&Expectation>,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    count(connection, requests, &mut part, outcome)?;
    let with_timeout = part.iter().filter(|expectation| expectation.timeout.is_some()).count();
    outcome.done += (part.len() - with_timeout) as u64;
    part.retain(|expectation| expectation.timeout.is_some());
    if part.is_empty() {
        return Ok(());
    }
    fill(requests, connection, &part, 0);
    if let Err(error) = requests.send(connection) {
        outcome.unanswered += part.len() as u64;
        return Err(error);
    }
    let created = part.len();
    count(connection, requests, &mut part, outcome)?;
    outcome.partly += (created - part.len()) as u64;
    outcome.done += part.len() as u64;
    Ok(())
}

/// Counts the refused ones, and leaves the others in `part`.
fn count(
    connection: &mut Connection,
    requests: &mut Requests,
    part: &mut Vec<&Expectation>,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let answered = requests.collect_answers(connection);
    requests.refused().iter().for_each(|(_, errno)| outcome.add_refused(*errno));
    let mut place = 0;
    part.retain(|_| {
        place += 1;
        !requests.refused().iter().any(|(refused, _)| *refused == place - 1)
    });
    if answered.is_err() {
        outcome.unanswered += part.len() as u64;
    }
    answered
}

fn emit(writer: &mut AttributeWriter<'_>, expectation: &Expectation) {
    expectation.master.emit(writer, cta_expect::MASTER);
    emit_tuple(writer, &expectation.tuple, expectation.zone.unwrap_or(0));
    expectation.mask.emit(writer, cta_expect::MASK);
    let string = |text: &[u8]| text.iter().copied().chain([0]).collect::<Vec<u8>>();
    let numbers = [
        (cta_expect::TIMEOUT, expectation.timeout),
        (cta_expect::FLAGS, Some(expectation.flags)),
        (cta_expect::CLASS, expectation.class),
    ];
    for (kind, number) in numbers {
        number.into_iter().for_each(|number| writer.put(kind, &number.to_be_bytes()));
    }
    if let Some(helper) = &expectation.helper {
        writer.put(cta_expect::HELP_NAME, &string(helper.as_bytes()));
    }
    if let Some(nat) = &expectation.nat {
        writer.nest(cta_expect::NAT, |nest| {
            nest.put(cta_expect_nat::DIR, &nat.direction.to_be_bytes());
            nat.tuple.emit(nest, cta_expect_nat::TUPLE);
        });
    }
    if let Some(function) = &expectation.function {
        writer.put(cta_expect::FN, &string(function.as_bytes()));
    }
}
