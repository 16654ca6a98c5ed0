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

/// Bytes of a frame, at most, so that those of a day are less than 50 MB, whatever is in the table. Where more rows do not
/// fit, fewer are written.
const MOST_BYTES: usize = 50_000_000 / (24 * 3600 * 1000 / EVERY as usize);
/// Bytes of a filter that is written, at most, so that rows have place.
const LONGEST_FILTER: usize = 1000;
/// Stands for the rest of a filter that is longer.
const CUT: &str = " …";
/// Rows of each view that are written, at most; of flows 20.
pub const ROWS: usize = 50;

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

/// The bytes of a frame in the file, with as many rows as fit.
pub(super) fn to_bytes(frame: &Frame) -> io::Result<Vec<u8>> {
    let cut;
    let frame = match recorded_filter(&frame.filter) {
        Some(filter) => {
            cut = Frame { filter, ..frame.clone() };
            &cut
        }
        None => frame,
    };
    let mut rows = ROWS;
    loop {
        let bytes = to_bytes_with(frame, rows)?;
        if bytes.len() <= MOST_BYTES || rows == 0 {
            return Ok(bytes);
        }
        rows = rows * 9 / 10;
    }
}

/// What to say of a filter that is not recorded whole.
pub fn cut_filter_note(filter: &str) -> Option<String> {
    let is_cut = filter.len() > LONGEST_FILTER;
    is_cut.then(|| {
        format!("the filter is long: its first {LONGEST_FILTER} bytes are recorded, and the rows of all of it")
    })
}

/// What is recorded of a filter that is too long; `None` of others, which are recorded as they are. It is shown, and never
/// parsed: a recording is not filtered, and nothing is deleted by it.
fn recorded_filter(filter: &str) -> Option<String> {
    if filter.len() <= LONGEST_FILTER {
        return None;
    }
    let end = (0..=LONGEST_FILTER - CUT.len()).rev().find(|end| filter.is_char_boundary(*end))?;
    Some(format!("{}{CUT}", filter.get(..end)?))
}

fn to_bytes_with(frame: &Frame, rows: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    encode(frame, rows, &mut plain);
    framed(&plain)
}

/// The bytes in the file of a frame that is encoded.
pub(super) fn framed(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
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

    /// The fields of a flow behind NAT with accounting and start times, as the kernel has them.
    fn fields(random: &mut dyn FnMut(u64) -> u64) -> Vec<(String, String)> {
        let mut address = |net: &str| format!("{net}{}.{}", random(256), random(256));
        let (src, dst, nat) = (address("10.1."), address("198.51."), address("203.0."));
        let mut number = |below| random(below).to_string();
        let (sport, left, start) = (number(60_000), random(432_000), 1_795_900_000 + random(17_000));
        let (timeout, start) = (
            left.to_string(),
            format!("2026-11-28T{:02}:{:02}:{:02}.{:06}Z", start % 24, start % 60, start % 59, random(1_000_000)),
        );
        let mut number = |below| random(below).to_string();
        let fields = [
            ("source NAT", format!("{src}:{sport} -> {nat}:{sport}")),
            ("idle", format!("{} to {} s", left % 500, left % 500 + 1)),
            ("assured", "yes".to_owned()),
            ("bytes", number(1 << 34)),
            ("bytes-orig", number(1 << 32)),
            ("bytes-reply", number(1 << 34)),
            ("dport", "443".to_owned()),
            ("dst", dst.clone()),
            ("family", "ipv4".to_owned()),
            ("id", number(1 << 32)),
            ("mark", number(16)),
            ("nat", "src".to_owned()),
            ("packets", number(1 << 24)),
            ("packets-orig", number(1 << 24)),
            ("packets-reply", number(1 << 24)),
            ("proto", "tcp".to_owned()),
            ("reply-dport", sport.clone()),
            ("reply-dst", nat),
            ("reply-sport", "443".to_owned()),
            ("reply-src", dst),
            ("sport", sport),
            ("src", src),
            ("start", start),
            ("state", "ESTABLISHED".to_owned()),
            ("status", "SEEN_REPLY,ASSURED,CONFIRMED,SRC_NAT,SRC_NAT_DONE,DST_NAT_DONE".to_owned()),
            ("timeout", timeout),
        ];
        fields.map(|(name, text)| (name.to_owned(), text)).to_vec()
    }

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
                _ => 500,
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
                Row {
                    text,
                    figures,
                    fields: if view == View::Flows { fields(random) } else { Vec::new() },
                    ..Row::default()
                }
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
    fn a_day_takes_less_than_50_megabytes_whatever_is_recorded() {
        const FRAMES: u64 = 40;
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(|seed| to_bytes(&busy(seed)).unwrap()).collect();
        let mean = frames.iter().map(Vec::len).sum::<usize>() as u64 / FRAMES;
        let day = mean * (24 * 3600 * 1000 / EVERY);
        assert!((40_000_000..50_000_000).contains(&day), "{day} bytes");
        assert!(frames.iter().all(|frame| frame.len() <= MOST_BYTES));
        // Nothing in these frames can be deflated well, and yet the first rows are there, with the fields of the flows.
        let recorded = decoded(frames.first().unwrap());
        let flows = recorded.section(View::Flows).unwrap();
        assert!(recorded.section(View::Source).unwrap().rows.len() >= 10, "{}", flows.rows.len());
        assert!(flows.rows.iter().all(|row| row.fields.len() > 20));
    }

    fn decoded(bytes: &[u8]) -> Frame {
        let mut plain = Vec::new();
        flate2::read::DeflateDecoder::new(&bytes[HEAD..]).read_to_end(&mut plain).unwrap();
        super::super::codec::decode(&plain).unwrap()
    }

    /// As measured of real hosts: addresses of some networks, whose figures decrease fast from row to row.
    #[test]
    fn a_frame_of_a_usual_host_has_50_rows_of_each_view() {
        let mut frame = busy(7);
        for section in &mut frame.sections {
            for (place, row) in section.rows.iter_mut().enumerate() {
                let rank = place as u64 + 1;
                let Figures { entries, missing, evictable, new, packets, bytes, idle } = &mut row.figures;
                (*entries, *missing, *evictable) = (*entries / rank / rank, 0, 0);
                (*new, *packets, *bytes) = (Rate::AtLeast(0.0), Rate::AtLeast(0.0), Rate::AtLeast(0.0));
                *idle = IdleTime::Between(1, 2);
                if section.view != View::Flows {
                    row.text = format!("10.0.{}.{}", rank % 7, rank * 11 % 251);
                }
            }
        }
        let bytes = to_bytes(&frame).unwrap();
        assert!(bytes.len() <= MOST_BYTES);
        assert_eq!(decoded(&bytes).section(View::Source).unwrap().rows.len(), ROWS, "{}", bytes.len());
    }

    /// Filters that cannot be deflated well.
    #[test]
    fn a_long_filter_is_cut_with_a_mark_and_leaves_place_for_rows_within_the_bound() {
        let addresses =
            (0..1500u32).map(|number| std::net::Ipv4Addr::from(number.wrapping_mul(2_654_435_761)).to_string());
        let addresses = format!("src {}", addresses.collect::<Vec<_>>().join(","));
        let letters = (0..4096u32).map(|number| char::from_u32(0x4e00 + number.wrapping_mul(2_654_435_761) % 20_000));
        for filter in [addresses, letters.flatten().collect()] {
            let frame = Frame { filter, ..busy(1) };
            let bytes = to_bytes(&frame).unwrap();
            let recorded = decoded(&bytes);
            let kept = recorded.filter.strip_suffix(" …").unwrap();
            assert!(frame.filter.starts_with(kept) && (900..1000).contains(&kept.len()), "{kept}");
            assert!(bytes.len() <= MOST_BYTES, "{}", bytes.len());
            assert!(recorded.section(View::Source).unwrap().rows.len() >= 10);
        }
        let short = Frame { filter: "x".repeat(LONGEST_FILTER), ..Frame::default() };
        assert_eq!(decoded(&to_bytes(&short).unwrap()).filter, short.filter, "it is whole");
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
