//! Ends the stream of one network namespace when the namespace has been deleted. Otherwise the sockets of
//! this program would keep it, with its devices.

use std::io;
use std::sync::mpsc::Sender;

use super::poll::{Poll, PollerMessage};
use crate::follow::NamespaceChange;
use crate::host::namespaces::{KeptNamespace, Usage};

/// Polls the namespace.
#[derive(Debug)]
pub struct DeletionPoller {
    namespace: KeptNamespace,
    messages: Sender<PollerMessage>,
    /// That it cannot be known was reported.
    has_reported: bool,
    is_deleted: bool,
}

impl DeletionPoller {
    /// Reports the end of `namespace` to `messages`.
    pub fn new(namespace: KeptNamespace, messages: Sender<PollerMessage>) -> Self {
        DeletionPoller { namespace, messages, has_reported: false, is_deleted: false }
    }

    fn send(&self, message: PollerMessage) {
        // An error means that the stream has ended.
        drop(self.messages.send(message));
    }
}

impl Poll for DeletionPoller {
    fn poll(&mut self) -> io::Result<()> {
        if self.is_deleted {
            return Ok(());
        }
        let path = self.namespace.path().display().to_string();
        match self.namespace.usage()? {
            Usage::Used => self.has_reported = false,
            Usage::Unknown(processes) => {
                if !std::mem::replace(&mut self.has_reported, true) {
                    self.send(PollerMessage::Failed(format!(
                        "{path} does not lead to the network namespace that is followed any more. Whether one of \
                         {processes} processes uses it cannot be read (needs CAP_SYS_PTRACE): it is followed, and \
                         exists with its devices, until this program ends"
                    )));
                }
            }
            Usage::Deleted => {
                self.is_deleted = true;
                self.send(PollerMessage::Failed(format!(
                    "the network namespace {path} has been deleted: its path leads elsewhere, and no process and no \
                     mount uses it"
                )));
                self.send(PollerMessage::Change(NamespaceChange::Vanished(self.namespace.inode())));
            }
        }
        Ok(())
    }
}
