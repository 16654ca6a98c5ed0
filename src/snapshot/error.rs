//! Why a save file is refused.

use std::io;

use thiserror::Error;

use super::line::LineError;

/// Why a save file cannot be read to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A system call failed.
    #[error("read the file")]
    Read(#[from] io::Error),
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The first bytes are those of no format.
    #[error("not a save file: expected the binary format of ctnl save, or lines of conntrack -o save")]
    UnknownFormat,
    /// A version of the binary format that this version does not read.
    #[error("version {0} of the save format: expected version 1")]
    UnknownVersion(u16),
    /// The file ends in the middle of a block or of a line, or without its end.
    #[error("the file is cut short")]
    CutShort,
    /// A block is damaged.
    #[error("the file is corrupt: block {block}: {what}")]
    Corrupt {
        /// The number of the block, from 0.
        block: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A line that is not one of conntrack -o save.
    #[error("line {number}: {error}")]
    Line {
        /// The number of the line, from 1.
        number: u64,
        /// What is wrong with it.
        error: LineError,
    },
}
