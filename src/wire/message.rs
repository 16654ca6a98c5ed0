//! Message framing: a datagram consists of messages, each with a netlink header.

use std::num::NonZeroI32;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};

use super::attribute::Attributes;
use super::error::{DecodeError, DecodeErrorKind};
use super::family::Family;
use super::uapi::nlmsgerr;

const NETLINK_HEADER: usize = 16;
const NETFILTER_HEADER: usize = 4;
/// An error code, before the request's own header.
const ERROR_CODE: usize = 4;

/// One message (`struct nlmsghdr` and payload), borrowed from its datagram.
#[doc(alias = "nlmsghdr")]
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Subsystem in the high byte, command in the low byte.
    #[doc(alias = "nlmsg_type")]
    pub kind: u16,
    /// `NLM_F_*`.
    #[doc(alias = "nlmsg_flags")]
    pub flags: u16,
    /// Sequence number of the request; 0 in events.
    #[doc(alias = "nlmsg_seq")]
    pub sequence: u32,
    /// In events, the netlink port id of the requester that caused the change.
    #[doc(alias = "nlmsg_pid")]
    pub port: u32,
    /// The bytes after the header.
    pub payload: &'a [u8],
    /// Offset of the payload in the datagram.
    pub offset: usize,
}

/// A message by its role in the netlink protocol.
#[derive(Debug, Clone, Copy)]
pub enum MessageClass<'a> {
    /// Data of a subsystem.
    Data,
    /// The end of a dump, with the error number of a dump that failed.
    #[doc(alias = "NLMSG_DONE")]
    Done(Option<NonZeroI32>),
    /// The ACK of a request, or its error.
    #[doc(alias = "NLMSG_ERROR")]
    Answer(Answer<'a>),
    /// No content.
    #[doc(alias = "NLMSG_NOOP")]
    Noop,
    /// Messages were dropped.
    #[doc(alias = "NLMSG_OVERRUN")]
    Overrun,
}

/// The kernel's reply to one request.
#[doc(alias = "nlmsgerr")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// Positive error number; `None` is success.
    pub errno: Option<NonZeroI32>,
    /// The kernel's error message (extended ACK).
    #[doc(alias = "NLMSGERR_ATTR_MSG")]
    pub text: Option<&'a [u8]>,
    /// Offset in the request of the attribute that was refused.
    #[doc(alias = "NLMSGERR_ATTR_OFFS")]
    pub request_offset: Option<u32>,
}

impl<'a> Message<'a> {
    /// The role of this message.
    ///
    /// # Errors
    /// A control message that is too short for its own fields.
    #[inline]
    pub fn classify(&self) -> Result<MessageClass<'a>, DecodeError> {
        Ok(match self.kind {
            NLMSG_NOOP => MessageClass::Noop,
            NLMSG_OVERRUN => MessageClass::Overrun,
            NLMSG_DONE => MessageClass::Done(self.done_code()),
            NLMSG_ERROR => MessageClass::Answer(self.answer()?),
            _ => MessageClass::Data,
        })
    }

    /// The address family of the `nfgenmsg` header.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when the payload has no such header.
    #[inline]
    pub fn family(&self) -> Result<Family, DecodeError> {
        self.netfilter_header().map(|header| Family::from(header[0]))
    }

    /// The resource id of the `nfgenmsg` header.
    #[doc(alias = "res_id")]
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when the payload has no such header.
    pub fn resource(&self) -> Result<u16, DecodeError> {
        self.netfilter_header().map(|header| u16::from_be_bytes([header[2], header[3]]))
    }

    /// The attributes after the `nfgenmsg` header.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        let bytes = self.payload.get(NETFILTER_HEADER..).unwrap_or_default();
        Attributes::new(bytes, self.offset + NETFILTER_HEADER)
    }

    #[inline]
    fn netfilter_header(&self) -> Result<[u8; NETFILTER_HEADER], DecodeError> {
        self.payload.first_chunk().copied().ok_or(self.truncated())
    }

    #[inline(never)]
    fn done_code(&self) -> Option<NonZeroI32> {
        let code = self.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        NonZeroI32::new(code.wrapping_neg())
    }

    #[inline(never)]
    fn answer(&self) -> Result<Answer<'a>, DecodeError> {
        let error = ErrorBuffer::new_checked(self.payload).map_err(|_| self.truncated())?;
        let errno = error.code().and_then(|code| NonZeroI32::new(code.get().wrapping_neg()));
        let mut answer = Answer { errno, ..Answer::default() };
        if self.flags & NLM_F_ACK_TLVS != 0 {
            self.read_extended_ack(&mut answer);
        }
        Ok(answer)
    }

    /// Reads the attributes after the echoed request. Malformed ones are skipped, since the
    /// error number is enough to handle the reply.
    fn read_extended_ack(&self, answer: &mut Answer<'a>) {
        let echoed = if self.flags & NLM_F_CAPPED != 0 { NETLINK_HEADER } else { self.echoed_length() };
        let start = ERROR_CODE + echoed.next_multiple_of(4);
        let bytes = self.payload.get(start..).unwrap_or_default();
        for attribute in Attributes::new(bytes, self.offset + start).flatten() {
            match attribute.kind {
                nlmsgerr::MSG => answer.text = Some(attribute.string()),
                nlmsgerr::OFFS => answer.request_offset = attribute.array().map(u32::from_ne_bytes).ok(),
                _ => {}
            }
        }
    }

    fn echoed_length(&self) -> usize {
        let length = self.payload.get(ERROR_CODE..).and_then(|echo| echo.first_chunk());
        length.map_or(NETLINK_HEADER, |bytes| u32::from_ne_bytes(*bytes) as usize)
    }

    #[cold]
    fn truncated(&self) -> DecodeError {
        DecodeError { kind: DecodeErrorKind::Truncated, attribute: None, offset: self.offset }
    }
}

/// Iterator over the messages of a datagram. Stops after an error.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Messages<'a> {
    /// The messages in `datagram`.
    #[must_use]
    pub fn new(datagram: &'a [u8]) -> Self {
        Messages { rest: datagram, offset: 0 }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.rest);
        let Some((header, payload)) = split(bytes) else {
            return Some(Err(DecodeError { kind: DecodeErrorKind::Truncated, attribute: None, offset: self.offset }));
        };
        let [_, _, _, _, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
        let message = Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            payload,
            offset: self.offset + NETLINK_HEADER,
        };
        let step = (NETLINK_HEADER + payload.len() + 3) & !3;
        self.rest = bytes.get(step..).unwrap_or_default();
        self.offset += step;
        Some(Ok(message))
    }
}

/// Header and payload of the first message in `bytes`. `None` where its length exceeds the
/// bytes or is less than the header.
#[inline]
fn split(bytes: &[u8]) -> Option<(&[u8; NETLINK_HEADER], &[u8])> {
    let header: &[u8; NETLINK_HEADER] = bytes.first_chunk()?;
    let length = u32::from_ne_bytes(*header.first_chunk()?) as usize;
    Some((header, bytes.get(NETLINK_HEADER..length)?))
}
