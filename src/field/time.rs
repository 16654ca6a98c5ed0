//! Remaining time, time since the last packet, time since creation.

use super::id::FieldId;
use super::row::{Field, Needs};
use super::value::{SecondsRange, Value};
use super::value_kind::ValueKind;
use crate::age::{Age, Idle};
use crate::model::Undecided;

/// The greatest remaining time that is assumed: `INT_MAX` jiffies (`nf_ct_expires` in
/// include/net/netfilter/nf_conntrack.h, `proc_dointvec_jiffies`) with
/// `CONFIG_HZ=1000`, 24.8 days. With fewer jiffies per second, timeouts can be longer: 248 days
/// with `CONFIG_HZ=100`.
const GREATEST_TIMEOUT: u64 = i32::MAX as u64 / 1000;

/// The greatest time in seconds since 1970, in the year 2106: no clock is later.
const LATEST: u64 = u32::MAX as u64;

pub(super) const ROWS: &[Field] = &[
    Field::new(
        FieldId::Timeout,
        "timeout",
        ValueKind::Duration,
        "remaining time until the entry expires",
        "timeout < 30s",
        |s| match s.flow.timeout {
            _ if s.flow.is_offloaded() => Value::Undecided(Undecided::Offloaded),
            Some(timeout) => Value::Number(timeout.into()),
            None => Value::Undecided(Undecided::NotSent),
        },
    )
    .live(0, GREATEST_TIMEOUT)
    .quantity(),
    Field::new(FieldId::Idle, "idle", ValueKind::Duration, "time since the last accepted packet", "idle >= 12h", |s| {
        match s.idle() {
            Idle::Exact { at_least, at_most } => {
                Value::Seconds(SecondsRange { at_least, at_most: Some(at_most), why: Undecided::WithinOneSecond })
            }
            Idle::AtLeast(at_least, why) => Value::Seconds(SecondsRange { at_least, at_most: None, why }),
            Idle::Unknown(why) => Value::Undecided(why),
        }
    })
    .needs(Needs { idle: true, age: false })
    .live(0, GREATEST_TIMEOUT)
    .quantity(),
    Field::new(
        FieldId::Age,
        "age",
        ValueKind::Duration,
        "time since creation (needs nf_conntrack_timestamp=1)",
        "age >= 1d",
        |s| match s.ages.age(s.flow) {
            Age::Known(seconds) => Value::Number(seconds),
            Age::Unknown(why) => Value::Undecided(why),
        },
    )
    .needs(Needs { idle: false, age: true })
    .live(0, LATEST)
    .quantity(),
    Field::new(
        FieldId::Start,
        "start",
        ValueKind::Number(u64::MAX),
        "creation, in seconds since 1970",
        "start >= 1700000000",
        |s| match s.flow.start {
            Some(start) => Value::Number(start / 1_000_000_000),
            None => Value::Undecided(Undecided::NoTimestamp),
        },
    )
    .live(0, LATEST)
    .quantity(),
];
