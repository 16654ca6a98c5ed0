//! Expectations: connections that a helper has announced, such as the data connection of FTP.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::event::EventKind;
use super::flow::UnknownAttributes;
use super::helper_name::HelperName;
use super::tuple::Tuple;
use crate::wire::uapi::{cta_expect, cta_expect_nat, ipctnl_msg_exp, nfnl_subsys};
use crate::wire::{Attribute, DecodeError, DecodeErrorKind, Family, Message};

/// Names of the flags of an expectation (`NF_CT_EXPECT_*`), by bit number.
#[doc(alias = "NF_CT_EXPECT_PERMANENT")]
pub const EXPECTATION_FLAGS: [&str; 3] = ["permanent", "inactive", "userspace"];

/// An expectation. A field is `None` where the kernel did not send it.
#[doc(alias = "nf_conntrack_expect")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Address family.
    #[doc(alias = "nfgen_family")]
    pub family: Family,
    /// The expected tuple.
    #[doc(alias = "CTA_EXPECT_TUPLE")]
    pub tuple: Tuple,
    /// The bits of the tuple that are compared.
    #[doc(alias = "CTA_EXPECT_MASK")]
    pub mask: Tuple,
    /// The original tuple of the master flow, whose helper made the expectation.
    #[doc(alias = "CTA_EXPECT_MASTER")]
    pub master: Tuple,
    /// Remaining seconds.
    #[doc(alias = "CTA_EXPECT_TIMEOUT")]
    pub timeout: Option<u32>,
    /// The kernel's opaque id.
    #[doc(alias = "CTA_EXPECT_ID")]
    pub id: Option<u32>,
    /// The helper that made it.
    #[doc(alias = "CTA_EXPECT_HELP_NAME")]
    pub helper: Option<HelperName>,
    /// The zone.
    #[doc(alias = "CTA_EXPECT_ZONE")]
    pub zone: Option<u16>,
    /// Bits, see [`EXPECTATION_FLAGS`].
    #[doc(alias = "CTA_EXPECT_FLAGS")]
    pub flags: u32,
    /// The class within the helper.
    #[doc(alias = "CTA_EXPECT_CLASS")]
    pub class: Option<u32>,
    /// NAT of the expected connection.
    #[doc(alias = "CTA_EXPECT_NAT")]
    pub nat: Option<ExpectedNat>,
    /// The kernel function that sets up its NAT.
    #[doc(alias = "CTA_EXPECT_FN")]
    pub function: Option<Box<str>>,
    /// Attributes that this version does not know.
    pub unknown: UnknownAttributes,
}

/// NAT of an expected connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedNat {
    /// Direction: 0 original, 1 reply.
    #[doc(alias = "CTA_EXPECT_NAT_DIR")]
    pub direction: u32,
    /// The address and the port that the helper saw before NAT.
    #[doc(alias = "CTA_EXPECT_NAT_TUPLE")]
    pub tuple: Tuple,
}

/// An event of an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectationEvent {
    /// What happened.
    pub kind: EventKind,
    /// The netlink port id of the requester; 0 for helpers and expiry.
    #[doc(alias = "nlmsg_pid")]
    pub port: u32,
    /// The expectation.
    pub expectation: Expectation,
}

impl Expectation {
    /// Whether `message` has an expectation.
    #[must_use]
    pub fn is_in(message: &Message<'_>) -> bool {
        message.kind.to_be_bytes()[0] == nfnl_subsys::CTNETLINK_EXP
    }

    /// Decodes the expectation in `message`.
    ///
    /// # Errors
    /// An attribute of the wrong size; a message without one of the three tuples.
    pub fn decode(message: &Message<'_>) -> Result<Self, DecodeError> {
        let mut found = Expectation::blank(message.family()?);
        let mut tuples = [false; 3];
        for attribute in message.attributes() {
            let attribute = attribute?;
            let (tuple, seen) = match attribute.kind {
                cta_expect::TUPLE => (&mut found.tuple, &mut tuples[0]),
                cta_expect::MASK => (&mut found.mask, &mut tuples[1]),
                cta_expect::MASTER => (&mut found.master, &mut tuples[2]),
                _ => {
                    found.read(&attribute)?;
                    continue;
                }
            };
            tuple.decode_from(&attribute)?;
            *seen = true;
        }
        match tuples {
            [true, true, true] => Ok(found),
            [false, _, _] => Err(missing(message, cta_expect::TUPLE)),
            [_, false, _] => Err(missing(message, cta_expect::MASK)),
            [_, _, false] => Err(missing(message, cta_expect::MASTER)),
        }
    }

    fn blank(family: Family) -> Self {
        Expectation {
            family,
            tuple: Tuple::UNSPECIFIED,
            mask: Tuple::UNSPECIFIED,
            master: Tuple::UNSPECIFIED,
            timeout: None,
            id: None,
            helper: None,
            zone: None,
            flags: 0,
            class: None,
            nat: None,
            function: None,
            unknown: UnknownAttributes::default(),
        }
    }

    fn read(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        match attribute.kind {
            cta_expect::TIMEOUT => self.timeout = Some(attribute.be32()?),
            cta_expect::ID => self.id = Some(attribute.be32()?),
            cta_expect::HELP_NAME => self.helper = Some(HelperName::new(attribute.string())),
            cta_expect::ZONE => self.zone = Some(attribute.be16()?),
            cta_expect::FLAGS => self.flags = attribute.be32()?,
            cta_expect::CLASS => self.class = Some(attribute.be32()?),
            cta_expect::NAT => self.nat = ExpectedNat::decode(attribute)?,
            cta_expect::FN => self.function = Some(String::from_utf8_lossy(attribute.string()).into()),
            unknown => self.unknown.add(unknown),
        }
        Ok(())
    }
}

impl ExpectedNat {
    /// `None` where the kernel sent no tuple: no NAT.
    fn decode(nest: &Attribute<'_>) -> Result<Option<Self>, DecodeError> {
        let (mut direction, mut tuple) = (0, None);
        for attribute in nest.nested() {
            let attribute = attribute?;
            match attribute.kind {
                cta_expect_nat::DIR => direction = attribute.be32()?,
                cta_expect_nat::TUPLE => tuple = Some(Tuple::decode(&attribute)?),
                _ => {}
            }
        }
        Ok(tuple.map(|tuple| ExpectedNat { direction, tuple }))
    }
}

impl ExpectationEvent {
    /// Decodes the event in `message`.
    ///
    /// # Errors
    /// As [`Expectation::decode`].
    pub fn decode(message: &Message<'_>) -> Result<Self, DecodeError> {
        let kind = match message.kind.to_be_bytes()[1] {
            ipctnl_msg_exp::DELETE => EventKind::Destroy,
            _ if message.flags & (NLM_F_CREATE | NLM_F_EXCL) != 0 => EventKind::New,
            _ => EventKind::Update,
        };
        Ok(ExpectationEvent { kind, port: message.port, expectation: Expectation::decode(message)? })
    }
}

#[cold]
fn missing(message: &Message<'_>, attribute: u16) -> DecodeError {
    DecodeError { kind: DecodeErrorKind::Missing, attribute: Some(attribute), offset: message.offset }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::model::{L4, Protocol};
    use crate::wire::{Batch, Header, Messages};
    use proptest::prelude::*;

    /// The events of `tests/data/expectations.bin`.
    const RECORDED: &[u8] = include_bytes!("../../tests/data/expectations.bin");

    /// The first message of [`RECORDED`] with further attributes.
    fn with(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut batch = Batch::new();
        let header = Header { subsystem: 2, command: 0, flags: 0, family: Family::V4, sequence: 0 };
        let first = Messages::new(RECORDED).next().unwrap().unwrap();
        batch.push(header, |writer| {
            for attribute in first.attributes().flatten() {
                writer.put(attribute.kind, attribute.value);
            }
            attributes.iter().for_each(|(kind, value)| writer.put(*kind, value));
        });
        batch.as_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<ExpectationEvent, DecodeError> {
        ExpectationEvent::decode(&Messages::new(bytes).next().unwrap()?)
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
    fn an_expectation_of_the_ftp_helper_is_decoded() {
        let event = decode(RECORDED).unwrap();
        let found = event.expectation;
        assert_eq!((event.kind, event.port, found.family), (EventKind::New, 0, Family::V4));
        assert_eq!((found.tuple.protocol, found.tuple.l4), (Protocol::Tcp, L4::Ports { src: 0, dst: 1800 }));
        assert_eq!(found.mask.l4, L4::Ports { src: 0, dst: u16::MAX });
        assert_eq!(found.master.dport(), Some(2121));
        assert_eq!((found.timeout, found.flags, found.class, found.zone), (Some(300), 0, Some(0), None));
        assert_eq!(found.helper.unwrap().as_str(), "ftp");
        assert_eq!(found.function.as_deref(), Some("nat-follow-master"));
        assert_eq!(found.nat.unwrap().tuple.sport(), Some(1800));
        assert_eq!(found.unknown.count(), 0);
        let kinds: Vec<EventKind> =
            Messages::new(RECORDED).map(|message| ExpectationEvent::decode(&message.unwrap()).unwrap().kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::Destroy).count() * 2, kinds.len());
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
    fn attributes_of_a_newer_kernel_are_counted_and_a_missing_tuple_is_named() {
        let odd = decode(&with(&[(99, b"x"), (cta_expect::FLAGS, &[0x80, 0, 0, 3]), (cta_expect::ZONE, &[0, 7])]));
        let odd = odd.unwrap().expectation;
        assert_eq!((odd.unknown.numbers(), odd.flags, odd.zone), (&[99][..], 0x8000_0003, Some(7)));
        let mut batch = Batch::new();
        batch.push(Header { subsystem: 2, command: 0, flags: 0, family: Family::V4, sequence: 0 }, |_| {});
        let error = decode(batch.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.attribute), (DecodeErrorKind::Missing, Some(cta_expect::TUPLE)));
    }

    proptest! {
        #[test]
        #[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
        fn no_datagram_makes_the_decoder_panic(at in 0usize..4096, byte: u8, cut in 0usize..4096) {
            let mut bytes = with(&[]);
            let (at, length) = (at % bytes.len(), bytes.len());
            bytes[at] = byte;
            for message in Messages::new(&bytes[..cut % (length + 1)]).flatten() {
                drop(ExpectationEvent::decode(&message));
            }
            for message in Messages::new(&bytes).flatten() {
                drop(ExpectationEvent::decode(&message));
            }
        }
    }
}
