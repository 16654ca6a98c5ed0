//! Reads a recording. Only places and times of the frames are kept in memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::read::DeflateDecoder;

use super::super::model::Frame;
use super::codec::{decode, time};
use super::{HEAD, LONGEST, MAGIC, MARK, checksum};

/// Bytes of a frame that is inflated, at most: some 40 times what is written. More are damage.
const MOST_PLAIN: u64 = 1 << 20;

/// A recording.
#[derive(Debug)]
pub struct Recording {
    file: File,
    index: Vec<Entry>,
    damaged: u64,
}

/// The place of a frame, and its time.
#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: u64,
    at: u64,
}

impl Recording {
    /// Opens a recording, and looks through all of it.
    ///
    /// # Errors
    /// It cannot be read, or is no recording.
    pub fn open(name: &str) -> io::Result<Self> {
        let file = File::open(name)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        let mut start = vec![0; MAGIC.len()];
        if file.read_exact_at(&mut start, 0).is_err() || start != MAGIC {
            return Err(io::Error::other("no recording of ctnl top"));
        }
        let mut recording = Recording { file, index: Vec::new(), damaged: 0 };
        recording.read_index()?;
        Ok(recording)
    }

    fn read_index(&mut self) -> io::Result<()> {
        let (mut offset, end) = (MAGIC.len() as u64, self.file.metadata()?.len());
        while offset < end {
            if let Some(plain) = self.plain(offset)?
                && let Some(at) = time(&plain.bytes)
            {
                self.index.push(Entry { offset, at });
                offset = plain.end;
            } else {
                let next = self.next_mark(offset + 1, end)?;
                self.damaged += next - offset;
                offset = next;
            }
        }
        Ok(())
    }

    /// The frame at `offset`, inflated; `None` where there is none, or its checksum differs.
    fn plain(&self, offset: u64) -> io::Result<Option<Plain>> {
        let mut head = [0; HEAD];
        if !read_whole(&self.file, &mut head, offset)? {
            return Ok(None);
        }
        let [mark @ .., _, _, _, _, _, _, _, _] = head;
        let [_, _, _, _, l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if mark != *MARK || length as usize > LONGEST {
            return Ok(None);
        }
        let mut deflated = vec![0; length as usize];
        let start = offset + HEAD as u64;
        if !read_whole(&self.file, &mut deflated, start)?
            || checksum(length, &deflated) != u32::from_le_bytes([c0, c1, c2, c3])
        {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let inflated = DeflateDecoder::new(&*deflated).take(MOST_PLAIN + 1).read_to_end(&mut bytes);
        let is_whole = inflated.is_ok_and(|length| length as u64 <= MOST_PLAIN);
        Ok(is_whole.then_some(Plain { bytes, end: start + u64::from(length) }))
    }

    /// Where the next mark is, from `offset` on; `end` if there is none.
    fn next_mark(&self, mut offset: u64, end: u64) -> io::Result<u64> {
        let mut block = [0; 64 * 1024];
        while offset < end {
            let length = self.file.read_at(&mut block, offset)?;
            let read = block.get(..length).unwrap_or_default();
            if let Some(place) = read.windows(MARK.len()).position(|bytes| bytes == MARK) {
                return Ok(offset + place as u64);
            }
            if length < MARK.len() {
                break;
            }
            // A mark may begin in this block and end in the next one.
            offset += (length - MARK.len() + 1) as u64;
        }
        Ok(end)
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes that are damaged, or an incomplete frame at the end.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The time of a frame.
    pub fn time(&self, place: usize) -> Option<u64> {
        self.index.get(place).map(|entry| entry.at)
    }

    /// A frame; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read any more.
    pub fn frame(&mut self, place: usize) -> io::Result<Option<Frame>> {
        let Some(entry) = self.index.get(place) else { return Ok(None) };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the frame is damaged");
        let plain = self.plain(entry.offset)?.ok_or_else(damaged)?;
        decode(&plain.bytes).map(Some).ok_or_else(damaged)
    }
}

/// A frame that was inflated.
struct Plain {
    bytes: Vec<u8>,
    /// The offset of what is behind it.
    end: u64,
}

/// Fills `buffer`; false at the end of the file.
fn read_whole(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::super::made_up::frame;
    use super::super::super::model::{Row, Section};
    use super::super::super::view::View;
    use super::super::bytes::{put_number, put_text};
    use super::super::codec::encode;
    use super::super::writer::{framed, to_bytes};
    use super::*;

    /// A recording of frames a second apart, and what was changed in it.
    fn recording(frames: u64, change: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, io::Result<Recording>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night");
        let mut bytes = MAGIC.to_vec();
        for number in 0..frames {
            bytes.extend(to_bytes(&Frame { at: number * 1000, ..frame() }).unwrap());
        }
        change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let recording = Recording::open(path.to_str().unwrap());
        (folder, recording)
    }

    fn times(recording: &mut Recording) -> Vec<u64> {
        (0..recording.len()).map(|place| recording.frame(place).unwrap().unwrap().at / 1000).collect()
    }

    #[test]
    fn a_frame_that_is_damaged_is_skipped_and_the_others_are_read() {
        let length = to_bytes(&frame()).unwrap().len();
        for place in [0, 3, 5, 9, 20] {
            let (_folder, recording) = recording(4, |bytes| bytes[MAGIC.len() + length + place] ^= 0x55);
            let mut recording = recording.unwrap();
            assert_eq!(times(&mut recording), [0, 2, 3], "{place}");
            assert!(recording.damaged() > 0);
        }
    }

    #[test]
    fn a_frame_that_was_not_written_to_its_end_is_left_out() {
        for cut in [1, 15, 40] {
            let (_folder, recording) = recording(3, |bytes| bytes.truncate(bytes.len() - cut));
            let mut recording = recording.unwrap();
            assert_eq!((times(&mut recording), recording.damaged() > 0), (vec![0, 1], true));
        }
        // The next run appends behind it.
        let (_folder, recording) = recording(2, |bytes| {
            let whole = to_bytes(&Frame { at: 9000, ..frame() }).unwrap();
            bytes.extend_from_slice(&whole[..30]);
            bytes.extend_from_slice(&whole);
        });
        let mut recording = recording.unwrap();
        assert_eq!((times(&mut recording), recording.damaged()), (vec![0, 1, 9], 30));
    }

    /// The file was written before there were parts behind the sections.
    #[test]
    fn a_recording_of_the_first_version_is_played() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recording-1.top");
        let mut recording = Recording::open(path).unwrap();
        assert_eq!((recording.len(), recording.damaged()), (2, 0));
        let frame = recording.frame(1).unwrap().unwrap();
        assert_eq!((frame.entries, frame.matched, &*frame.filter, &frame.netns), (36, 36, "proto udp", &None));
        let views: Vec<View> = frame.sections.iter().map(|section| section.view).collect();
        assert_eq!(views, View::all(false));
        let ports = frame.section(View::Port).unwrap().rows.iter();
        let ports: Vec<_> = ports.map(|row| (&*row.text, row.figures.entries, row.figures.missing)).collect();
        assert_eq!(ports, [("53", 29, 0), ("443", 7, 0)]);
    }

    /// Flows of which each has a field of the same name.
    fn flows_with(rows: usize, fields: &[(String, String)]) -> Vec<u8> {
        let row = Row { text: "x".to_owned(), fields: fields.to_vec(), ..Row::default() };
        let section = Section { view: View::Flows, rows: vec![row; rows], groups: 1, beyond: 0 };
        let mut plain = Vec::new();
        // Of flows, two fifths are recorded.
        encode(&Frame { sections: vec![section], ..Frame::default() }, rows * 5 / 2, &mut plain);
        plain
    }

    #[test]
    fn a_file_that_would_take_much_more_memory_than_it_has_bytes_is_damaged() {
        let field = |name: String| (name, String::new());
        let numbered = |count: usize| (0..count).map(|number| field(format!("f{number}"))).collect::<Vec<_>>();
        let is_read = |plain: Vec<u8>| {
            let (_folder, recording) = recording(1, |bytes| bytes.extend(framed(&plain).unwrap()));
            let mut recording = recording.unwrap();
            let frames = (0..recording.len()).filter(|place| recording.frame(*place).is_ok()).count();
            assert!((1..=2).contains(&frames), "the frame before is read");
            frames == 2
        };
        assert!(is_read(flows_with(1000, &[field("n".repeat(64))])) && is_read(flows_with(2, &numbered(128))));
        assert!(!is_read(flows_with(2, &[field("n".repeat(65))])), "a long name");
        // A few hundred bytes, deflated; with its name, each flow would take 200 kB.
        let (mut plain, mut fields) = (flows_with(900, &[]), vec![1]);
        put_text(&mut fields, &"n".repeat(200_000));
        fields.extend([1; 900]);
        [3, fields.len() as u64].into_iter().for_each(|number| put_number(&mut plain, number));
        plain.extend(fields);
        assert!(framed(&plain).unwrap().len() < 1000 && !is_read(plain), "a long name, many times");
        assert!(!is_read(flows_with(2, &numbered(129))), "many fields");
        assert!(!is_read(flows_with(1002, &[])), "many rows");
        // Two parts of fields, of which each is within bounds.
        let (mut plain, without) = (flows_with(2, &numbered(100)), flows_with(2, &[]).len());
        plain.extend_from_within(without..);
        assert!(!is_read(plain), "many parts");
        let mut filter = Vec::new();
        encode(&Frame { filter: "x".repeat(1 << 20), ..Frame::default() }, 1, &mut filter);
        assert!(!is_read(filter), "many bytes");
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused() {
        let (_folder, recording) = recording(1, |bytes| bytes[0] = b'x');
        assert!(recording.unwrap_err().to_string().contains("no recording"));
        let (_folder, recording) = self::recording(0, |_| {});
        assert_eq!(recording.unwrap().len(), 0);
    }
}
