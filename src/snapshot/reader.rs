//! Reads a save file, whose format its first bytes show.

use std::io::{self, BufRead, Read};

use super::bytes::Bytes;
use super::entry_decode::decode;
use super::error::SnapshotError;
use super::frame::{Chain, Kind, MAGIC, VERSION, read_exact};
use super::head::{End, Head};
use super::line;
use crate::model::Flow;
use crate::units::Nanos;

/// The longest line of the text format, in bytes.
const MAX_LINE: usize = 4096;

/// A format of save files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveFormat {
    /// The binary format of `ctnl save`.
    Binary,
    /// The lines of `conntrack -o save`.
    Text,
}

impl SaveFormat {
    /// The name: `binary` or `save`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SaveFormat::Binary => "binary",
            SaveFormat::Text => "save",
        }
    }
}

/// Reads the entries of a save file, in memory that does not depend on its size.
#[derive(Debug)]
pub struct SaveReader<R> {
    input: R,
    state: State,
    end: Option<End>,
    /// Of what was read so far.
    read: End,
}

#[derive(Debug)]
enum State {
    Binary(Binary),
    Text { number: u64, line: Vec<u8> },
}

#[derive(Debug)]
struct Binary {
    head: Head,
    chain: Chain,
    body: Vec<u8>,
    /// Bytes of the body that have been read.
    at: usize,
    time: Nanos,
}

impl<R: BufRead> SaveReader<R> {
    /// Recognises the format, and reads the head.
    ///
    /// # Errors
    /// The first bytes are those of no save file, or reading failed.
    pub fn new(mut input: R) -> Result<Self, SnapshotError> {
        let first = loop {
            match input.fill_buf() {
                Ok(bytes) => break bytes.first().copied(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        let state = match first {
            None => return Err(SnapshotError::Empty),
            Some(first) if Some(&first) == MAGIC.first() => State::Binary(Binary::begin(&mut input)?),
            Some(b'-' | b'\n') => State::Text { number: 0, line: Vec::new() },
            Some(_) => return Err(SnapshotError::UnknownFormat),
        };
        Ok(SaveReader { input, state, end: None, read: End::default() })
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> SaveFormat {
        match self.state {
            State::Binary(_) => SaveFormat::Binary,
            State::Text { .. } => SaveFormat::Text,
        }
    }

    /// The head; the text format has none.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        match &self.state {
            State::Binary(binary) => Some(&binary.head),
            State::Text { .. } => None,
        }
    }

    /// When the kernel dumped the last entry, within some milliseconds, in nanoseconds since 1970; the text
    /// format has no times.
    #[must_use]
    pub fn time(&self) -> Option<Nanos> {
        match &self.state {
            State::Binary(binary) => Some(binary.time),
            State::Text { .. } => None,
        }
    }

    /// The totals of what was read so far.
    #[must_use]
    pub fn totals(&self) -> &End {
        &self.read
    }

    /// Reads the next entry into `flow`. False at the end, which is that of a whole file: its checksums and its
    /// totals are right.
    ///
    /// # Errors
    /// The file is cut short, damaged, or reading failed.
    #[inline]
    pub fn next_entry(&mut self, flow: &mut Flow) -> Result<bool, SnapshotError> {
        if self.end.is_some() {
            return Ok(false);
        }
        let is_entry = match &mut self.state {
            State::Binary(binary) => binary.next_entry(&mut self.input, flow, &mut self.end)?,
            State::Text { number, line } => next_line(&mut self.input, number, line, flow)?,
        };
        if is_entry {
            self.read.add(flow);
        } else {
            self.finish()?;
        }
        Ok(is_entry)
    }

    fn finish(&mut self) -> Result<(), SnapshotError> {
        match (&self.state, &self.end) {
            (State::Binary(binary), Some(end)) if *end != self.read => {
                return Err(binary.chain.corrupt_body("its totals are not those of the entries"));
            }
            (State::Binary(binary), _) => {
                let mut one = [0];
                if self.input.read(&mut one)? != 0 {
                    return Err(binary.chain.corrupt_body("bytes follow the end"));
                }
            }
            (State::Text { .. }, _) => self.end = Some(self.read.clone()),
        }
        Ok(())
    }
}

impl Binary {
    fn begin(input: &mut impl Read) -> Result<Self, SnapshotError> {
        let (mut magic, mut version) = ([0; MAGIC.len()], [0; 2]);
        read_exact(input, &mut magic)?;
        if magic != MAGIC {
            return Err(SnapshotError::UnknownFormat);
        }
        read_exact(input, &mut version)?;
        match u16::from_le_bytes(version) {
            VERSION => {}
            other => return Err(SnapshotError::UnknownVersion(other)),
        }
        let (mut chain, mut body) = (Chain::default(), Vec::new());
        let kind = chain.read(input, &mut body)?;
        let head = Head::decode(&body).filter(|_| kind == Kind::Head);
        let head = head.ok_or_else(|| chain.corrupt_body("it is no head"))?;
        body.clear();
        Ok(Binary { time: head.time, head, chain, body, at: 0 })
    }

    fn next_entry(
        &mut self,
        input: &mut impl Read,
        flow: &mut Flow,
        end: &mut Option<End>,
    ) -> Result<bool, SnapshotError> {
        while self.at >= self.body.len() {
            if !self.next_block(input, end)? {
                return Ok(false);
            }
        }
        let mut rest = Bytes(self.body.get(self.at..).unwrap_or_default());
        let before = rest.0.len();
        decode(&mut rest, flow).ok_or_else(|| self.chain.corrupt_body("an entry cannot be decoded"))?;
        self.at += before - rest.0.len();
        Ok(true)
    }

    /// Reads the next block of entries. False at the end.
    fn next_block(&mut self, input: &mut impl Read, end: &mut Option<End>) -> Result<bool, SnapshotError> {
        let digest = self.chain.digest();
        match self.chain.read(input, &mut self.body)? {
            Kind::Entries => {
                let time = Bytes(&self.body).u64().ok_or_else(|| self.chain.corrupt_body("it has no time"))?;
                (self.time, self.at) = (Nanos(time), 8);
                Ok(true)
            }
            Kind::End => {
                let found = End::decode(&self.body).filter(|(_, expected)| *expected == digest);
                let (totals, _) =
                    found.ok_or_else(|| self.chain.corrupt_body("the blocks before are not those of this file"))?;
                *end = Some(totals);
                Ok(false)
            }
            Kind::Head => Err(self.chain.corrupt_body("it is a second head")),
        }
    }
}

/// Reads the next line that is not empty into `flow`. False at the end.
fn next_line(
    input: &mut impl BufRead,
    number: &mut u64,
    line: &mut Vec<u8>,
    flow: &mut Flow,
) -> Result<bool, SnapshotError> {
    loop {
        line.clear();
        let read = input.by_ref().take(MAX_LINE as u64).read_until(b'\n', line)?;
        if read == 0 {
            return Ok(false);
        }
        *number += 1;
        let Some((b'\n', text)) = line.split_last() else {
            return Err(if read < MAX_LINE {
                SnapshotError::CutShort
            } else {
                SnapshotError::Line { number: *number, error: line::LineError::TooLong }
            });
        };
        if text.is_empty() {
            continue;
        }
        *flow = line::parse(text).map_err(|error| SnapshotError::Line { number: *number, error })?;
        return Ok(true);
    }
}
