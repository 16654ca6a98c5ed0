//! Frames of the binary format: kind, sequence, length, CRC-32 of all of it, body. Integers are
//! little-endian.

use std::io::{self, Read};

use super::error::SnapshotError;

/// The first bytes of a file. The first one is not ASCII, and the line ends in it do not survive a transfer
/// as text.
pub(super) const MAGIC: [u8; 8] = *b"\x89CTNL\r\n\x1a";

/// The version of the format, two bytes behind the magic.
pub(super) const VERSION: u16 = 1;

/// Size of kind, sequence, length and checksum.
const HEADER: usize = 13;

/// The longest body. A greater length is damage; the end of a file with entries in every zone has 655,380 bytes.
const MAX_BODY: usize = 1 << 20;

/// What a frame contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Head,
    Entries,
    End,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Kind::Head => 1,
            Kind::Entries => 2,
            Kind::End => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Kind::Head, Kind::Entries, Kind::End].into_iter().find(|kind| kind.number() == number)
    }
}

/// The number of the next frame, and a checksum over the checksums of those before it: a frame that is
/// missing, repeated or of another file is detected.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    sequence: u32,
    digest: crc32fast::Hasher,
}

impl Chain {
    /// The checksum of the frames so far.
    pub(super) fn digest(&self) -> u32 {
        self.digest.clone().finalize()
    }

    fn add(&mut self, checksum: u32) {
        self.sequence = self.sequence.wrapping_add(1);
        self.digest.update(&checksum.to_le_bytes());
    }

    /// Appends a frame to `out`.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, kind: Kind, body: &[u8]) {
        let [s0, s1, s2, s3] = self.sequence.to_le_bytes();
        let [l0, l1, l2, l3] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let start = [kind.number(), s0, s1, s2, s3, l0, l1, l2, l3];
        let checksum = checksum(&start, body);
        out.extend_from_slice(&start);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(body);
        self.add(checksum);
    }

    /// Reads the next frame into `body`.
    ///
    /// # Errors
    /// The input ends before the end of the frame, or the frame is damaged.
    pub(super) fn read(&mut self, input: &mut impl Read, body: &mut Vec<u8>) -> Result<Kind, SnapshotError> {
        let mut header = [0; HEADER];
        read_exact(input, &mut header)?;
        let [start @ .., c0, c1, c2, c3] = header;
        let [number, s0, s1, s2, s3, l0, l1, l2, l3] = start;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_BODY {
            return Err(self.corrupt("its length is not possible"));
        }
        body.resize(length, 0);
        read_exact(input, body)?;
        let checksum = checksum(&start, body);
        if checksum != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(self.corrupt("its checksum is wrong"));
        }
        if u32::from_le_bytes([s0, s1, s2, s3]) != self.sequence {
            return Err(self.corrupt("it is not the next block"));
        }
        let kind = Kind::from_number(number).ok_or_else(|| self.corrupt("its kind is unknown"))?;
        self.add(checksum);
        Ok(kind)
    }

    /// The error of a damaged frame, which is the next one.
    fn corrupt(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Corrupt { block: self.sequence, what }
    }

    /// The error of a frame that was read, and whose body is not possible.
    pub(super) fn corrupt_body(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Corrupt { block: self.sequence.wrapping_sub(1), what }
    }
}

fn checksum(start: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(start);
    hasher.update(body);
    hasher.finalize()
}

/// Reads all of `bytes`.
pub(super) fn read_exact(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), SnapshotError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::CutShort,
        _ => SnapshotError::Read(error),
    })
}
