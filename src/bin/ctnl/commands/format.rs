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
    /// conntrack,id
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
        let row = |format: &Format| PossibleValue::new(format.name).help(help_of(format, self.events));
        Some(Box::new(formats(self.events).map(row)))
    }
}

/// The formats of entries, or those of event streams.
fn formats(events: bool) -> impl Iterator<Item = &'static Format> {
    FORMATS.iter().copied().filter(move |format| !events || format.events.is_some())
}

fn help_of(format: &Format, events: bool) -> String {
    match format.options_for(events) {
        [] => format.doc.into(),
        options => format!("{}; options: {}", format.doc, option_names(options)),
    }
}

fn option_names(options: &[FormatOption]) -> String {
    options.iter().map(|option| option.name()).collect::<Vec<_>>().join(", ")
}

/// What a command that prints entries prints them with.
#[derive(Debug)]
pub struct Chosen {
    /// The format.
    pub format: &'static Format,
    /// Its writer.
    pub writer: Writer,
    /// What was requested and will be missing.
    pub note: Option<&'static str>,
}

impl FormatArgs {
    /// The chosen format with its writer.
    pub fn choose(&self, host: &Host) -> Result<Chosen> {
        let Parsed { format, text, note } = self.parse(host)?;
        let options = WriterOptions { columns: self.columns.clone(), text };
        let writer = format.writer(options).map_err(|error| columns_error(self.columns.as_deref(), &error))?;
        Ok(Chosen { format, writer, note })
    }

    /// The writer of the chosen format.
    pub fn writer(&self, host: &Host) -> Result<Writer> {
        self.choose(host).map(|chosen| chosen.writer)
    }

    fn parse(&self, host: &Host) -> Result<Parsed> {
        let has_table = io::stdout().is_terminal() || self.columns.is_some();
        match self.output.as_deref() {
            _ if self.json => parse("json", false, host),
            Some(output) => parse(output, false, host),
            None => {
                let format = if has_table { &TABLE } else { &CONNTRACK };
                Ok(Parsed { format, text: TextOptions::default(), note: None })
            }
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

/// A format with its options.
pub(super) struct Parsed {
    pub format: &'static Format,
    pub text: TextOptions,
    pub note: Option<&'static str>,
}

const NO_NAMES: &str = "-o labels: no label is shown, since /etc/xtables/connlabel.conf has no names\n  \
                        hint: -o json and --columns label show numbers";

/// Parses `FORMAT[,OPTION…]`; options alone select the conntrack format, as with conntrack(8). An option that
/// would change nothing is an error.
pub(super) fn parse(output: &str, events: bool, host: &Host) -> Result<Parsed> {
    let mut names = output.split(',').peekable();
    let named = names.peek().and_then(|name| Format::from_name(name));
    if named.is_some() {
        names.next();
    }
    let format = named.unwrap_or(&CONNTRACK);
    let mut parsed = Parsed { format, text: TextOptions::default(), note: None };
    if *format == JSON {
        parsed.text.labels = Some(files::labels(host));
    }
    for name in names {
        match format.options_for(events).iter().find(|option| option.name() == name) {
            Some(option) => set(&mut parsed.text, *option, host),
            None => return Err(unknown_option(output, name, named, events)),
        }
        if name == FormatOption::Labels.name() && parsed.text.labels.as_ref().is_some_and(|names| names.is_empty()) {
            parsed.note = Some(NO_NAMES);
        }
    }
    Ok(parsed)
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
    let is_of_events = option == FormatOption::Timestamp.name() && !events;
    let text = match named {
        None if !is_of_events => format!("unknown format or option '{option}'"),
        named => format!("format '{}' has no option '{option}'", named.unwrap_or(&CONNTRACK).name),
    };
    let hint = match named {
        _ if is_of_events => {
            "it is the time of an event; ktimestamp and the field start show when an entry was created".into()
        }
        None => {
            let names: Vec<&str> = formats(events).map(|format| format.name).collect();
            let options = option_names(CONNTRACK.options_for(events));
            format!("formats are {}; options of conntrack are {options}", names.join(", "))
        }
        Some(format) if format.always.iter().any(|known| known.name() == option) => {
            let columns = if format.has_columns { ", with --columns as a column" } else { "" };
            format!("{} shows it without an option{columns}", format.name)
        }
        Some(format) if format.options_for(events).is_empty() && format.has_columns => {
            "it has no options; --columns selects the fields".into()
        }
        Some(format) if format.options_for(events).is_empty() => "it has no options".into(),
        Some(format) => format!("its options are {}", option_names(format.options_for(events))),
    };
    usage_at("-o", output, at, &text, &format!("\n  hint: {hint}"))
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
        let Parsed { format, text, .. } = parse("extended,id", false, &Host::system()).unwrap();
        assert_eq!((format.name, text.extended, text.id), ("conntrack", true, true));
        assert_eq!(parse("json", false, &Host::system()).unwrap().format.name, "json");
    }

    fn error(output: &str, events: bool) -> String {
        parse(output, events, &Host::system()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_error_of_an_option_that_would_change_nothing_says_why() {
        for (output, hint) in [
            ("json,fnord", "it has no options"),
            ("json,id", "json shows it without an option"),
            ("json,labels", "json shows it without an option"),
            ("xml,id", "xml shows it without an option"),
            ("xml,fnord", "its options are ktimestamp, labels"),
            ("conntrack,fnord", "its options are extended, id, ktimestamp, labels"),
            ("conntrack,timestamp", "it is the time of an event"),
            ("timestamp", "it is the time of an event"),
            ("json,timestamp", "it is the time of an event"),
            ("table,labels", "--columns selects the fields"),
            ("csv,id", "--columns selects the fields"),
            ("fnord", "formats are table, conntrack, json, csv, xml, save"),
        ] {
            assert!(error(output, false).contains(hint), "{output}: {}", error(output, false));
        }
        assert_eq!(error("conntrack,timestamp", true), "");
        assert!(error("json,timestamp", true).contains("json shows it without an option"));
        assert!(error("fnord", false).contains("unknown format or option 'fnord'"));
    }

    /// A host with these label names.
    fn host_with(names: &str) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("etc/xtables")).unwrap();
        std::fs::write(folder.path().join("etc/xtables/connlabel.conf"), names).unwrap();
        let host = Host::at(folder.path(), ctnl::clock::Clock::system());
        (folder, host)
    }

    #[test]
    fn every_option_of_the_registry_is_accepted_and_sets_something() {
        let (_folder, host) = host_with("1 one\n");
        for format in FORMATS {
            for events in [false, format.events.is_some()] {
                for option in format.options_for(events) {
                    let output = format!("{},{}", format.name, option.name());
                    assert!(parse(&output, events, &host).is_ok_and(|parsed| parsed.note.is_none()), "{output}");
                    let mut text = TextOptions::default();
                    set(&mut text, *option, &host);
                    let is_set = text.extended || text.id || text.timestamp || text.ktimestamp || text.labels.is_some();
                    assert!(is_set, "{}", option.name());
                }
            }
        }
    }

    #[test]
    fn a_note_says_that_labels_without_names_are_not_shown() {
        let (folder, host) = host_with("# no name\n");
        let note = |output: &str| parse(output, false, &host).map(|parsed| parsed.note).unwrap();
        assert!(note("labels").is_some());
        std::fs::remove_file(folder.path().join("etc/xtables/connlabel.conf")).unwrap();
        assert!(note("labels").is_some() && note("xml,labels").is_some() && note("json").is_none());
        assert!(parse("labels", true, &host).is_ok_and(|parsed| parsed.note.is_some()));
    }
}
