//! A byte cursor: how the fast formats write one line.
//!
//! A line is put together in one block of memory that is reused, then appended
//! to the output in one copy. Constants and numbers are stored as whole machine
//! words, and the cursor steps back to what was meant: no formatter, no
//! allocation, no copy whose length is known only at run time.

use super::address;
use std::net::IpAddr;

/// More than the longest part of a line that has no text of open length: such
/// text goes straight to the output. Twice the longest JSON object of numbers.
const CAPACITY: usize = 4096;

/// The memory in which lines are put together.
#[derive(Debug, Clone)]
pub(super) struct Scratch(Box<[u8; CAPACITY]>);

impl Scratch {
    pub(super) fn new() -> Self {
        Scratch(Box::new([0; CAPACITY]))
    }

    /// A cursor at the beginning of the line.
    #[inline]
    pub(super) fn cursor(&mut self) -> Cursor<'_> {
        Cursor::new(&mut *self.0)
    }
}

/// Where the next byte of a line goes.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the beginning of `bytes`, which are overwritten. It stores
    /// up to 7 bytes more than it keeps.
    #[inline]
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Appends a constant.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, value: &[u8; N]) {
        self.put_part(value, N);
    }

    /// Stores all of `value`, and keeps its first `kept` bytes.
    #[inline(always)]
    pub(super) fn put_part<const N: usize>(&mut self, value: &[u8; N], kept: usize) {
        if let Some(place) = self.bytes.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = *value;
            self.at += kept;
        }
    }

    /// Appends text of at most some hundred bytes; what does not fit is left out.
    #[inline]
    pub(super) fn text(&mut self, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.at..self.at + value.len()) {
            place.copy_from_slice(value);
            self.at += value.len();
        }
    }

    /// Takes back the last byte.
    #[inline(always)]
    pub(super) fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    /// Appends a decimal number.
    #[inline(always)]
    pub(super) fn decimal(&mut self, value: u32) {
        if value < 100_000_000 {
            self.up_to_8_digits(value);
        } else {
            self.up_to_8_digits(value / 100_000_000);
            self.put(&ascii(digits(value % 100_000_000)));
        }
    }

    /// Appends a decimal number.
    #[inline]
    pub(super) fn decimal64(&mut self, value: u64) {
        if let Ok(small) = u32::try_from(value) {
            return self.decimal(small);
        }
        let (high, low) = (value / 100_000_000, value % 100_000_000);
        self.decimal64(high);
        self.put(&ascii(digits(low as u32)));
    }

    #[inline(always)]
    fn up_to_8_digits(&mut self, value: u32) {
        let digits = digits(value);
        // The last digit stays, also when it is 0.
        let leading = (digits | 1 << 56).trailing_zeros() / 8;
        let ascii = (digits | ASCII_ZEROES) >> (8 * leading);
        self.put_part(&ascii.to_le_bytes(), 8 - leading as usize);
    }

    /// Appends a hexadecimal number in lower case, without leading zeroes.
    #[inline(always)]
    pub(super) fn hex(&mut self, value: u16) {
        let value = u32::from(value);
        let nibbles = value >> 12 | (value >> 8 & 0xf) << 8 | (value >> 4 & 0xf) << 16 | (value & 0xf) << 24;
        let leading = (nibbles | 1 << 24).trailing_zeros() / 8;
        let letters = (nibbles + 0x0606_0606) >> 4 & 0x0101_0101;
        let ascii = nibbles + 0x3030_3030 + letters * 39;
        self.put_part(&(ascii >> (8 * leading)).to_le_bytes(), 4 - leading as usize);
    }

    /// Appends an address.
    #[inline(always)]
    pub(super) fn address(&mut self, address: &IpAddr) {
        match address {
            IpAddr::V4(address) => address::put_v4(self, *address),
            IpAddr::V6(address) => address::put_v6(self, *address),
        }
    }

    /// What has been written.
    #[inline]
    pub(super) fn written(&self) -> &[u8] {
        self.bytes.get(..self.at).unwrap_or_default()
    }

    /// Appends what has been written to `out`, and begins anew.
    #[inline]
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.written());
        self.at = 0;
    }
}

const ASCII_ZEROES: u64 = 0x3030_3030_3030_3030;

#[inline(always)]
fn ascii(digits: u64) -> [u8; 8] {
    (digits | ASCII_ZEROES).to_le_bytes()
}

/// The eight decimal digits of a number below 10^8, one to a byte, the first
/// in the lowest: halves, then quarters, then single digits, side by side in
/// one register. The multipliers are rounded reciprocals of 100 and 10 that are
/// exact for four and for two digits.
#[inline(always)]
fn digits(value: u32) -> u64 {
    let value = u64::from(value);
    let halves = value / 10_000 | (value % 10_000) << 32;
    let hundreds = (halves * 10_486) >> 20 & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - 100 * hundreds) << 16;
    let tens = (pairs * 103) >> 10 & 0x000f_000f_000f_000f;
    tens | (pairs - 10 * tens) << 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Cursor<'_>)) -> String {
        let mut scratch = Scratch::new();
        let mut cursor = scratch.cursor();
        write(&mut cursor);
        String::from_utf8_lossy(cursor.written()).into_owned()
    }

    #[test]
    fn every_port_is_written_as_std_writes_it() {
        for value in 0..=u16::MAX {
            assert_eq!(written(|c| c.decimal(value.into())), value.to_string());
            assert_eq!(written(|c| c.hex(value)), format!("{value:x}"));
        }
    }

    #[test]
    fn numbers_around_each_power_of_ten_are_written_as_std_writes_them() {
        for power in (0..20).map(|exponent| 10u64.pow(exponent)) {
            for value in [power - 1, power, power + 1, power.wrapping_mul(7), u64::MAX] {
                assert_eq!(written(|c| c.decimal64(value)), value.to_string());
                assert_eq!(written(|c| c.decimal(value as u32)), (value as u32).to_string());
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_nothing_breaks() {
        let line = written(|c| (0..2000).for_each(|_| c.put(b"abc")));
        assert_eq!(line.len(), CAPACITY - CAPACITY % 3);
    }

    proptest! {
        #[test]
        fn any_number_is_written_as_std_writes_it(a: u32, b: u64, shift in 0u32..64) {
            prop_assert_eq!(written(|c| c.decimal(a)), a.to_string());
            prop_assert_eq!(written(|c| c.decimal64(b >> shift)), (b >> shift).to_string());
        }
    }
}
