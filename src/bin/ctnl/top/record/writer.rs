//! Appends frames to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::super::model::Frame;
use super::codec::encode;
use super::{HEAD, MAGIC, MARK, checksum};

/// Milliseconds between two frames that are recorded, at least.
const EVERY: u64 = 10_000;

/// Records frames.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    name: String,
    last: Option<u64>,
    /// No more is recorded.
    is_failed: bool,
}

impl Recorder {
    /// Opens a new file, or one to append to.
    ///
    /// # Errors
    /// It cannot be opened, or it is no recording.
    pub fn open(name: &str) -> io::Result<Self> {
        // Addresses are nobody else's business.
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(name)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        let mut start = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start)?;
        if start.is_empty() {
            file.write_all(MAGIC)?;
        } else if start != MAGIC {
            return Err(io::Error::other("it exists, and is no recording of ctnl top"));
        }
        Ok(Recorder { file, name: name.to_owned(), last: None, is_failed: false })
    }

    /// Appends `frame`, unless the last one was less than ten seconds ago.
    ///
    /// # Errors
    /// The file does not take it; from then on nothing is recorded, and this returns no error again.
    pub fn record(&mut self, frame: &Frame) -> io::Result<()> {
        let is_early = self.last.is_some_and(|last| (last..last.saturating_add(EVERY)).contains(&frame.at));
        if self.is_failed || is_early {
            return Ok(());
        }
        self.last = Some(frame.at);
        let written = to_bytes(frame).and_then(|bytes| self.file.write_all(&bytes));
        self.is_failed = written.is_err();
        written
            .map_err(|error| io::Error::new(error.kind(), format!("write '{}': {error}; recording ended", self.name)))
    }
}

/// The bytes of a frame in the file.
pub(super) fn to_bytes(frame: &Frame) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    encode(frame, &mut plain);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain)?;
    let deflated = encoder.finish()?;
    let length = u32::try_from(deflated.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(HEAD + deflated.len());
    bytes.extend_from_slice(MARK);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(length, &deflated).to_le_bytes());
    bytes.extend_from_slice(&deflated);
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::super::model::{Figures, IdleTime, Rate, Row, Section};
    use super::super::super::view::View;
    use super::super::Recording;
    use super::*;

    /// A frame of a busy host, of which nothing is as in another one but the names of states and protocols.
    fn busy(seed: u64) -> Frame {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut sections = Vec::new();
        for view in View::ALL {
            let rows = match view {
                View::Zone | View::Label => 4,
                View::Protocol => 8,
                _ => 20,
            };
            let row = |number: u64, random: &mut dyn FnMut(u64) -> u64| {
                let mut address = || format!("{}.{}.{}.{}", random(256), random(256), random(256), random(256));
                let text = match view {
                    View::Flows => format!("tcp {}:49152 -> {}:443 ESTABLISHED", address(), address()),
                    View::Port => random(65_536).to_string(),
                    View::State => format!("tcp STATE_{number}"),
                    View::Protocol | View::Zone | View::Label => number.to_string(),
                    _ => address(),
                };
                let mut rate = |below| Rate::Known(random(below) as f64 / 10.0);
                let (new, packets, bytes) = (rate(100_000), rate(10_000_000), rate(10_000_000_000));
                let idle = random(100_000) as u32;
                let idle = IdleTime::Between(idle, idle + 1);
                let entries = random(1_000_000);
                let missing = random(100);
                let figures =
                    Figures { entries, missing, evictable: random(entries.max(1)), new, packets, bytes, idle };
                Row { text, figures, ..Row::default() }
            };
            let rows = (0..rows).map(|number| row(number, &mut random)).collect();
            sections.push(Section { view, rows, groups: random(100_000), beyond: random(100_000) });
        }
        let entries = random(1_000_000);
        let rate = Rate::Known(random(1_000_000) as f64);
        let at = 1_795_917_600_000 + seed * EVERY;
        Frame { at, entries, seen: entries, matched: entries, new: rate, destroyed: rate, sections, ..Frame::default() }
    }

    #[test]
    fn a_day_of_a_busy_host_takes_less_than_50_megabytes() {
        const FRAMES: u64 = 100;
        let bytes: usize = (0..FRAMES).map(|seed| to_bytes(&busy(seed)).unwrap().len()).sum();
        let day = bytes as u64 / FRAMES * (24 * 3600 * 1000 / EVERY);
        assert!((10_000_000..50_000_000).contains(&day), "{day} bytes");
    }

    #[test]
    fn frames_are_recorded_every_ten_seconds_and_appended_to_a_recording() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night");
        let name = path.to_str().unwrap();
        for start in [0, 100] {
            let mut recorder = Recorder::open(name).unwrap();
            for second in 0..=20 {
                recorder.record(&Frame { at: (start + second) * 1000, ..Frame::default() }).unwrap();
            }
        }
        let mut recording = Recording::open(name).unwrap();
        let times: Vec<_> =
            (0..recording.len()).filter_map(|place| recording.frame(place).ok()?).map(|f| f.at).collect();
        assert_eq!(times, [0, 10_000, 20_000, 100_000, 110_000, 120_000]);
        // A clock that is set back does not end the recording.
        let mut recorder = Recorder::open(name).unwrap();
        for at in [50_000, 5_000] {
            recorder.record(&Frame { at, ..Frame::default() }).unwrap();
        }
        assert_eq!(Recording::open(name).unwrap().len(), 8);
    }

    #[test]
    fn another_file_is_not_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        std::fs::write(&path, "something else").unwrap();
        assert!(Recorder::open(path.to_str().unwrap()).unwrap_err().to_string().contains("no recording"));
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
        assert!(Recorder::open("/dev/null").is_err());
    }
}
