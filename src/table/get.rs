//! Get single entries.

use std::num::NonZeroI32;

use nix::errno::Errno;

use super::target::Target;
use crate::model::{Flow, Tuple};
use crate::netlink::{Connection, Error};
use crate::wire::uapi::{cta, ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{AttributeWriter, Batch, Header, MessageClass};

const OPERATION: &str = "get a conntrack entry";

/// Gets the entry that has `tuple` in either direction, in zone `zone`. `None` where there is no such
/// entry.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN, `EINVAL` for an incomplete tuple.
#[doc(alias = "IPCTNL_MSG_CT_GET")]
pub fn get(connection: &mut Connection, tuple: &Tuple, zone: u16) -> Result<Option<Flow>, Error> {
    let mut found = None;
    let answer = connection.request(
        OPERATION,
        header(tuple),
        |writer| emit(writer, tuple, zone),
        |message| {
            if Flow::is_in(message) {
                found = Some(Flow::decode(message)?);
            }
            Ok(())
        },
    );
    match answer {
        Ok(()) => Ok(found),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the kernel answers for one target: the entry that has its tuple now, or an errno.
pub(super) type Found = Result<Flow, NonZeroI32>;

/// Gets the entries that have the tuples of `targets` now, with one send. The answers are in the order of
/// the targets.
///
/// # Errors
/// A socket call failed or an answer could not be decoded.
pub(super) fn get_each(connection: &mut Connection, targets: &[Target]) -> Result<Vec<Found>, Error> {
    let mut batch = Batch::new();
    let mut sequences = Vec::with_capacity(targets.len());
    for target in targets {
        let sequence = connection.next_sequence();
        let header = target.header(ipctnl_msg_ct::GET, 0, sequence);
        batch.push(header, |writer| target.emit_without_id(writer));
        sequences.push(sequence);
    }
    connection.send(OPERATION, &batch)?;
    receive_each(connection, &sequences)
}

/// Looks up `tuple` in each of `zones`, with one send. The answers are in the order of the zones.
///
/// # Errors
/// As [`get_each`].
pub(super) fn get_in_zones(connection: &mut Connection, tuple: &Tuple, zones: &[u16]) -> Result<Vec<Found>, Error> {
    let mut batch = Batch::new();
    let mut sequences = Vec::with_capacity(zones.len());
    for zone in zones {
        let sequence = connection.next_sequence();
        batch.push(Header { sequence, ..header(tuple) }, |writer| emit(writer, tuple, *zone));
        sequences.push(sequence);
    }
    connection.send(OPERATION, &batch)?;
    receive_each(connection, &sequences)
}

fn header(tuple: &Tuple) -> Header {
    let (subsystem, command) = (nfnl_subsys::CTNETLINK, ipctnl_msg_ct::GET);
    Header { subsystem, command, flags: 0, family: tuple.family(), sequence: 0 }
}

fn emit(writer: &mut AttributeWriter<'_>, tuple: &Tuple, zone: u16) {
    tuple.emit(writer, cta::TUPLE_ORIG);
    if zone != 0 {
        writer.put(cta::ZONE, &zone.to_be_bytes());
    }
}

/// Receives the answer to each request.
fn receive_each(connection: &mut Connection, sequences: &[u32]) -> Result<Vec<Found>, Error> {
    let mut pending: Vec<(u32, Option<Found>)> = sequences.iter().map(|sequence| (*sequence, None)).collect();
    let mut missing = pending.len();
    while missing > 0 {
        for message in connection.receive(OPERATION)? {
            let message = message.map_err(Error::decode(OPERATION))?;
            let Some((_, found)) = pending.iter_mut().find(|(sequence, _)| *sequence == message.sequence) else {
                continue;
            };
            let answer = match message.classify().map_err(Error::decode(OPERATION))? {
                MessageClass::Answer(answer) => answer.errno.map(Err),
                MessageClass::Data if Flow::is_in(&message) => {
                    Some(Ok(Flow::decode(&message).map_err(Error::decode(OPERATION))?))
                }
                MessageClass::Overrun => return Err(Error::Overrun { operation: OPERATION }),
                _ => None,
            };
            if let (None, Some(answer)) = (&found, answer) {
                *found = Some(answer);
                missing -= 1;
            }
        }
    }
    Ok(pending.into_iter().filter_map(|(_, found)| found).collect())
}
