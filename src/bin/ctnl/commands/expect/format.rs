//! `-o`: the formats of expectations.

use ctnl::model::Expectation;
use ctnl::output::{expectation_json, expectation_line};

/// The format of expectations.
#[derive(Debug, Clone, clap::Args)]
pub struct FormatArgs {
    /// Format
    #[arg(long, short, value_enum, default_value_t = Format::Conntrack, value_name = "FORMAT")]
    output: Format,

    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines of `conntrack -L expect`
    Conntrack,
    /// One object per line, as in event records
    Json,
}

impl FormatArgs {
    /// Appends the line of `expectation`, whose master is in zone `zone` where that is known. conntrack(8) does not
    /// print the zone.
    pub fn put(&self, out: &mut Vec<u8>, expectation: &Expectation, zone: Option<u16>) {
        if self.json || self.output == Format::Json {
            expectation_json(out, &Expectation { zone: expectation.zone.or(zone), ..expectation.clone() });
        } else {
            expectation_line(out, expectation);
        }
    }

    /// The line alone.
    pub fn line(&self, expectation: &Expectation, zone: Option<u16>) -> Vec<u8> {
        let mut line = Vec::new();
        self.put(&mut line, expectation, zone);
        line
    }
}
