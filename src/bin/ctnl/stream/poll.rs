//! What the thread that polls network namespaces runs, and its messages.

use std::fmt::Debug;
use std::io;

use super::starts::Start;
use crate::follow::NamespaceChange;

/// What the polling thread does every two seconds.
pub trait Poll: Debug + Send {
    /// Finds the changes since the last poll, and sends them.
    fn poll(&mut self) -> io::Result<()>;
}

/// A message of the polling thread.
#[derive(Debug)]
pub enum PollerMessage {
    Change(NamespaceChange),
    Opened(Start),
    Failed(String),
}
