//! Flows and fields that the tests of several formats use.

use crate::age::IdleEstimator;
use crate::field::{Field, Subject, field};
use crate::model::{Flow, HelperName, L4, Protocol, Tuple};

/// A tuple and its mirror.
pub(super) fn flow(src: &str, dst: &str, protocol: u8, l4: L4) -> Flow {
    let tuple = |src: &str, dst: &str, l4| Tuple {
        src: src.parse().unwrap_or([0; 4].into()),
        dst: dst.parse().unwrap_or([0; 4].into()),
        protocol: Protocol::from(protocol),
        l4,
        zone: None,
        has_unknown_part: false,
    };
    let back = match l4 {
        L4::Ports { src, dst } => L4::Ports { src: dst, dst: src },
        other => other,
    };
    Flow::new(tuple(src, dst, l4), tuple(dst, src, back))
}

/// Runs `check` on a flow with a port and a helper, and on one without either.
pub(super) fn each(mut check: impl FnMut(&Subject<'_>)) {
    let ages = ages(0);
    let mut tcp = flow("10.0.0.1", "10.0.0.2", 6, L4::Ports { src: 1234, dst: 80 });
    tcp.helper = Some(HelperName::new(b"f\"t,p\x1b"));
    let other = flow("2001:db8::1", "2001:db8::2", 253, L4::None);
    for flow in [tcp, other] {
        check(&Subject::new(&flow, &ages));
    }
}

/// A clock reading in nanoseconds, and no timeouts.
pub(super) fn ages(now: u64) -> IdleEstimator {
    IdleEstimator::without_timeouts(now)
}

/// An address, a number, a word, and a time that is not known.
pub(super) fn columns() -> Vec<&'static Field> {
    ["src", "sport", "helper", "age"].into_iter().filter_map(field).collect()
}
