//! What can go wrong between here and the kernel.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::wire::{Answer, DecodeError};

/// A failed operation. Every variant says what was tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket call failed.
    #[error("{operation}: {}", Named(*errno))]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// The error number.
        errno: Errno,
    },
    /// The kernel refused a request.
    #[error("{0}")]
    Refused(KernelError),
    /// The kernel's bytes could not be read.
    #[error("{operation}: {error}")]
    Decode {
        /// What was tried.
        operation: &'static str,
        /// What is wrong, and where.
        error: DecodeError,
    },
    /// A datagram was larger than the receive buffer.
    #[error("{operation}: a datagram of {length} bytes does not fit into the receive buffer of {capacity}")]
    Oversized {
        /// What was tried.
        operation: &'static str,
        /// Bytes that were sent.
        length: usize,
        /// Bytes of the buffer.
        capacity: usize,
    },
    /// The kernel said that it dropped messages (`NLMSG_OVERRUN`).
    #[error("{operation}: the kernel dropped messages of the answer")]
    Overrun {
        /// What was tried.
        operation: &'static str,
    },
    /// A network namespace could not be entered.
    #[error("enter the network namespace {}: {}", path.display(), Named(*errno))]
    Netns {
        /// The namespace's file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
}

/// A request that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    /// What was tried.
    pub operation: &'static str,
    /// The kernel's error number.
    pub errno: Errno,
    /// The kernel's own words (extended ACK), where it gave any.
    pub text: Option<String>,
    /// Offset in the request of the attribute at fault.
    pub request_offset: Option<u32>,
}

impl KernelError {
    /// The refusal in `answer`; `None` where the answer is success.
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

/// An error number as name and words.
struct Named(Errno);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0, self.0.desc())
    }
}

impl Error {
    /// The error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Socket { errno, .. } => Some(*errno),
            Error::Refused(refusal) => Some(refusal.errno),
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
