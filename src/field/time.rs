//! Time left, time since the last packet, time since creation.

use super::kind::Kind;
use super::row::Field;
use super::value::{Span, Value};
use crate::age::{Age, Idle};
use crate::model::Undecided;

pub(super) const ROWS: &[Field] =
    &[
        Field::new("timeout", Kind::Duration, "time left until the entry expires", "timeout < 30s", |s| {
            match s.flow.timeout {
                _ if s.flow.is_offloaded() => Value::Undecided(Undecided::Offloaded),
                Some(timeout) => Value::Number(timeout.into()),
                None => Value::Undecided(Undecided::NotSent),
            }
        })
        .quantity(),
        Field::new("idle", Kind::Duration, "time since the last accepted packet", "idle >= 12h", |s| match s.idle() {
            Idle::Exact { at_least, at_most } => {
                Value::Span(Span { at_least, at_most: Some(at_most), why: Undecided::WithinOneSecond })
            }
            Idle::AtLeast(at_least, why) => Value::Span(Span { at_least, at_most: None, why }),
            Idle::Unknown(why) => Value::Undecided(why),
        })
        .quantity(),
        Field::new("age", Kind::Duration, "time since creation (needs nf_conntrack_timestamp=1)", "age >= 1d", |s| {
            match s.ages.age(s.flow) {
                Age::Known(seconds) => Value::Number(seconds),
                Age::Unknown(why) => Value::Undecided(why),
            }
        })
        .quantity(),
        Field::new("start", Kind::Number(u64::MAX), "creation, in seconds since 1970", "start >= 1700000000", |s| {
            match s.flow.start {
                Some(start) => Value::Number(start / 1_000_000_000),
                None => Value::Undecided(Undecided::NoTimestamp),
            }
        })
        .quantity(),
    ];
