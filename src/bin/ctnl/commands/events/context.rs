//! What stands on every line: the stream, the host, `--field` and `--time`.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::output::{Format, LineContext};
use jiff::tz::TimeZone;

use crate::host::files;
use crate::term::exit::usage;

/// The longest sum of all fields. A line must not exceed 8 KiB, the default maximum of syslog servers.
const MAX_BYTES: usize = 1024;

/// Fields of the operator.
#[derive(Debug, clap::Args)]
pub struct ContextArgs {
    /// Field for every line of json (in `fields`) and csv (as a column); may be given several times
    #[arg(long = "field", value_name = "KEY=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,

    /// Times of lines: numbers (ns), or beside them RFC 3339 in UTC (iso) or in local time (iso-local)
    ///
    /// In json and csv it is the key or column `time`; in -o conntrack the line begins with it, in the
    /// place of the seconds of `timestamp`.
    #[arg(long = "time", value_name = "FORMAT", value_enum, default_value_t = TimeArg::Ns)]
    time: TimeArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TimeArg {
    Ns,
    Iso,
    IsoLocal,
}

impl ContextArgs {
    /// What stands on every line of the stream of this name.
    pub fn context(&self, host: &Host, stream: &str, format: &Format) -> Result<LineContext> {
        let fields = &self.fields;
        if !fields.is_empty() && !format.events.as_ref().is_some_and(|events| events.has_context) {
            return Err(usage(format!(
                "--field: format '{}' has no place for it\n  hint: -o json or -o csv",
                format.name
            )));
        }
        let repeated = |(index, (key, _)): (usize, &(String, String))| {
            fields.iter().take(index).any(|(other, _)| other == key).then(|| key.clone())
        };
        if let Some(key) = fields.iter().enumerate().find_map(repeated) {
            return Err(usage(format!("--field {key} is given twice")));
        }
        let bytes: usize = fields.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MAX_BYTES {
            return Err(usage(format!("--field: {bytes} bytes on every line: expected at most {MAX_BYTES}")));
        }
        let name = host.kernel().read_text("hostname").unwrap_or_default();
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        let zone = match self.time {
            TimeArg::Ns => None,
            TimeArg::Iso => Some(TimeZone::UTC),
            TimeArg::IsoLocal => Some(files::time_zone(host)),
        };
        Ok(LineContext { stream: stream.to_owned(), host: name, fields: fields.clone(), zone })
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, e.g. site=ams1")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !key.starts_with(|first: char| first.is_ascii_alphabetic()) || !key.bytes().all(is_name) {
        return Err(format!("invalid key '{key}': expected a letter, then letters, digits, '_', '-' and '.'"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::clock::Clock;
    use ctnl::output::{CONNTRACK, CSV, JSON};

    use super::*;

    fn context(fields: &[&str], format: &Format) -> Result<LineContext, String> {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), Clock::system());
        std::fs::create_dir_all(host.kernel().root()).unwrap();
        std::fs::write(host.kernel().root().join("hostname"), "fw1\n").unwrap();
        let fields = fields.iter().map(|text| field(text)).collect::<Result<_, _>>()?;
        ContextArgs { fields, time: TimeArg::Iso }.context(&host, "s", format).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_and_the_name_of_the_host_stand_on_every_line() {
        for format in [&JSON, &CSV] {
            let context = context(&["site=a=b", "x.y-z_1="], format).unwrap();
            assert_eq!(context.zone, Some(TimeZone::UTC));
            assert_eq!((&*context.stream, context.host.as_deref()), ("s", Some("fw1")));
            assert_eq!(context.fields, [("site".into(), "a=b".into()), ("x.y-z_1".into(), String::new())]);
        }
        assert!(context(&[], &CONNTRACK).is_ok());
    }

    #[test]
    fn a_field_that_no_line_could_have_is_refused() {
        let long = format!("a={}", "x".repeat(MAX_BYTES));
        for (fields, why) in [
            (&["site"][..], "expected KEY=VALUE"),
            (&["=x"], "invalid key ''"),
            (&["1a=x"], "invalid key '1a'"),
            (&["a b=x"], "invalid key 'a b'"),
            (&["a=1", "b=2", "a=3"], "--field a is given twice"),
            (&[&*long], "expected at most 1024"),
        ] {
            let refused = context(fields, &JSON).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        assert!(context(&["a=1"], &CONNTRACK).unwrap_err().contains("format 'conntrack' has no place"));
    }
}
