//! What a save file in the binary format has beside its entries: its head and its end.

use std::collections::BTreeMap;

use super::bytes::Bytes;
use crate::model::Flow;
use crate::units::Nanos;

/// Where and when a save was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// When it began: nanoseconds since 1970.
    pub time: Nanos,
    /// The release of the kernel, such as `6.12.0-amd64`.
    pub kernel: String,
    /// The name of the host.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// The filter; empty for every entry.
    pub filter: String,
    /// `nf_conntrack_max`; 0 is no limit.
    pub max: Option<u32>,
    /// Entries of the table.
    pub entries: Option<u32>,
}

/// The items of a head by their numbers. An unknown one is skipped, so that later versions may add some.
mod item {
    pub(super) const TIME: u8 = 1;
    pub(super) const KERNEL: u8 = 2;
    pub(super) const HOST: u8 = 3;
    pub(super) const PROGRAM: u8 = 4;
    pub(super) const FILTER: u8 = 5;
    pub(super) const MAX: u8 = 6;
    pub(super) const ENTRIES: u8 = 7;
}

/// The longest text of a head, in bytes. A longer one is truncated.
const MAX_TEXT: usize = 4096;

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_item(&mut out, item::TIME, &self.time.0.to_le_bytes());
        for (number, text) in [
            (item::KERNEL, &self.kernel),
            (item::HOST, &self.host),
            (item::PROGRAM, &self.program),
            (item::FILTER, &self.filter),
        ] {
            if !text.is_empty() {
                let bytes = text.as_bytes();
                put_item(&mut out, number, bytes.get(..MAX_TEXT).unwrap_or(bytes));
            }
        }
        for (number, value) in [(item::MAX, self.max), (item::ENTRIES, self.entries)] {
            if let Some(value) = value {
                put_item(&mut out, number, &value.to_le_bytes());
            }
        }
        out
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (mut bytes, mut head) = (Bytes(body), Head::default());
        while !bytes.is_empty() {
            let (number, length) = (bytes.u8()?, bytes.u16()?);
            let mut value = Bytes(bytes.slice(length.into())?);
            match number {
                item::TIME => head.time = Nanos(value.u64()?),
                item::KERNEL => head.kernel = text(value),
                item::HOST => head.host = text(value),
                item::PROGRAM => head.program = text(value),
                item::FILTER => head.filter = text(value),
                item::MAX => head.max = Some(value.u32()?),
                item::ENTRIES => head.entries = Some(value.u32()?),
                _ => {}
            }
        }
        Some(head)
    }
}

fn text(bytes: Bytes<'_>) -> String {
    String::from_utf8_lossy(bytes.0).into_owned()
}

fn put_item(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number);
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

/// The totals of a save.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct End {
    /// Entries.
    pub entries: u64,
    /// Entries by zone. One whose directions are in two zones counts in both.
    pub zones: BTreeMap<u16, u64>,
}

impl End {
    /// Counts an entry.
    #[inline]
    pub(super) fn add(&mut self, flow: &Flow) {
        self.entries += 1;
        let (orig, reply) = (flow.zone().orig(), flow.zone().reply());
        *self.zones.entry(orig).or_default() += 1;
        if reply != orig {
            *self.zones.entry(reply).or_default() += 1;
        }
    }

    pub(super) fn encode(&self, digest: u32) -> Vec<u8> {
        let mut out = digest.to_le_bytes().to_vec();
        out.extend_from_slice(&self.entries.to_le_bytes());
        for (zone, entries) in &self.zones {
            out.extend_from_slice(&zone.to_le_bytes());
            out.extend_from_slice(&entries.to_le_bytes());
        }
        out
    }

    /// The totals, and the checksum of the blocks before.
    pub(super) fn decode(body: &[u8]) -> Option<(Self, u32)> {
        let mut bytes = Bytes(body);
        let digest = bytes.u32()?;
        let mut end = End { entries: bytes.u64()?, zones: BTreeMap::new() };
        while !bytes.is_empty() {
            end.zones.insert(bytes.u16()?, bytes.u64()?);
        }
        Some((end, digest))
    }
}
