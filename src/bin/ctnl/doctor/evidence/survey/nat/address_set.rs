//! A set of ranges of addresses.

use std::net::IpAddr;

/// Ranges of addresses, sorted and without overlap, so that a lookup is a binary search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl AddressSet {
    /// Whether `address` is in one of the ranges.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => contains(&self.v4, address.to_bits()),
            IpAddr::V6(address) => contains(&self.v6, address.to_bits()),
        }
    }
}

impl FromIterator<(IpAddr, IpAddr)> for AddressSet {
    fn from_iter<T: IntoIterator<Item = (IpAddr, IpAddr)>>(ranges: T) -> Self {
        let mut set = AddressSet::default();
        for range in ranges {
            match range {
                (IpAddr::V4(first), IpAddr::V4(last)) => set.v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => set.v6.push((first.to_bits(), last.to_bits())),
                _ => {}
            }
        }
        merge(&mut set.v4);
        merge(&mut set.v6);
        set
    }
}

fn contains<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| *last >= address)
}

fn merge<T: Ord + Copy>(ranges: &mut Vec<(T, T)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_set_if_a_range_has_it() {
        let range = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
        let set: AddressSet = [
            range("192.0.2.8", "192.0.2.9"),
            range("192.0.2.1", "192.0.2.4"),
            range("192.0.2.2", "192.0.2.3"),
            range("2001:db8::1", "2001:db8::1"),
        ]
        .into_iter()
        .collect();
        let inside = ["192.0.2.1", "192.0.2.4", "192.0.2.8", "192.0.2.9", "2001:db8::1"];
        let outside = ["192.0.2.0", "192.0.2.5", "192.0.2.7", "192.0.2.10", "2001:db8::", "2001:db8::2", "::c000:201"];
        assert!(inside.iter().all(|address| set.contains(address.parse().unwrap())));
        assert!(!outside.iter().any(|address| set.contains(address.parse().unwrap())));
        assert!(!AddressSet::default().contains("192.0.2.1".parse().unwrap()));
    }
}
