//! Addresses as text, written the way `inet_ntop` of the GNU C library does.
//!
//! That is RFC 5952, and what conntrack(8) prints. It differs from std in one
//! point: `::a.b.c.d` (the deprecated IPv4-compatible form) is written with dots
//! where the upper 16 bits of the IPv4 part are not zero. Every format uses this
//! one spelling, so that an address found in one is found in all.

use super::cursor::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends `address` to `out`.
///
/// ```
/// let mut out = Vec::new();
/// ctnl::output::append_address(&mut out, "2001:DB8:0:0::1".parse().unwrap());
/// assert_eq!(out, b"2001:db8::1");
/// ```
#[doc(alias = "inet_ntop")]
pub fn append_address(out: &mut Vec<u8>, address: IpAddr) {
    // The longest has 45 bytes.
    let mut bytes = [0; 64];
    let mut cursor = Cursor::new(&mut bytes);
    cursor.address(&address);
    cursor.flush(out);
}

/// Each octet in decimal with a dot behind it, and the length of that in the
/// highest byte: one load brings both.
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
pub(super) fn put_v4<const SIZE: usize>(cursor: &mut Cursor<'_, SIZE>, address: Ipv4Addr) {
    for octet in address.octets() {
        // The index is a byte and the table has 256 rows.
        if let Some(row) = OCTETS.get(usize::from(octet)) {
            cursor.write_partial(&(*row as u32).to_le_bytes(), (row >> 56) as usize);
        }
    }
    cursor.trim_space();
}

/// For each set of words that are zero (bit 0 for the first word): the first
/// longest run of two or more, as its start and its length.
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
pub(super) fn put_v6<const SIZE: usize>(cursor: &mut Cursor<'_, SIZE>, address: Ipv6Addr) {
    let words = address.segments();
    let zeroes = (0u8..).zip(words).fold(0, |set, (i, word)| set | usize::from(word == 0) << i);
    let (start, length) = RUNS.get(zeroes).copied().unwrap_or((8, 0));
    if start == 0 && (length == 6 || length == 5 && words[5] == 0xffff) {
        return put_embedded_v4(cursor, address, length);
    }
    cursor.out_of_line(|line| {
        for (i, word) in (0u8..).zip(words) {
            if i == start {
                // The separator before the run is there, unless the run comes first.
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
    use proptest::prelude::*;

    fn text(address: impl Into<IpAddr>) -> String {
        let mut out = Vec::new();
        append_address(&mut out, address.into());
        String::from_utf8_lossy(&out).into_owned()
    }

    /// std, but for the compatible form, of which the C library knows more.
    fn expected(address: Ipv6Addr) -> String {
        let [.., high, low] = address.segments();
        let [a, b, c, d] = (u32::from(high) << 16 | u32::from(low)).to_be_bytes();
        if u128::from(address) >> 32 == 0 && high != 0 {
            return format!("::{a}.{b}.{c}.{d}");
        }
        address.to_string()
    }

    #[test]
    fn crafted_addresses_are_spelled_as_the_c_library_spells_them() {
        // Right side printed by inet_ntop of glibc 2.36.
        for (address, spelling) in [
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
            assert_eq!(text(address.parse::<Ipv6Addr>().unwrap()), spelling);
        }
    }

    #[test]
    fn every_pattern_of_zero_words_is_spelled_as_std_spells_it() {
        for set in 0..=255u16 {
            for word in [1u16, 0xabc, 0xffff] {
                let words: Vec<u16> = (0..8).map(|i| if set >> i & 1 == 1 { 0 } else { word }).collect();
                let address = Ipv6Addr::from(<[u16; 8]>::try_from(words).unwrap());
                assert_eq!(text(address), expected(address));
            }
        }
    }

    proptest! {
        #[test]
        fn any_address_is_spelled_as_std_spells_it(v4: u32, words: [u16; 8], mask: u8, narrow in 0u32..16) {
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
