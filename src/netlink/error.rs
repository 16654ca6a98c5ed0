//! Errors of netlink operations.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::wire::{Answer, DecodeError};

/// A failed operation. Each variant has the operation and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket call failed.
    #[error("{operation}: {}", Named(*errno))]
    Socket {
        /// The operation.
        operation: &'static str,
        /// The error number.
        errno: Errno,
    },
    /// The kernel refused a request.
    #[error("{0}")]
    Refused(KernelError),
    /// A malformed message.
    #[error("{operation}: {error}")]
    Decode {
        /// The operation.
        operation: &'static str,
        /// What is malformed, and where.
        error: DecodeError,
    },
    /// A datagram was larger than the receive buffer.
    #[error("{operation}: datagram of {length} bytes is larger than the receive buffer of {capacity}")]
    Oversized {
        /// The operation.
        operation: &'static str,
        /// Size of the datagram in bytes.
        length: usize,
        /// Size of the receive buffer in bytes.
        capacity: usize,
    },
    /// The kernel dropped messages of the reply.
    #[doc(alias = "NLMSG_OVERRUN")]
    #[error("{operation}: the kernel dropped messages of the reply")]
    Overrun {
        /// The operation.
        operation: &'static str,
    },
    /// A network namespace could not be entered.
    #[error("enter the network namespace {}: {}", path.display(), Named(*errno))]
    Netns {
        /// The file of the namespace.
        path: PathBuf,
        /// The error number.
        errno: Errno,
    },
}

/// A request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    /// The operation.
    pub operation: &'static str,
    /// The kernel's error number.
    pub errno: Errno,
    /// The kernel's error message (extended ACK), if any.
    #[doc(alias = "NLMSGERR_ATTR_MSG")]
    pub text: Option<String>,
    /// Offset in the request of the attribute that was refused.
    #[doc(alias = "NLMSGERR_ATTR_OFFS")]
    pub request_offset: Option<u32>,
}

impl KernelError {
    /// The error in a reply; `None` for success.
    #[must_use]
    pub fn from_answer(operation: &'static str, answer: &Answer<'_>) -> Option<Self> {
        let errno = Errno::from_raw(answer.errno?.get());
        let text = answer.text.map(|text| String::from_utf8_lossy(text).into_owned());
        Some(KernelError { operation, errno, text, request_offset: answer.request_offset })
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, Named(self.errno))?;
        if let Some(text) = &self.text {
            write!(f, " (kernel: {text})")?;
        }
        if let Some(offset) = self.request_offset {
            write!(f, " at byte {offset} of the request")?;
        }
        Ok(())
    }
}

/// An error number as name and description.
struct Named(Errno);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0, self.0.desc())
    }
}

impl Error {
    /// The error number, if any.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Socket { errno, .. } => Some(*errno),
            Error::Refused(error) => Some(error.errno),
            Error::Netns { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    pub(crate) fn socket(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |error| Error::Socket { operation, errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)) }
    }

    pub(crate) fn decode(operation: &'static str) -> impl FnOnce(DecodeError) -> Error {
        move |error| Error::Decode { operation, error }
    }
}
