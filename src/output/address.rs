//! Addresses as text, as `inet_ntop` of the GNU C library writes them.
//!
//! Written by hand, because `Display` of `Ipv6Addr` takes some 140 ns per address, and an entry has four: a
//! list of a table that is half IPv6 took 1.27 times the time of the raw dump with it.
//!
//! The text is that of RFC 5952 and of conntrack(8). It differs from std in one case: `::a.b.c.d` (the
//! deprecated IPv4-compatible form) is written with dots if the upper 16 bits of the IPv4 part are not zero.
//! Every format writes addresses with this module, so that the same text finds an address in all of them.

use super::cursor::{Cursor, Written};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends `address` to `out`.
pub(super) fn append_address(out: &mut Vec<u8>, address: IpAddr) {
    // The longest address has 45 bytes.
    let mut bytes = [0; 64];
    let mut cursor = Cursor::new(&mut bytes);
    cursor.address(&address);
    cursor.flush(out);
}

impl<const SIZE: usize> Cursor<'_, SIZE> {
    /// Appends an address.
    #[inline(always)]
    pub(super) fn address(&mut self, address: &IpAddr) {
        match address {
            IpAddr::V4(address) => put_v4(self, *address),
            IpAddr::V6(address) => self.out_of_line(|line| put_v6(line, *address)),
        }
    }

    /// Appends an address, as a copy if it equals `written`.
    #[inline(always)]
    pub(super) fn address_or<'a>(
        &mut self,
        address: &'a IpAddr,
        written: Option<Written<&IpAddr>>,
    ) -> Written<&'a IpAddr> {
        self.copy_or(address, written, |line| line.address(address))
    }
}

/// Each octet in decimal followed by a dot, and the length of both in the highest byte, so that one load
/// reads text and length.
static OCTETS: [u64; 256] = octets();

#[allow(clippy::indexing_slicing)] // At compile time.
const fn octets() -> [u64; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) = (octet / 100, octet / 10 % 10, octet % 10);
        let (a, b, c) = (b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8);
        let (text, length) = match octet {
            100.. => ([a, b, c, b'.'], 4),
            10.. => ([b, c, b'.', 0], 3),
            _ => ([c, b'.', 0, 0], 2),
        };
        table[octet] = u32::from_le_bytes(text) as u64 | length << 56;
        octet += 1;
    }
    table
}

#[inline(always)]
fn put_v4<const SIZE: usize>(cursor: &mut Cursor<'_, SIZE>, address: Ipv4Addr) {
    for octet in address.octets() {
        // The index is a byte and the table has 256 rows.
        if let Some(row) = OCTETS.get(usize::from(octet)) {
            cursor.write_partial(&(*row as u32).to_le_bytes(), (row >> 56) as usize);
        }
    }
    cursor.trim_space();
}

/// For each combination of zero words (bit 0 is the first word): start and length of the first longest run
/// of at least two zero words.
static RUNS: [(u8, u8); 256] = runs();

#[allow(clippy::indexing_slicing)] // At compile time.
const fn runs() -> [(u8, u8); 256] {
    let mut table = [(8, 0); 256];
    let mut set = 0;
    while set < 256 {
        let mut start = 0;
        while start < 8 {
            let mut length = 0;
            while start + length < 8 && set >> (start + length) & 1 == 1 {
                length += 1;
            }
            if length >= 2 && length > table[set].1 as usize {
                table[set] = (start as u8, length as u8);
            }
            start += 1;
        }
        set += 1;
    }
    table
}

#[inline(never)]
fn put_v6<const SIZE: usize>(cursor: &mut Cursor<'_, SIZE>, address: Ipv6Addr) {
    let words = address.segments();
    let zeroes = (0u8..).zip(words).fold(0, |set, (i, word)| set | usize::from(word == 0) << i);
    let (start, length) = RUNS.get(zeroes).copied().unwrap_or((8, 0));
    if start == 0 && (length == 6 || length == 5 && words[5] == 0xffff) {
        return put_embedded_v4(cursor, address, length);
    }
    cursor.out_of_line(|line| {
        for (i, word) in (0u8..).zip(words) {
            if i == start {
                // The colon before the run has been written, unless the run comes first.
                line.write_partial(b"::", if start == 0 { 2 } else { 1 });
            }
            if i < start || i >= start + length {
                line.hex_and_colon(word);
            }
        }
        if start + length != 8 || length == 0 {
            line.trim_space();
        }
    });
}

/// `::ffff:1.2.3.4` and `::1.2.3.4`.
fn put_embedded_v4<const SIZE: usize>(cursor: &mut Cursor<'_, SIZE>, address: Ipv6Addr, zeroes: u8) {
    cursor.write_partial(b"::ffff:", if zeroes == 5 { 7 } else { 2 });
    let [.., a, b, c, d] = address.octets();
    put_v4(cursor, Ipv4Addr::new(a, b, c, d));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::cursor::Scratch;
    use proptest::prelude::*;

    fn text(address: impl Into<IpAddr>) -> String {
        let mut out = Vec::new();
        append_address(&mut out, address.into());
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The text of std, except for the IPv4-compatible form.
    fn expected(address: Ipv6Addr) -> String {
        let [.., high, low] = address.segments();
        let [a, b, c, d] = (u32::from(high) << 16 | u32::from(low)).to_be_bytes();
        if u128::from(address) >> 32 == 0 && high != 0 {
            return format!("::{a}.{b}.{c}.{d}");
        }
        address.to_string()
    }

    #[test]
    fn crafted_addresses_equal_the_text_of_inet_ntop() {
        // The right side was printed by inet_ntop of glibc 2.36.
        for (address, printed) in [
            ("::", "::"),
            ("::1", "::1"),
            ("::5", "::5"),
            ("::2:0", "::0.2.0.0"),
            ("0:0:0:0:0:0:1:0", "::0.1.0.0"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("::ffff:0:0", "::ffff:0.0.0.0"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
            ("::fffe:1.2.3.4", "::fffe:102:304"),
            ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
            ("1:0:0:2:0:0:3:4", "1::2:0:0:3:4"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("0:0:0:0:1:0:0:0", "::1:0:0:0"),
            ("1::", "1::"),
            ("fe80:0:0:0:abcd:EF01:0:0", "fe80::abcd:ef01:0:0"),
        ] {
            assert_eq!(text(address.parse::<Ipv6Addr>().unwrap()), printed);
        }
    }

    #[test]
    fn every_pattern_of_zero_words_equals_the_text_of_std() {
        for set in 0..=255u16 {
            for word in [1u16, 0xabc, 0xffff] {
                let words: Vec<u16> = (0..8).map(|i| if set >> i & 1 == 1 { 0 } else { word }).collect();
                let address = Ipv6Addr::from(<[u16; 8]>::try_from(words).unwrap());
                assert_eq!(text(address), expected(address));
            }
        }
    }

    #[test]
    fn a_copied_value_equals_a_written_one() {
        let addresses = ["1.2.3.4", "203.100.113.255", "2001:db8::1", "2001:db8:1111:2222:3333:4444:5555:6666"];
        for a in addresses.map(|text| text.parse::<IpAddr>().unwrap()) {
            for b in addresses.map(|text| text.parse::<IpAddr>().unwrap()) {
                let mut scratch = Scratch::new();
                let mut line = scratch.cursor();
                let (address, port) = (line.address_or(&a, None), line.port_or(443, None));
                line.address_or(&b, Some(address));
                line.port_or(443, Some(port));
                line.port_or(44, Some(port));
                let line = String::from_utf8_lossy(line.written());
                assert_eq!(line, format!("{a}443{b}44344"));
            }
        }
    }

    proptest! {
        #[test]
        fn any_address_equals_the_text_of_std(v4: u32, words: [u16; 8], mask: u8, narrow in 0u32..16) {
            let v4 = Ipv4Addr::from(v4);
            prop_assert_eq!(text(v4), v4.to_string());
            let mut words = words;
            for (i, word) in words.iter_mut().enumerate() {
                *word = if mask >> i & 1 == 1 { 0 } else { *word >> narrow };
            }
            let v6 = Ipv6Addr::from(words);
            prop_assert_eq!(text(v6), expected(v6));
            prop_assert_eq!(text(v6).parse::<Ipv6Addr>().unwrap(), v6);
        }
    }
}
