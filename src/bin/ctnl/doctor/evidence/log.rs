//! The log of the kernel, and the namespaces that its messages are about.

use std::collections::BTreeMap;

use super::Source;
use crate::host::kernel_log::{Interrupted, KernelLog};
use crate::host::namespace_owner::{NamespaceOwner, owners};
use crate::host::namespaces::inode_of;

/// What the kernel has logged.
#[derive(Debug, Clone)]
pub struct LogEvidence {
    /// The messages.
    pub log: KernelLog,
    /// The inode number of the namespace that is checked, where it is known.
    pub own_netns: Option<u64>,
    /// The namespaces of the messages that still exist.
    pub owners: BTreeMap<u64, NamespaceOwner>,
}

impl LogEvidence {
    /// Reads it, up to the time at which `is_interrupted` is true.
    pub fn read(source: &Source, is_interrupted: Interrupted<'_>) -> Self {
        let log = KernelLog::read(&source.host, source.netns.is_some(), is_interrupted);
        let own_netns = source
            .netns
            .as_ref()
            .and_then(|netns| netns.run(|| inode_of(&source.host.proc().join("thread-self")).ok()).ok().flatten());
        // Without the names, the numbers are shown.
        let owners = match source.netns {
            Some(_) => owners(&source.host, &log.namespaces()).unwrap_or_default(),
            None => BTreeMap::new(),
        };
        LogEvidence { log, own_netns, owners }
    }
}
