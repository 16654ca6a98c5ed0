//! Ask for timeout policies and flowtables.

use super::timeouts::is_unknown_to_kernel;
use crate::model::Policies;
use crate::netlink::{Connection, Error};
use crate::wire::uapi::{cttimeout, nfnl_subsys, nfproto, nft};
use crate::wire::{Attribute, AttributeWriter, DecodeError, Header, Message};

const OPERATION: &str = "list timeout policies";

/// How often a list is read again that changed while it was read.
const ATTEMPTS: usize = 8;

/// Asks for the timeout policies of the connection's namespace: those of
/// iptables (`nfct timeout`) and those of nftables (`ct timeout` objects), and
/// whether there are flowtables. A kernel without such a subsystem has none.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN.
#[doc(alias = "IPCTNL_MSG_TIMEOUT_GET")]
#[doc(alias = "NFT_MSG_GETOBJ")]
pub fn policies(connection: &mut Connection) -> Result<Policies, Error> {
    let mut policies = Policies::default();
    let add = |policies: &mut Policies, found: Option<(u16, u8)>| {
        if let Some((family, protocol)) = found {
            policies.add(family, protocol);
        }
    };
    list(
        connection,
        (nfnl_subsys::CTNETLINK_TIMEOUT, cttimeout::MSG_GET),
        |_| {},
        |message| {
            add(&mut policies, read(message.attributes(), cttimeout::L3PROTO, cttimeout::L4PROTO)?);
            Ok(())
        },
    )?;
    let only_timeouts =
        |writer: &mut AttributeWriter<'_>| writer.put(nft::OBJ_TYPE, &nft::OBJECT_CT_TIMEOUT.to_be_bytes());
    list(connection, (nfnl_subsys::NFTABLES, nft::MSG_GETOBJ), only_timeouts, |message| {
        add(&mut policies, read_object(message)?);
        Ok(())
    })?;
    list(
        connection,
        (nfnl_subsys::NFTABLES, nft::MSG_GETFLOWTABLE),
        |_| {},
        |_| {
            policies.flowtables = true;
            Ok(())
        },
    )?;
    Ok(policies)
}

/// Dumps a list until it has been read without a change in between. What is seen
/// twice is handed on twice.
fn list(
    connection: &mut Connection,
    (subsystem, command): (u8, u8),
    fill: impl Fn(&mut AttributeWriter<'_>),
    mut each: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
) -> Result<(), Error> {
    let header = Header { subsystem, command, flags: 0, family: nfproto::UNSPEC, sequence: 0 };
    for _ in 0..ATTEMPTS {
        let mut stream = connection.dump(OPERATION, header, &fill)?;
        let end = loop {
            match stream.next_datagram(&mut each) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match end {
            Err(error) if is_unknown_to_kernel(&error) => return Ok(()),
            end => end?,
        }
        if !stream.is_interrupted() {
            break;
        }
    }
    Ok(())
}

/// An nf_tables object; `None` where it is no timeout policy.
fn read_object(message: &Message<'_>) -> Result<Option<(u16, u8)>, DecodeError> {
    let (mut kind, mut data) = (None, None);
    for attribute in message.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            nft::OBJ_TYPE => kind = Some(attribute.be32()?),
            nft::OBJ_DATA => data = Some(attribute),
            _ => {}
        }
    }
    match data.filter(|_| kind == Some(nft::OBJECT_CT_TIMEOUT)) {
        Some(data) => read(data.nested(), nft::CT_TIMEOUT_L3PROTO, nft::CT_TIMEOUT_L4PROTO),
        None => Ok(None),
    }
}

/// Layer 3 and layer 4 number of a policy. Where the family is not told, it
/// holds for all.
fn read<'a>(
    attributes: impl Iterator<Item = Result<Attribute<'a>, DecodeError>>,
    l3: u16,
    l4: u16,
) -> Result<Option<(u16, u8)>, DecodeError> {
    let (mut family, mut protocol) = (u16::from(nfproto::UNSPEC), None);
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == l3 {
            family = attribute.be16()?;
        } else if attribute.kind == l4 {
            protocol = Some(attribute.u8()?);
        }
    }
    Ok(protocol.map(|protocol| (family, protocol)))
}
