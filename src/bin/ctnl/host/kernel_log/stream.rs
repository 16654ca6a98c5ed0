//! Lines of a stream, in constant memory: of a longer line only its beginning is kept.

use std::io::{self, BufRead};

/// Most bytes of a line that are kept. A record of the kernel has no more than 1024 (`PRINTKRB_RECORD_MAX` in
/// include/linux/printk.h), beside its prefix.
const MAX_LINE: usize = 4096;

/// Why reading has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end of the stream.
    Stream,
    /// So many bytes were read as allowed.
    Bytes,
    /// `goes_on` returned false.
    Stopped,
}

/// Calls `visit` with each line of `reader`, without its line feed, until `limit` bytes were read or `goes_on` is
/// false, which is called at each block of the reader.
///
/// # Errors
/// An error of `reader`.
pub fn for_each_line(
    mut reader: impl BufRead,
    limit: u64,
    mut goes_on: impl FnMut() -> bool,
    mut visit: impl FnMut(&[u8]),
) -> io::Result<End> {
    let (mut line, mut left) = (Vec::new(), limit);
    loop {
        if !goes_on() {
            return Ok(End::Stopped);
        }
        let block = match reader.fill_buf() {
            Ok(block) => block,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if block.is_empty() {
            if !line.is_empty() {
                visit(&line);
            }
            return Ok(End::Stream);
        }
        let length = block.len();
        lines_of(block, &mut line, &mut visit);
        reader.consume(length);
        left = left.saturating_sub(length as u64);
        if left == 0 {
            return Ok(End::Bytes);
        }
    }
}

/// `line` is the beginning of the first line of `block`, and afterwards that of the line behind it.
fn lines_of(block: &[u8], line: &mut Vec<u8>, visit: &mut impl FnMut(&[u8])) {
    let mut rest = block;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (content, behind) = rest.split_at(end);
        if line.is_empty() {
            visit(content.get(..MAX_LINE).unwrap_or(content));
        } else {
            append(line, content);
            visit(line);
            line.clear();
        }
        rest = behind.get(1..).unwrap_or_default();
    }
    append(line, rest);
}

fn append(line: &mut Vec<u8>, content: &[u8]) {
    let space = MAX_LINE.saturating_sub(line.len());
    line.extend_from_slice(content.get(..space).unwrap_or(content));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &[u8], block: usize, limit: u64) -> (End, Vec<Vec<u8>>) {
        let mut lines = Vec::new();
        let reader = BufReader::with_capacity(block, text);
        let end = for_each_line(reader, limit, || true, |line| lines.push(line.to_vec())).unwrap();
        (end, lines)
    }

    #[test]
    fn lines_do_not_depend_on_the_blocks_that_they_are_read_in() {
        let text = b"one\n\ntwo \xff\x00\nthree";
        let expected: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for block in 1..text.len() + 1 {
            assert_eq!(lines(text, block, u64::MAX), (End::Stream, expected.clone()), "{block}");
        }
    }

    #[test]
    fn a_line_without_an_end_needs_constant_memory_and_the_one_behind_it_is_read() {
        let text = [vec![0; 10 * MAX_LINE], b"\nnext\n".to_vec()].concat();
        for block in [100, 20 * MAX_LINE] {
            let (_, lines) = lines(&text, block, u64::MAX);
            assert_eq!(lines, [vec![0; MAX_LINE], b"next".to_vec()], "{block}");
        }
    }

    #[test]
    fn reading_ends_at_the_limit() {
        let (end, found) = lines(&b"a\n".repeat(1000), 10, 100);
        assert_eq!((end, found.len()), (End::Bytes, 50));
        let mut blocks = 0;
        let end = for_each_line(
            BufReader::with_capacity(2, &b"a\nb\n"[..]),
            100,
            || {
                blocks += 1;
                blocks < 2
            },
            |_| {},
        );
        assert_eq!(end.unwrap(), End::Stopped);
    }
}
