//! Save files: entries ↔ bytes. `docs/save.md` specifies the binary format.
//!
//! [`BinaryWriter`] writes the binary format, [`SaveReader`] reads it and the lines of `conntrack -o save`
//! (which [`crate::output::SAVE`] writes). Both need constant memory, and no input makes the reader panic. A
//! file that is cut short, corrupt or not a save file is an error; one whose end was reached is whole.
//!
//! ```
//! use ctnl::model::{Flow, Tuple};
//! use ctnl::snapshot::{BinaryWriter, Head, SaveReader};
//! use ctnl::units::Nanos;
//!
//! let flow = Flow::new(Tuple::UNSPECIFIED, Tuple::UNSPECIFIED);
//! let mut file = Vec::new();
//! let mut writer = BinaryWriter::begin(&mut file, &Head::default());
//! writer.entry(&mut file, &flow, Nanos(1));
//! writer.end(&mut file);
//!
//! let mut reader = SaveReader::new(&file[..])?;
//! let mut read = Flow::blank();
//! assert!(reader.next_entry(&mut read)?);
//! assert_eq!(read, flow);
//! assert!(!reader.next_entry(&mut read)?);
//!
//! let mut cut = SaveReader::new(&file[..file.len() - 1])?;
//! assert!(cut.next_entry(&mut read)?);
//! assert!(cut.next_entry(&mut read).is_err());
//! # Ok::<(), ctnl::snapshot::SnapshotError>(())
//! ```

mod bytes;
mod entry;
mod entry_decode;
mod error;
mod frame;
mod head;
mod line;
mod reader;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
mod writer;

pub use error::SnapshotError;
pub use head::{End, Head};
pub use line::LineError;
pub use reader::{SaveFormat, SaveReader};
pub use writer::BinaryWriter;
