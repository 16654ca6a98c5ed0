//! The host's own files that give names to numbers, and files of values.

use std::fs;
use std::io;
use std::sync::Arc;

use ctnl::filter::ServiceNames;
use ctnl::model::LabelNames;
use jiff::tz::TimeZone;

/// Where libnetfilter_conntrack looks for names of labels.
const LABELS: &str = "/etc/xtables/connlabel.conf";
const SERVICES: &str = "/etc/services";
const TIME_ZONE: &str = "/etc/localtime";

/// Names of ports; none where there is no such file.
pub fn services() -> ServiceNames {
    fs::read_to_string(SERVICES).map_or_else(|_| ServiceNames::default(), |text| ServiceNames::parse(&text))
}

/// Names of labels; none where there is no such file.
pub fn labels() -> Arc<LabelNames> {
    let names = fs::read_to_string(LABELS).map_or_else(|_| LabelNames::default(), |text| LabelNames::parse(&text));
    Arc::new(names)
}

/// The host's time zone; UTC where none is set.
pub fn time_zone() -> TimeZone {
    fs::read(TIME_ZONE).ok().and_then(|file| TimeZone::tzif(TIME_ZONE, &file).ok()).unwrap_or(TimeZone::UTC)
}

/// The values in a file; `-` is standard input.
pub fn values(path: &str) -> io::Result<String> {
    if path == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) }
}
