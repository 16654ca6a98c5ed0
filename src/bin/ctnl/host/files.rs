//! The host's own files that give names to numbers, and files of values.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use ctnl::filter::{MAX_FILE, ServiceNames};
use ctnl::host::Host;
use ctnl::model::LabelNames;
use jiff::tz::TimeZone;

/// Where libnetfilter_conntrack looks for names of labels.
const LABELS: &str = "/etc/xtables/connlabel.conf";
const SERVICES: &str = "/etc/services";
const TIME_ZONE: &str = "/etc/localtime";
const ZONES: &str = "/usr/share/zoneinfo";

/// Names of ports; none where there is no such file.
pub fn services(host: &Host) -> ServiceNames {
    fs::read_to_string(host.path(SERVICES)).map_or_else(|_| ServiceNames::default(), |text| ServiceNames::parse(&text))
}

/// Names of labels; none where there is no such file.
pub fn labels(host: &Host) -> Arc<LabelNames> {
    let names =
        fs::read_to_string(host.path(LABELS)).map_or_else(|_| LabelNames::default(), |text| LabelNames::parse(&text));
    Arc::new(names)
}

/// The time zone of the environment, else the host's; UTC where that is unknown.
pub fn time_zone(host: &Host) -> TimeZone {
    zone(env::var("TZ").ok().as_deref(), host).unwrap_or(TimeZone::UTC)
}

/// As the C library reads `TZ`: a file of the zone database, or a rule.
fn zone(variable: Option<&str>, host: &Host) -> Option<TimeZone> {
    let Some(variable) = variable else {
        return zone_in(&host.path(TIME_ZONE));
    };
    let name = variable.strip_prefix(':').unwrap_or(variable);
    zone_in(&host.path(ZONES).join(name)).or_else(|| TimeZone::posix(name).ok())
}

fn zone_in(path: &Path) -> Option<TimeZone> {
    fs::read(path).ok().and_then(|file| TimeZone::tzif(&path.to_string_lossy(), &file).ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_may_be_a_rule_and_what_is_none_is_left_out() {
        let host = Host::system();
        assert!(zone(Some("CET-1CEST,M3.5.0,M10.5.0/3"), &host).is_some());
        assert!(zone(Some(""), &host).is_none());
        assert!(zone(Some(":/no/such/file"), &host).is_none());
    }
}
