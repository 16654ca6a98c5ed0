//! `-o` of an event stream.

use anyhow::Result;
use ctnl::field::field;
use ctnl::host::Host;
use ctnl::output::{EventOptions, EventWriter, Format, TextOptions};

use crate::commands::format::{hint_for, parse};
use crate::host::files;
use crate::term::exit::{nth_item_span, usage_at};

/// How records are written.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// Format: json (default), conntrack, csv; options of the conntrack format: extended, id,
    /// timestamp, ktimestamp, labels
    #[arg(long, short, value_name = "FORMAT[,OPTION…]", default_value = "json")]
    output: String,

    /// Columns of csv: names of fields, with commas
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    columns: Option<Vec<String>>,
}

impl OutputArgs {
    /// The writer that was asked for.
    pub fn writer(&self, host: &Host) -> Result<EventWriter> {
        let output = &*self.output;
        let (format, text) = parse(output, host).map_err(|word| {
            let hint =
                "\n  hint: formats are json, conntrack, csv; options are extended, id, timestamp, ktimestamp, labels";
            let what = format!("`{word}` is neither a format nor an option of one");
            usage_at("-o", output, nth_item_span(output, &word, 0), &what, hint)
        })?;
        let text = match format {
            Format::Json => TextOptions { labels: Some(files::labels(host)), ..text },
            _ => text,
        };
        EventWriter::new(format, EventOptions { columns: self.columns.clone(), text }).map_err(|error| {
            let columns = self.columns.as_deref().unwrap_or_default();
            match columns.iter().find(|name| field(name).is_none()) {
                Some(name) => {
                    let list = columns.join(",");
                    usage_at("--columns", &list, nth_item_span(&list, name, 0), &error.to_string(), &hint_for(name))
                }
                None => usage_at("-o", output, 0..output.len(), &error.to_string(), ""),
            }
        })
    }
}
