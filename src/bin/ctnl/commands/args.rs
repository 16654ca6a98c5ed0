//! Arguments that several commands share: the filter, the namespace, verbosity.

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use ctnl::filter::{Context, Filter, FilterBuilder, ParseError, flags};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::DumpRequest;
use ctnl::units::{QuantityError, Seconds};

use crate::host::files;
use crate::host::timeout_options::TimeoutOptions;
use crate::term::console::Console;
use crate::term::exit::{usage, usage_at};

const EXPRESSION: &str = "expression";
const BASE_TIMEOUT: &str = "base-timeout";
const TRUST_NETLINK: &str = "trust-netlink-timeouts";
const CONFIRM_IDLE: &str = "confirm-idle";
const HEADING: &str = "Filter (an entry has to match all that is given; see `ctnl help filter`)";

/// Most seconds between two samples: after a longer time, most entries have expired.
const LONGEST_WAIT: u64 = 86_400;

/// Short options, as in conntrack(8).
const SHORT: [(&str, char); 6] =
    [("src", 's'), ("dst", 'd'), ("proto", 'p'), ("mark", 'm'), ("status", 'u'), ("zone", 'w')];

/// An expression and filter flags: the same for every command that takes them.
#[derive(Debug, Clone, Default)]
pub struct FilterArgs {
    words: Vec<String>,
    flags: Vec<(&'static str, String)>,
    base_timeouts: Vec<String>,
    trust_netlink_timeouts: bool,
    /// Seconds between two samples.
    pub confirm_idle: Option<u64>,
}

impl clap::Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        let expression = Arg::new(EXPRESSION)
            .num_args(0..)
            .value_name("EXPRESSION")
            .help("Filter expression, e.g. tcp and dport 443 and idle \\> 10m")
            .help_heading(HEADING);
        let command = flags().fold(command.arg(expression), |command, flag| {
            let short = SHORT.iter().find(|(name, _)| *name == flag.name).map(|(_, letter)| *letter);
            let arg = Arg::new(flag.name).long(flag.name).value_name(flag.value_name).help(flag.doc);
            let arg = arg.help_heading(HEADING).hide_short_help(!is_frequent(flag.name));
            command.arg(match short {
                Some(letter) => arg.short(letter),
                None => arg,
            })
        });
        command.arg(base_timeout_arg()).arg(trust_netlink_arg()).arg(confirm_idle_arg())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn base_timeout_arg() -> Arg {
    Arg::new(BASE_TIMEOUT)
        .long(BASE_TIMEOUT)
        .value_name("NAME=TIME")
        .action(ArgAction::Append)
        .help("Timeout that was in force before its sysctl was changed, e.g. tcp.established=5d")
        .help_heading(HEADING)
        .hide_short_help(true)
}

fn trust_netlink_arg() -> Arg {
    Arg::new(TRUST_NETLINK)
        .long(TRUST_NETLINK)
        .action(ArgAction::SetTrue)
        .help("Compute idle times also of entries made over netlink (conntrackd, conntrack -I, a restore)")
        .help_heading(HEADING)
        .hide_short_help(true)
}

fn confirm_idle_arg() -> Arg {
    Arg::new(CONFIRM_IDLE)
        .long(CONFIRM_IDLE)
        .value_name("TIME")
        .value_parser(|text: &str| seconds(text, LONGEST_WAIT))
        .help("Sample twice, TIME apart (30s, 5m; +3 s margin); match only entries without a packet in between")
        .long_help(
            "Sample twice, TIME apart (30s, 5m, or a number of seconds; +3 s margin); match only entries that match \
             both times and had no packet in between. Uses 64 bytes of memory for each entry that matches the first \
             time",
        )
        .help_heading(HEADING)
}

/// A time from one second to `longest` seconds, with units or in seconds.
pub fn seconds(text: &str, longest: u64) -> Result<u64, String> {
    let Seconds(seconds) = text.parse().map_err(|error: QuantityError| error.to_string())?;
    if (1..=longest).contains(&seconds) { Ok(seconds) } else { Err(format!("{text} is not in 1..={longest} seconds")) }
}

/// Flags that `-h` shows; `--help` shows all.
fn is_frequent(flag: &str) -> bool {
    matches!(
        flag,
        "proto" | "src" | "dst" | "addr" | "sport" | "dport" | "state" | "status" | "nat" | "zone" | "mark" | "older"
    )
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let words = matches.get_many::<String>(EXPRESSION).into_iter().flatten().cloned().collect();
        let flags = flags().filter_map(|flag| Some((flag.name, matches.get_one::<String>(flag.name)?.clone())));
        Ok(FilterArgs {
            words,
            flags: flags.collect(),
            base_timeouts: matches.get_many::<String>(BASE_TIMEOUT).into_iter().flatten().cloned().collect(),
            trust_netlink_timeouts: matches.get_flag(TRUST_NETLINK),
            confirm_idle: matches.get_one::<u64>(CONFIRM_IDLE).copied(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FilterArgs {
    /// Those of an expression alone, with the same options.
    #[cfg(feature = "top")]
    pub fn with_expression(&self, text: &str) -> Self {
        FilterArgs { words: vec![text.to_owned()], flags: Vec::new(), ..self.clone() }
    }

    /// A filter that a command has of its own.
    pub fn of_expression(expression: &str) -> Self {
        FilterArgs { words: vec![expression.to_owned()], ..FilterArgs::default() }
    }

    /// Removes the last word of the expression, which has another meaning.
    pub fn take_last_word(&mut self) -> Option<String> {
        self.words.pop()
    }

    /// Whether an expression or a filter flag is given.
    pub fn is_given(&self) -> bool {
        !self.expression().trim().is_empty() || !self.flags.is_empty()
    }

    /// The expression, without the filter flags.
    pub fn expression(&self) -> String {
        self.words.join(" ")
    }

    /// The filter of these arguments. Where a file of it is empty, that is printed.
    pub fn filter(&self, host: &Host) -> Result<Filter> {
        let filter = self.parse(host)?;
        for path in filter.empty_files() {
            let message = format!("'{path}' contains no values, so nothing matches it");
            Console::new(false, false).warn(&message);
        }
        Ok(filter)
    }

    /// The filter of these arguments.
    pub fn parse(&self, host: &Host) -> Result<Filter> {
        // Without terms, neither services nor labels are read.
        if !self.is_given() {
            return Ok(Filter::default());
        }
        let services = files::services(host);
        let labels = files::labels(host);
        let context =
            Context { services: &services, label: &|name| labels.number(name), read_file: &|path| files::values(path) };
        self.build(&context).map_err(|error| usage(error.render()))
    }

    fn build(&self, context: &Context<'_>) -> Result<Filter, ParseError> {
        let mut builder = FilterBuilder::new(context).expression(&self.expression())?;
        for (name, value) in &self.flags {
            builder = builder.flag(name, value)?;
        }
        builder.build()
    }

    /// The options that idle times depend on.
    pub fn timeout_options(&self) -> Result<TimeoutOptions> {
        let parse = |text: &String| {
            text.parse().map_err(|error: ctnl::age::PreviousTimeoutError| {
                usage_at("--base-timeout", text, error.span.clone(), &error.to_string(), "")
            })
        };
        let previous_timeouts = self.base_timeouts.iter().map(parse).collect::<Result<_>>()?;
        Ok(TimeoutOptions {
            previous_timeouts,
            trust_netlink_timeouts: self.trust_netlink_timeouts,
            confirms_idle: self.confirm_idle.is_some(),
        })
    }
}

/// How the table is dumped, for commands that only read.
#[derive(Debug, Clone, clap::Args)]
pub struct ScanArgs {
    /// Let the kernel filter the dump as far as it can (costs: see --help)
    ///
    /// The kernel compares exact IPv4 addresses, protocol, TCP and UDP ports, mark, status bits,
    /// zone and family; every entry is checked again. Fewer entries are copied, but a filter that
    /// few entries match keeps this processor from handling packets (bottom halves are off) while
    /// the tables of all namespaces are walked: 0.2 s for a million entries.
    #[arg(long, conflicts_with = "jobs")]
    kernel_filter: bool,

    /// Dump the table on N processors (1 or 2)
    ///
    /// With 2, two sockets dump the ASSURED entries and the others. An entry that becomes ASSURED
    /// meanwhile may be missing; one that is dumped twice is shown once, which takes 10 bytes of
    /// memory for each entry.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    jobs: u8,
}

impl ScanArgs {
    /// The request for the dump.
    pub fn request(&self, filter: &Filter) -> DumpRequest {
        if self.kernel_filter { filter.dump_request() } else { DumpRequest::default() }
    }

    /// With `--jobs 2`, the two requests of `split`; if it returns none, prints a note with the
    /// reason.
    pub fn halves(
        &self,
        console: &mut Console,
        split: impl FnOnce() -> Result<[DumpRequest; 2], &'static str>,
    ) -> Option<[DumpRequest; 2]> {
        if self.jobs != 2 {
            return None;
        }
        split().map_err(|why| console.note(&format!("--jobs 2 is not used: {why}"))).ok()
    }
}

/// The network namespace, and verbosity.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonArgs {
    /// Network namespace: a name of `ip netns`, a PID, or a path [default: the current one]
    #[arg(long, value_name = "NAME|PID|PATH")]
    netns: Option<String>,

    /// Quiet: no summary, no progress
    #[arg(long, short)]
    quiet: bool,

    /// Verbose output
    #[arg(long, short)]
    verbose: bool,
}

impl CommonArgs {
    /// The namespace to work in. A number that is also a name of `ip netns` is
    /// refused: the process of that number is most likely in the host's namespace.
    pub fn netns(&self) -> Result<Netns> {
        let Some(word) = self.netns.as_deref() else { return Ok(Netns::Current) };
        let netns = Netns::parse(word);
        let named = Netns::named(word);
        let exists = |netns: &Netns| matches!(netns, Netns::Path(path) if path.exists());
        if netns != named && !word.contains('/') && exists(&named) {
            if !exists(&netns) {
                return Ok(named);
            }
            return Err(usage(format!(
                "--netns {word}: both a process and a name of `ip netns`\n  hint: write the path, \
                 /run/netns/{word} or /proc/{word}/ns/net"
            )));
        }
        Ok(netns)
    }

    /// `--netns` as it was given.
    pub fn netns_argument(&self) -> Option<&str> {
        self.netns.as_deref()
    }

    /// A connection to the kernel in that namespace. Open a second one with
    /// [`Connection::reopen`]: by then the name may refer to another namespace.
    pub fn connect(&self) -> Result<Connection> {
        Ok(Connection::open(&self.netns()?)?)
    }

    /// Whether verbose output is requested.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Whether notes and hints are left out.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A console with this verbosity.
    pub fn console(&self) -> Console {
        Console::new(self.quiet, self.verbose)
    }
}
