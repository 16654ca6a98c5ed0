//! Read timeout policies and flowtables.

use super::timeouts::is_unknown_to_kernel;
use crate::model::Policies;
use crate::netlink::{Connection, Error};
use crate::wire::Family;
use crate::wire::uapi::{cttimeout, nfnl_subsys, nft};
use crate::wire::{Attribute, AttributeWriter, DecodeError, Header, Message};

const OPERATION: &str = "list timeout policies";

/// How often a list is dumped again that changed during the dump.
const ATTEMPTS: usize = 8;

/// Reads the timeout policies of the connection's namespace: those of iptables (`nfct timeout`) and those
/// of nftables (`ct timeout` objects), and whether there are flowtables. A kernel without such a
/// subsystem has none.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN.
#[doc(alias = "IPCTNL_MSG_TIMEOUT_GET")]
#[doc(alias = "NFT_MSG_GETOBJ")]
pub fn policies(connection: &mut Connection) -> Result<Policies, Error> {
    let mut policies = Policies::default();
    let add = |policies: &mut Policies, found: Option<(Family, u8)>| {
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

/// Dumps a list until no change happened during the dump (`NLM_F_DUMP_INTR`). `each` gets the messages of
/// all attempts.
fn list(
    connection: &mut Connection,
    (subsystem, command): (u8, u8),
    fill: impl Fn(&mut AttributeWriter<'_>),
    mut each: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
) -> Result<(), Error> {
    let header = Header { subsystem, command, flags: 0, family: Family::UNSPEC, sequence: 0 };
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

/// Reads an nf_tables object; `None` unless it is a timeout policy.
fn read_object(message: &Message<'_>) -> Result<Option<(Family, u8)>, DecodeError> {
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

/// Layer 3 and layer 4 number of a policy. Without a family it applies to all.
fn read<'a>(
    attributes: impl Iterator<Item = Result<Attribute<'a>, DecodeError>>,
    l3: u16,
    l4: u16,
) -> Result<Option<(Family, u8)>, DecodeError> {
    let (mut family, mut protocol) = (Family::UNSPEC, None);
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == l3 {
            family = u8::try_from(attribute.be16()?).map_or(Family::UNSPEC, Family::from);
        } else if attribute.kind == l4 {
            protocol = Some(attribute.u8()?);
        }
    }
    Ok(protocol.map(|protocol| (family, protocol)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::table::timeouts;
    use crate::wire::Messages;

    const ERROR: u16 = 2;
    const DONE: u16 = 3;

    fn message(kind: u16, to: &Message<'_>, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let parts =
            [&length.to_ne_bytes(), &kind.to_ne_bytes()[..], &[0; 2], &to.sequence.to_ne_bytes(), &[0; 4], payload];
        parts.concat()
    }

    /// A kernel that refuses everything.
    fn refusing(errno: Errno) -> Connection {
        Connection::fake(move |request| {
            let request = Messages::new(request).next().unwrap().unwrap();
            vec![message(ERROR, &request, &[&(-(errno as i32)).to_ne_bytes()[..], &[0; 16]].concat())]
        })
    }

    #[test]
    fn a_kernel_without_the_subsystems_has_no_policies_and_no_timeouts() {
        for errno in [Errno::EINVAL, Errno::EOPNOTSUPP] {
            assert!(policies(&mut refusing(errno)).unwrap().is_empty());
            assert_eq!(timeouts(&mut refusing(errno)).unwrap().iter().count(), 0);
        }
    }

    #[test]
    fn a_refusal_is_an_error_and_not_the_absence_of_policies() {
        for errno in [Errno::EPERM, Errno::ENOMEM] {
            assert_eq!(policies(&mut refusing(errno)).unwrap_err().errno(), Some(errno));
            assert_eq!(timeouts(&mut refusing(errno)).unwrap_err().errno(), Some(errno));
        }
    }

    #[test]
    fn only_timeout_objects_count_and_one_without_a_family_applies_to_all() {
        let attribute = |kind: u16, value: &[u8]| {
            let length = u16::try_from(4 + value.len()).unwrap();
            let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes()[..], value].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let object = move |kind: u32, data: &[u8]| {
            [&[0; 4][..], &attribute(nft::OBJ_TYPE, &kind.to_be_bytes()), &attribute(nft::OBJ_DATA, data)].concat()
        };
        let mut connection = Connection::fake(move |request| {
            let request = Messages::new(request).next().unwrap().unwrap();
            let done = message(DONE, &request, &[0; 4]);
            if request.kind != u16::from_be_bytes([nfnl_subsys::NFTABLES, nft::MSG_GETOBJ]) {
                return vec![done];
            }
            let tcp = attribute(nft::CT_TIMEOUT_L4PROTO, &[6]);
            let udp4 =
                [attribute(nft::CT_TIMEOUT_L3PROTO, &[0, 2]), attribute(nft::CT_TIMEOUT_L4PROTO, &[17])].concat();
            let helper = attribute(nft::CT_TIMEOUT_L4PROTO, &[1]);
            let objects = [object(7, &tcp), object(3, &helper), object(7, &udp4)];
            let datagram = objects.map(|object| message(0x0a12, &request, &object)).concat();
            vec![datagram, done]
        });
        let policies = policies(&mut connection).unwrap();
        assert_eq!(policies.iter().collect::<Vec<_>>(), [(Family::UNSPEC, 6), (Family::V4, 17)]);
        assert!(!policies.flowtables);
    }
}
