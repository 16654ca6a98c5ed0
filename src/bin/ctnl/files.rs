//! The host's own files that give names to numbers, and files of values.

use std::fs;
use std::io::{self, Read};
use std::sync::Arc;

use ctnl::filter::{MAX_FILE, ServiceNames};
use ctnl::model::{LabelNames, TimeZone};

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
    fs::read(TIME_ZONE).ok().and_then(|bytes| TimeZone::parse(&bytes)).unwrap_or_default()
}

/// The values in a file; `-` is standard input. Of a file that has no end, no
/// more is read than shows that it is too large.
pub fn values(path: &str) -> io::Result<String> {
    let most = MAX_FILE as u64 + 1;
    if path == "-" {
        io::read_to_string(io::stdin().take(most))
    } else {
        io::read_to_string(fs::File::open(path)?.take(most))
    }
}
