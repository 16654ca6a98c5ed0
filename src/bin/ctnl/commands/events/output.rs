//! `-o` of an event stream.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::output::{EventWriter, Format, WriterError, WriterOptions};

use crate::commands::format::{FormatNames, Parsed, columns_error, parse};
use crate::term::exit::usage_at;

/// The format of records.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// Format, with the options of the format: conntrack,id
    #[arg(long, short, value_name = "FORMAT[,OPTION…]", default_value = "json",
          value_parser = FormatNames { events: true })]
    output: String,

    /// Columns of csv: field names, separated by commas
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    columns: Option<Vec<String>>,
}

impl OutputArgs {
    /// The chosen format, and its writer.
    pub fn writer(&self, host: &Host) -> Result<(&'static Format, EventWriter)> {
        let output = &*self.output;
        let Parsed { format, text, .. } = parse(output, true, host)?;
        let options = WriterOptions { columns: self.columns.clone(), text };
        let writer = format.event_writer(options).map_err(|error| match error {
            WriterError::UnknownColumn(_) => columns_error(self.columns.as_deref(), &error),
            _ => usage_at("-o", output, 0..output.len(), &error.to_string(), ""),
        })?;
        Ok((format, writer))
    }

    /// What was requested and will be missing.
    pub fn note(&self, host: &Host) -> Option<&'static str> {
        parse(&self.output, true, host).ok().and_then(|parsed| parsed.note)
    }
}
