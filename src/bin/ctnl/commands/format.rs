//! `-o`: the format of entries, for every command that prints some.

use std::io::{self, IsTerminal};

use anyhow::Result;
use ctnl::field::{FIELDS, field};
use ctnl::host::Host;
use ctnl::output::{FORMATS, Format, TextOptions, Writer, WriterOptions};
use ctnl::text::nearest;

use crate::host::files;
use crate::term::exit::{nth_item_span, usage_at};

/// How entries are printed.
#[derive(Debug, clap::Args)]
pub struct FormatArgs {
    /// Format: table (default on a terminal), conntrack (default in a pipe), json, csv, xml;
    /// options of the conntrack format: extended, id, timestamp, ktimestamp, labels
    #[arg(long, short, value_name = "FORMAT[,OPTION…]")]
    output: Option<String>,

    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,

    /// Columns of table, csv and json: names of fields, with commas
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    columns: Option<Vec<String>>,
}

impl FormatArgs {
    /// The writer that was asked for.
    pub fn writer(&self, host: &Host) -> Result<Writer> {
        let (format, text) = self.format(host)?;
        let text = match format {
            Format::Json => TextOptions { labels: Some(files::labels(host)), ..text },
            _ => text,
        };
        let options = WriterOptions { columns: self.columns.clone(), text };
        Writer::new(format, options).map_err(|error| {
            let columns = self.columns.as_deref().unwrap_or_default();
            let unknown = columns.iter().find(|name| field(name).is_none());
            let hint = unknown.map(|name| hint_for(name)).unwrap_or_default();
            let list = columns.join(",");
            let at = unknown.map_or(0..list.len(), |name| nth_item_span(&list, name, 0));
            usage_at("--columns", &list, at, &error.to_string(), &hint)
        })
    }

    /// Whether the format shows idle times.
    pub fn shows_ages(&self, host: &Host) -> Result<bool> {
        Ok(!matches!(self.format(host)?.0, Format::Conntrack | Format::Xml))
    }

    fn format(&self, host: &Host) -> Result<(Format, TextOptions)> {
        if self.json {
            return Ok((Format::Json, TextOptions::default()));
        }
        let Some(output) = self.output.as_deref() else {
            let for_a_person = io::stdout().is_terminal() || self.columns.is_some();
            return Ok((if for_a_person { Format::Table } else { Format::Conntrack }, TextOptions::default()));
        };
        parse(output, host).map_err(|word| {
            let formats: Vec<&str> = FORMATS.iter().map(|row| row.name).collect();
            let hint = format!(
                "\n  hint: formats are {}; options are extended, id, timestamp, ktimestamp, labels",
                formats.join(", ")
            );
            let what = format!("`{word}` is neither a format nor an option of one");
            usage_at("-o", output, nth_item_span(output, &word, 0), &what, &hint)
        })
    }
}

/// Reads `FORMAT[,OPTION…]`; options alone mean conntrack(8)'s format. An error
/// is the word that is neither.
pub(super) fn parse(output: &str, host: &Host) -> Result<(Format, TextOptions), String> {
    let mut words = output.split(',').peekable();
    let format = words.peek().and_then(|word| Format::from_name(word));
    if format.is_some() {
        words.next();
    }
    let mut text = TextOptions::default();
    for word in words {
        match word {
            "extended" => text.extended = true,
            "id" => text.id = true,
            "timestamp" => text.timestamp = true,
            "ktimestamp" => {
                text.ktimestamp = true;
                text.zone = Some(files::time_zone(host));
            }
            "labels" => text.labels = Some(files::labels(host)),
            unknown => return Err(unknown.to_owned()),
        }
    }
    Ok((format.unwrap_or(Format::Conntrack), text))
}

/// What to write instead of a field that does not exist.
pub fn hint_for(name: &str) -> String {
    match nearest(name, FIELDS.iter().filter(|field| field.column).map(|field| field.name)) {
        Some(near) => format!("\n  hint: did you mean {near}?"),
        None => "\n  hint: `ctnl help filter` lists the fields".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_alone_mean_the_conntrack_format() {
        let (format, text) = parse("extended,id", &Host::system()).unwrap();
        assert_eq!((format, text.extended, text.id), (Format::Conntrack, true, true));
        assert_eq!(parse("json", &Host::system()).unwrap().0, Format::Json);
        assert_eq!(parse("json,fnord", &Host::system()).unwrap_err(), "fnord");
    }
}
