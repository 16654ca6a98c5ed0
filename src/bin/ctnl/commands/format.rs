//! `-o` and `--columns`: the format of entries, for all commands that print entries.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

use anyhow::Result;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};
use ctnl::field::{FIELDS, field};
use ctnl::host::Host;
use ctnl::output::{
    CONNTRACK, FORMATS, Format, FormatOption, JSON, TABLE, TextOptions, Writer, WriterError, WriterOptions,
};
use ctnl::text::nearest;

use crate::host::files;
use crate::term::exit::{nth_item_span, usage_at};

/// The format of entries.
#[derive(Debug, clap::Args)]
pub struct FormatArgs {
    /// Format [default: table on a terminal, conntrack in a pipe], with the options of the format:
    /// conntrack,id or json,labels
    #[arg(long, short, value_name = "FORMAT[,OPTION…]", value_parser = FormatNames { events: false })]
    output: Option<String>,

    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,

    /// Columns of table, csv and json: field names, separated by commas
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    columns: Option<Vec<String>>,
}

/// Lists the formats of the registry in the help and in shell completions. The value is parsed later.
#[derive(Debug, Clone)]
pub(super) struct FormatNames {
    /// Only formats of event streams.
    pub events: bool,
}

impl TypedValueParser for FormatNames {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(formats(self.events).map(|format| PossibleValue::new(format.name).help(help_of(format)))))
    }
}

/// The formats of entries, or those of event streams.
fn formats(events: bool) -> impl Iterator<Item = &'static Format> {
    FORMATS.iter().copied().filter(move |format| !events || format.events.is_some())
}

fn help_of(format: &Format) -> String {
    match format.options {
        [] => format.doc.into(),
        options => format!("{}; options: {}", format.doc, option_names(options)),
    }
}

fn option_names(options: &[FormatOption]) -> String {
    options.iter().map(|option| option.name()).collect::<Vec<_>>().join(", ")
}

impl FormatArgs {
    /// The writer of the chosen format.
    pub fn writer(&self, host: &Host) -> Result<Writer> {
        let (format, text) = self.parse(host)?;
        let options = WriterOptions { columns: self.columns.clone(), text };
        format.writer(options).map_err(|error| columns_error(self.columns.as_deref(), &error))
    }

    /// The chosen format.
    pub fn format(&self, host: &Host) -> Result<&'static Format> {
        self.parse(host).map(|(format, _)| format)
    }

    fn parse(&self, host: &Host) -> Result<(&'static Format, TextOptions)> {
        let has_table = io::stdout().is_terminal() || self.columns.is_some();
        match self.output.as_deref() {
            _ if self.json => parse("json", false, host),
            Some(output) => parse(output, false, host),
            None => Ok((if has_table { &TABLE } else { &CONNTRACK }, TextOptions::default())),
        }
    }
}

/// The usage error for `--columns` with an unknown field, or with a format without columns.
pub(super) fn columns_error(columns: Option<&[String]>, error: &WriterError) -> anyhow::Error {
    let columns = columns.unwrap_or_default();
    let unknown = columns.iter().find(|name| field(name).is_none());
    let hint = unknown.map(|name| hint_for(name)).unwrap_or_default();
    let list = columns.join(",");
    let at = unknown.map_or(0..list.len(), |name| nth_item_span(&list, name, 0));
    usage_at("--columns", &list, at, &error.to_string(), &hint)
}

/// Parses `FORMAT[,OPTION…]`; options alone select the conntrack format, as with conntrack(8).
pub(super) fn parse(output: &str, events: bool, host: &Host) -> Result<(&'static Format, TextOptions)> {
    let mut names = output.split(',').peekable();
    let named = names.peek().and_then(|name| Format::from_name(name));
    if named.is_some() {
        names.next();
    }
    let format = named.unwrap_or(&CONNTRACK);
    let mut text = TextOptions::default();
    if *format == JSON {
        text.labels = Some(files::labels(host));
    }
    for name in names {
        match format.options.iter().find(|option| option.name() == name) {
            Some(option) => set(&mut text, *option, host),
            None => return Err(unknown_option(output, name, named, events)),
        }
    }
    Ok((format, text))
}

fn set(text: &mut TextOptions, option: FormatOption, host: &Host) {
    match option {
        FormatOption::Extended => text.extended = true,
        FormatOption::Id => text.id = true,
        FormatOption::Timestamp => text.timestamp = true,
        FormatOption::Ktimestamp => {
            text.ktimestamp = true;
            text.zone = Some(files::time_zone(host));
        }
        FormatOption::Labels => text.labels = Some(files::labels(host)),
        _ => {}
    }
}

fn unknown_option(output: &str, option: &str, named: Option<&Format>, events: bool) -> anyhow::Error {
    let at = nth_item_span(output, option, 0);
    let (text, hint) = match named {
        None => {
            let names: Vec<&str> = formats(events).map(|format| format.name).collect();
            let options = option_names(CONNTRACK.options);
            let hint = format!("\n  hint: formats are {}; options of conntrack are {options}", names.join(", "));
            (format!("unknown format or option '{option}'"), hint)
        }
        Some(format) if format.options.is_empty() => {
            (format!("format '{}' has no option '{option}'", format.name), "\n  hint: it has no options".into())
        }
        Some(format) => {
            let hint = format!("\n  hint: its options are {}", option_names(format.options));
            (format!("format '{}' has no option '{option}'", format.name), hint)
        }
    };
    usage_at("-o", output, at, &text, &hint)
}

/// The hint for an unknown field.
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
    fn options_without_a_format_select_conntrack() {
        let (format, text) = parse("extended,id", false, &Host::system()).unwrap();
        assert_eq!((format.name, text.extended, text.id), ("conntrack", true, true));
        assert_eq!(parse("json", false, &Host::system()).unwrap().0.name, "json");
    }

    #[test]
    fn the_error_of_an_unknown_option_lists_the_options_of_the_format() {
        let error = |output| parse(output, false, &Host::system()).unwrap_err().to_string();
        let text = error("json,id");
        assert!(text.contains("format 'json' has no option 'id'") && text.contains("its options are labels"), "{text}");
        assert!(error("table,labels").contains("it has no options"));
        assert!(error("fnord").contains("unknown format or option 'fnord'"));
    }

    #[test]
    fn every_option_of_the_registry_is_accepted_and_sets_something() {
        let host = Host::system();
        for format in FORMATS {
            for option in format.options {
                assert!(parse(&format!("{},{}", format.name, option.name()), false, &host).is_ok());
                let mut text = TextOptions::default();
                set(&mut text, *option, &host);
                let is_set = text.extended || text.id || text.timestamp || text.ktimestamp || text.labels.is_some();
                assert!(is_set, "{}", option.name());
            }
        }
    }
}
