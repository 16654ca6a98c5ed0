//! Which expectations are chosen: the words of the filter language, for the expected tuple and for the master.

use anyhow::Result;
use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::filter::{Context, Filter, FilterBuilder, Verdict};
use ctnl::host::Host;
use ctnl::model::{Expectation, Flow, Tuple};
use ctnl::netlink::Connection;
use ctnl::table;

use crate::host::files;
use crate::term::exit::usage;

const HEADING: &str = "Filter (an expectation has to match all that is given; values as in `ctnl help filter`)";

/// The options that choose expectations.
#[derive(Debug, Clone, clap::Args)]
pub struct SelectArgs {
    /// Source address of the expected connection: addresses, networks, @FILE
    #[arg(long, short, value_name = "ADDRESS", help_heading = HEADING)]
    src: Option<String>,

    /// Destination address of the expected connection
    #[arg(long, short, value_name = "ADDRESS", help_heading = HEADING)]
    dst: Option<String>,

    /// Source port of the expected connection; 0 where any is expected
    #[arg(long, value_name = "PORT", help_heading = HEADING)]
    sport: Option<String>,

    /// Destination port of the expected connection
    #[arg(long, value_name = "PORT", help_heading = HEADING)]
    dport: Option<String>,

    /// Protocol of the expected connection
    #[arg(long, short, value_name = "PROTOCOL", help_heading = HEADING)]
    proto: Option<String>,

    /// Address family of the expected connection: ipv4, ipv6
    #[arg(long, short, value_name = "FAMILY", help_heading = HEADING)]
    family: Option<String>,

    /// Helper
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    helper: Option<String>,

    /// Zone of the master
    ///
    /// The kernel does not list it: it is looked up, which takes up to 0.1 s for a master outside of zone 0.
    #[arg(long, short = 'w', value_name = "ZONE", help_heading = HEADING)]
    zone: Option<String>,

    /// Source address of the master
    #[arg(long, value_name = "ADDRESS", help_heading = HEADING)]
    master_src: Option<String>,

    /// Destination address of the master
    #[arg(long, value_name = "ADDRESS", help_heading = HEADING)]
    master_dst: Option<String>,

    /// Source port of the master
    #[arg(long, value_name = "PORT", help_heading = HEADING)]
    master_sport: Option<String>,

    /// Destination port of the master
    #[arg(long, value_name = "PORT", help_heading = HEADING)]
    master_dport: Option<String>,
}

/// Chooses expectations.
#[derive(Debug)]
pub struct Select {
    expected: Filter,
    master: Filter,
    zone: Filter,
    /// The filters need no times.
    ages: IdleEstimator,
}

/// An expectation, with the zone of its master where that was looked up.
#[derive(Debug)]
pub struct Chosen {
    pub expectation: Expectation,
    pub zone: Option<u16>,
}

impl SelectArgs {
    /// Whether no option is given, so that all are chosen.
    pub fn is_empty(&self) -> bool {
        self.expected().iter().chain(&self.master()).all(|(_, _, value)| value.is_none()) && self.zone.is_none()
    }

    /// The flag of the filter language, the option, and its value.
    fn expected(&self) -> [(&'static str, &'static str, &Option<String>); 7] {
        [
            ("src", "src", &self.src),
            ("dst", "dst", &self.dst),
            ("sport", "sport", &self.sport),
            ("dport", "dport", &self.dport),
            ("proto", "proto", &self.proto),
            ("family", "family", &self.family),
            ("helper", "helper", &self.helper),
        ]
    }

    fn master(&self) -> [(&'static str, &'static str, &Option<String>); 4] {
        [
            ("src", "master-src", &self.master_src),
            ("dst", "master-dst", &self.master_dst),
            ("sport", "master-sport", &self.master_sport),
            ("dport", "master-dport", &self.master_dport),
        ]
    }

    /// The filters of the options. An error in one is found before anything is sent.
    pub fn select(&self, host: &Host) -> Result<Select> {
        let (services, labels) = (files::services(host), files::labels(host));
        let context =
            Context { services: &services, label: &|name| labels.number(name), read_file: &|path| files::values(path) };
        let build = |options: &[(&str, &str, &Option<String>)]| {
            let mut builder = FilterBuilder::new(&context);
            for (flag, option, value) in options {
                if let Some(value) = value {
                    let narrowed = builder.flag(flag, value);
                    builder = narrowed.map_err(|error| usage(error.of_flag(option).render()))?;
                }
            }
            builder.build().map_err(|error| usage(error.render()))
        };
        Ok(Select {
            expected: build(&self.expected())?,
            master: build(&self.master())?,
            zone: build(&[("zone", "zone", &self.zone)])?,
            ages: IdleEstimator::without_timeouts(0),
        })
    }
}

impl Select {
    /// Whether `expectation` matches, apart from the zone of its master.
    fn matches(&self, expectation: &Expectation) -> bool {
        let is_match = |filter: &Filter, tuple: Tuple| {
            let flow = Flow { helper: expectation.helper, ..Flow::new(tuple, tuple.inverse()) };
            filter.matches(&Subject::new(&flow, &self.ages)) == Verdict::Match
        };
        is_match(&self.expected, expectation.tuple) && is_match(&self.master, expectation.master)
    }

    fn matches_zone(&self, zone: u16) -> bool {
        let flow = Flow { zone_both: Some(zone), ..Flow::blank() };
        self.zone.matches(&Subject::new(&flow, &self.ages)) == Verdict::Match
    }

    /// Calls `each` with the expectations that match. Returns how many there are. Constant memory, unless a zone is
    /// given: what matches apart from it is kept then, until its zone has been looked up.
    pub fn each(&self, connection: &mut Connection, mut each: impl FnMut(&Chosen)) -> Result<u64> {
        if !self.zone.is_empty() {
            let (chosen, seen) = self.with_zones(connection)?;
            chosen.iter().for_each(each);
            return Ok(seen);
        }
        let mut seen = 0;
        table::expectations(connection, |expectation| {
            seen += 1;
            if self.matches(&expectation) {
                each(&Chosen { zone: expectation.zone, expectation });
            }
        })?;
        Ok(seen)
    }

    /// The expectations that match with the zones of their masters, and how many expectations there are. They are no
    /// more than `nf_conntrack_expect_max`, some 1000 by default.
    pub fn with_zones(&self, connection: &mut Connection) -> Result<(Vec<Chosen>, u64)> {
        let (mut kept, mut seen) = (Vec::new(), 0);
        table::expectations(connection, |expectation| {
            seen += 1;
            if self.matches(&expectation) {
                kept.push(expectation);
            }
        })?;
        let zones = table::expect_zones(connection, &kept)?;
        let chosen = kept.into_iter().zip(zones).map(|(expectation, zone)| Chosen { expectation, zone });
        // One that no zone has is gone by now.
        let chosen =
            chosen.filter(|chosen| self.zone.is_empty() || chosen.zone.is_some_and(|zone| self.matches_zone(zone)));
        Ok((chosen.collect(), seen))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use clap::Parser;
    use ctnl::model::ExpectationEvent;
    use ctnl::wire::Messages;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        select: SelectArgs,
    }

    fn select(words: &[&str]) -> Select {
        let line = Line::try_parse_from(std::iter::once(&"x").chain(words)).unwrap();
        line.select.select(&Host::system()).unwrap()
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
    fn the_options_are_compared_with_the_expected_tuple_and_those_of_the_master_with_its_own() {
        let bytes = include_bytes!("../../../../../tests/data/expectations.bin");
        let event = ExpectationEvent::decode(&Messages::new(bytes).next().unwrap().unwrap()).unwrap();
        let Expectation { tuple, master, .. } = event.expectation;
        let (src, dst, master_dst) = (tuple.src.to_string(), tuple.dst.to_string(), master.dst.to_string());
        for words in [
            &[][..],
            &["--src", &src, "--dst", &dst, "--proto", "tcp", "--family", "ipv4"],
            &["--sport", "0", "--dport", "1800", "--helper", "ftp,sip"],
            &["--dport", "1000-2000", "--master-dport", "2121", "--master-dst", &master_dst],
            &["-s", "0.0.0.0/0", "--helper", "any"],
        ] {
            assert!(select(words).matches(&event.expectation), "{words:?}");
        }
        for words in [
            &["--dport", "2121"][..],
            &["--master-dport", "1800"],
            &["--proto", "udp"],
            &["--family", "ipv6"],
            &["--helper", "sip"],
            &["--src", "192.0.2.77"],
            &["--master-src", "192.0.2.77"],
        ] {
            assert!(!select(words).matches(&event.expectation), "{words:?}");
        }
        let zone = select(&["-w", "5,7"]);
        assert!(zone.matches_zone(5) && zone.matches_zone(7) && !zone.matches_zone(0));
        assert!(select(&["--zone", "0"]).matches_zone(0));
    }

    #[test]
    fn the_error_in_a_value_names_the_option_as_it_was_given() {
        let line = Line::try_parse_from(["x", "--master-sport", "fnord"]).unwrap();
        let error = line.select.select(&Host::system()).unwrap_err().to_string();
        assert!(error.contains("--master-sport fnord"), "{error}");
        assert!(!line.select.is_empty() && Line::try_parse_from(["x"]).unwrap().select.is_empty());
    }
}
