//! `ctnl filter`, and `ctnl help filter`: the filter language.

use std::fmt::Write as _;

use anyhow::Result;
use ctnl::field::{FIELDS, keywords};
use ctnl::host::Host;

use super::args::FilterArgs;
use crate::term::exit::Exit;
use crate::term::stdout::print;

/// Check a filter, or explain the filter language
///
/// Prints the filter in normal form. Without a filter, prints the language.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help())]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let filter = args.filter.filter(host)?;
    let text = if filter.is_empty() { language() } else { format!("{filter}\n") };
    print(text)?;
    Ok(Exit::Done)
}

const GRAMMAR: &str = "\
A filter consists of terms joined by `and`, `or`, `not` and parentheses. A term is a
field with a value (`dport 443`), a comparison (`bytes > 10M`), a set
(`dport {80, 443, 8000-8080}` or `dport 80,443`), or a keyword (`tcp`, `assured`).
Operators: = != < <= > >=. `field != x` means `not field = x`. @FILE reads values from a
file, one or more per line; `#` starts a comment. Quote characters that are special to
the shell: < > ( ) { } *.

Durations: 90s 10m 12h 5d 1h30m; the unit is required. Sizes: 500 10k 4M 10Ki.

A field that an entry does not have compares false: `dport 443` is false for ICMP, and
`not dport 443` is true. A value that cannot be determined is undecided, with or without
`not`: undecided entries never match; commands count them by reason.

idle is the time since the last packet that conntrack accepted. conntrack stores no
last-packet time; ctnl derives it: timeout - remaining. `--older D` is `idle >= D`: no
entry with a packet within D matches. Undecided are flows in a flowtable, with
unacknowledged data or a closed window, under a timeout policy, with a fixed timeout, with
a timeout that flush --soft may have written, GRE flows, entries made over netlink
(conntrackd, a restore; --trust-netlink-timeouts decides these), or with more remaining
time than the current sysctl allows. One sample cannot show that a
timeout sysctl was raised: until its next packet, an entry then seems idle for the
difference. Give the old value (--base-timeout tcp.established=3600) or sample twice
(--confirm-idle 30).
age is the time since creation, known with net.netfilter.nf_conntrack_timestamp=1.
";

const EXAMPLES: &str = "\
Examples:
  ctnl filter tcp and dport 443 and idle \\> 10m
      Prints the filter in normal form; on an error, a caret under it and exit code 2.
  ctnl filter --proto udp --dst 203.0.113.0/24
      A filter from options.
  ctnl filter
      Prints the filter language.";

/// The end of `--help`.
fn help() -> String {
    format!("{EXAMPLES}\n\n{}", language())
}

/// The language, with every field and word of the registry.
pub fn language() -> String {
    let mut text = format!("{GRAMMAR}\nFIELDS\n");
    for field in FIELDS {
        let aliases =
            if field.aliases.is_empty() { String::new() } else { format!(" (also {})", field.aliases.join(", ")) };
        let _ = writeln!(
            text,
            "  {:<16} {}{aliases}\n  {:<16} {}  e.g. {}",
            field.name,
            field.doc,
            "",
            field.value_name(),
            field.example
        );
    }
    text.push_str("\nKEYWORDS\n");
    for keyword in keywords() {
        let _ = writeln!(text, "  {:<16} {}", keyword.name, keyword.doc);
    }
    text
}
