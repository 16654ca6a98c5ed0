//! Numbers and texts of a frame, as bytes.

/// Appends a number: 7 bits a byte, the lowest first; the highest bit is set in all bytes but the last.
pub fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a text: its length, and its bytes.
pub fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads what was appended.
pub struct Reader<'b> {
    pub rest: &'b [u8],
}

impl Reader<'_> {
    /// The next number; `None` where there is none.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// The next text; `None` where there is none.
    pub fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        self.text_of(length)
    }

    /// The next text of this length; `None` where there is none.
    pub fn text_of(&mut self, length: u64) -> Option<String> {
        let length = usize::try_from(length).ok()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        // What is recorded is shown on a terminal, whoever wrote the file.
        Some(ctnl::text::printable(std::str::from_utf8(text).ok()?).into_owned())
    }
}
