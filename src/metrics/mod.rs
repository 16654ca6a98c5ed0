//! Figures of a running service, as data: name, unit, help and value.
//!
//! A [`Metric`] is one row of a registry. A statistics line prints the rows by their short
//! names ([`line()`]); an exporter prints the same rows by their full names, which are legal
//! Prometheus names. [`STREAM`] has the figures of an event stream, [`SINK`] those of one of
//! its sinks.
//!
//! ```
//! use ctnl::metrics::{STREAM, StreamSnapshot};
//!
//! let snapshot = StreamSnapshot { received: 7, ..StreamSnapshot::default() };
//! for metric in STREAM {
//!     if let Some(value) = (metric.value)(&snapshot) {
//!         println!("# HELP {} {}\n{} {value:?}", metric.name, metric.help, metric.name);
//!     }
//! }
//! ```

mod sink;
mod stream;

use crate::units::Bytes;

pub use sink::{SINK, SinkSnapshot};
pub use stream::{STREAM, StreamSnapshot};

/// How a figure behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, from 0 at the start.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: events, records, entries, lines. The name says which.
    Count,
    /// Things per second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// A part of a whole: 0 to 1.
    Ratio,
}

/// A value of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    /// Exact.
    Integer(u64),
    /// Rounded.
    Float(f64),
}

/// One figure of a snapshot `S`.
#[derive(Debug)]
pub struct Metric<S: 'static> {
    /// The full name: `ctnl_…`, with the unit, and `_total` for a counter.
    pub name: &'static str,
    /// The name in a statistics line.
    pub short: &'static str,
    /// How it behaves over time.
    pub kind: MetricKind,
    /// What it counts.
    pub unit: Unit,
    /// What it means, in a sentence without its full stop.
    pub help: &'static str,
    /// Its value; `None` where it has none in this snapshot.
    pub value: fn(&S) -> Option<MetricValue>,
}

/// The figures of `snapshot` as `short=value`, separated by spaces.
pub fn line<S>(metrics: &[Metric<S>], snapshot: &S) -> String {
    let words = metrics.iter().filter_map(|metric| {
        let value = (metric.value)(snapshot)?;
        Some(format!("{}={}", metric.short, format_value(metric.unit, value)))
    });
    words.collect::<Vec<_>>().join(" ")
}

fn format_value(unit: Unit, value: MetricValue) -> String {
    match (unit, value) {
        (Unit::Ratio, MetricValue::Integer(whole)) => format!("{}%", whole.saturating_mul(100)),
        (Unit::Ratio, MetricValue::Float(part)) if part > 0.0 && part < 0.001 => "<0.1%".to_owned(),
        (Unit::Ratio, MetricValue::Float(part)) => format!("{:.1}%", part * 100.0),
        (Unit::Bytes, MetricValue::Integer(bytes)) => Bytes(bytes).to_string().replace(' ', ""),
        (Unit::PerSecond, MetricValue::Integer(count)) => format!("{count}/s"),
        (Unit::PerSecond, MetricValue::Float(count)) => format!("{count:.0}/s"),
        (Unit::Count, MetricValue::Integer(count)) => count.to_string(),
        (Unit::Count | Unit::Bytes, MetricValue::Float(count)) => format!("{count:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, short name, kind, unit and help of every row.
    fn rows<S>(metrics: &[Metric<S>]) -> Vec<(&'static str, &'static str, MetricKind, Unit, &'static str)> {
        metrics.iter().map(|metric| (metric.name, metric.short, metric.kind, metric.unit, metric.help)).collect()
    }

    fn all_rows() -> Vec<(&'static str, &'static str, MetricKind, Unit, &'static str)> {
        [rows(STREAM), rows(SINK)].concat()
    }

    #[test]
    fn every_name_is_unique_and_every_short_name_within_its_registry() {
        let names: Vec<&str> = all_rows().iter().map(|row| row.0).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names.iter().skip(index + 1).any(|other| other == name), "{name}");
        }
        for registry in [rows(STREAM), rows(SINK)] {
            for (index, row) in registry.iter().enumerate() {
                assert!(!registry.iter().skip(index + 1).any(|other| other.1 == row.1), "{}", row.1);
            }
        }
    }

    #[test]
    fn every_name_is_a_legal_prometheus_name_with_its_unit() {
        for (name, short, kind, unit, _) in all_rows() {
            assert!(name.starts_with("ctnl_") && !name.ends_with('_') && !name.contains("__"), "{name}");
            for name in [name, short] {
                assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_')) && !name.is_empty(), "{name}");
            }
            assert_eq!(name.ends_with("_total"), kind == MetricKind::Counter, "{name}");
            let stem = name.strip_suffix("_total").unwrap_or(name);
            let unit_suffix = [("_bytes", Unit::Bytes), ("_ratio", Unit::Ratio), ("_per_second", Unit::PerSecond)];
            for (suffix, of) in unit_suffix {
                assert_eq!(stem.ends_with(suffix), unit == of, "{name}");
            }
        }
    }

    #[test]
    fn every_row_has_a_help_text_of_one_sentence() {
        for (name, _, _, _, help) in all_rows() {
            assert!(help.len() > 10 && !help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
            assert!(help.starts_with(|first: char| first.is_ascii_uppercase()), "{name}: {help}");
        }
    }

    #[test]
    fn values_are_written_with_their_units() {
        for (unit, value, expected) in [
            (Unit::Count, MetricValue::Integer(u64::MAX), "18446744073709551615"),
            (Unit::PerSecond, MetricValue::Integer(12), "12/s"),
            (Unit::Bytes, MetricValue::Integer(8 << 20), "8MiB"),
            (Unit::Bytes, MetricValue::Integer(8191), "8191B"),
            (Unit::Bytes, MetricValue::Integer(8192), "8KiB"),
            (Unit::Ratio, MetricValue::Float(0.5), "50.0%"),
            (Unit::Ratio, MetricValue::Float(0.0001), "<0.1%"),
            (Unit::Ratio, MetricValue::Integer(0), "0%"),
        ] {
            assert_eq!(format_value(unit, value), expected);
        }
    }
}
