//! Recordings: frames in a file, which is only appended to.
//!
//! ```text
//! file:  "ctnl-top 1\n", frames
//! frame: "\xf5top", length u32, CRC-32 of the length and what follows u32, a frame (`codec`), deflated
//! ```
//!
//! Numbers are little-endian. Each frame stands for itself: what is damaged is skipped up to the next one, and reported.

mod bytes;
mod codec;
mod fields;
mod more;
mod reader;
mod writer;

pub use reader::Recording;
pub use writer::{ROWS, Recorder, cut_filter_note};

/// The start of a file.
const MAGIC: &[u8] = b"ctnl-top 1\n";
/// The start of a frame. No text has its first byte.
const MARK: &[u8; 4] = b"\xf5top";
/// The bytes before what is deflated.
const HEAD: usize = 12;
/// Most bytes of a frame: a length that is damaged does not take more memory.
const LONGEST: usize = 1 << 20;
/// Rows of a section, sections, or texts of what is missing, at most: more are damage.
const MOST_ROWS: u64 = 1000;

/// The checksum of a frame.
fn checksum(length: u32, deflated: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(deflated);
    hasher.finalize()
}
