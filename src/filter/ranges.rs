//! A set of numbers or addresses as sorted, merged ranges, with lookup by binary search.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The type of the ends of a range.
pub(super) trait Bound: Copy + Ord {
    const MAX: Self;
    /// The next larger value; the largest value itself.
    fn next(self) -> Self;
}

macro_rules! bound {
    ($($number:ty),*) => {$(
        impl Bound for $number {
            const MAX: Self = <$number>::MAX;
            #[inline]
            fn next(self) -> Self {
                self.saturating_add(1)
            }
        }
    )*};
}

bound!(u32, u64, u128);

/// Sorted ranges, both ends included, that neither overlap nor touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges<T>(Box<[(T, T)]>);

impl<T: Bound> Ranges<T> {
    pub(super) fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.retain(|(low, high)| low <= high);
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if last.1 == T::MAX || low <= last.1.next() => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Ranges(merged.into_boxed_slice())
    }

    #[inline]
    pub(super) fn contains(&self, value: T) -> bool {
        if let [(low, high)] = &*self.0 {
            return *low <= value && value <= *high;
        }
        let at = self.0.partition_point(|(_, high)| *high < value);
        self.0.get(at).is_some_and(|(low, _)| *low <= value)
    }

    /// Whether every value from `low` to `high` is in the set; `None` when only some are.
    pub(super) fn covers(&self, low: T, high: T) -> Option<bool> {
        let at = self.0.partition_point(|range| range.1 < low);
        match self.0.get(at) {
            Some(range) if range.0 <= low && high <= range.1 => Some(true),
            Some(range) if range.0 <= high => None,
            _ => Some(false),
        }
    }

    pub(super) fn as_slice(&self) -> &[(T, T)] {
        &self.0
    }
}

/// A set of addresses of both families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddressSet {
    pub v4: Ranges<u32>,
    pub v6: Ranges<u128>,
}

impl AddressSet {
    #[inline]
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }

    /// The ranges of both families.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let v4 = self.v4.as_slice().iter().map(|(low, high)| (v4(*low), v4(*high)));
        v4.chain(self.v6.as_slice().iter().map(|(low, high)| (v6(*low), v6(*high))))
    }
}

pub(super) fn v4(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

pub(super) fn v6(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let ranges = Ranges::new(vec![(20u32, 30), (1, 5), (6, 9), (25, 40), (50, 45)]);
        assert_eq!(ranges.as_slice(), [(1, 9), (20, 40)]);
        assert_eq!(Ranges::new(vec![(0, u32::MAX), (7, 8)]).as_slice(), [(0, u32::MAX)]);
    }

    #[test]
    fn every_value_is_found_exactly_in_its_range() {
        let ranges = Ranges::new(vec![(3u64, 5), (10, 10), (100, u64::MAX)]);
        for value in 0..200 {
            assert_eq!(ranges.contains(value), (3..=5).contains(&value) || value == 10 || value >= 100, "{value}");
        }
        assert!(ranges.contains(u64::MAX));
        assert!(!Ranges::<u32>::new(Vec::new()).contains(0));
    }

    #[test]
    fn a_span_is_covered_wholly_partly_or_not_at_all() {
        let ranges = Ranges::new(vec![(10u64, 20), (30, u64::MAX)]);
        assert_eq!(ranges.covers(10, 20), Some(true));
        assert_eq!(ranges.covers(9, 10), None);
        assert_eq!(ranges.covers(20, 30), None);
        assert_eq!(ranges.covers(21, 29), Some(false));
        assert_eq!(ranges.covers(30, u64::MAX), Some(true));
        assert_eq!(ranges.covers(0, 9), Some(false));
    }
}
