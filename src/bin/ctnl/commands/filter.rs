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
/// Prints the filter as it was understood. Without one, prints the terms.
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
A filter is terms joined by `and`, `or`, `not` and ( ). Terms side by side need an
`and`. A term is a field with a value (`dport 443`), a relation (`bytes > 10M`), a
set (`dport {80, 443, 8000-8080}`, or 80,443), or a word (`tcp`, `assured`).
Relations: = != < <= > >=. `field != x` is `not field = x`. @FILE reads values from a
file, one or more a line, `#` starts a comment. Quote for the shell what it
would take for itself: < > ( ) { } *.

Times have a unit: 90s 10m 12h 5d 1h30m. Sizes may have one: 10k 4M, 10Ki.

What a flow does not have compares false: `dport 443` is false for ICMP, and
`not dport 443` true. What cannot be known is undecided, with or without `not`: an
undecided entry is never matched; commands count them by reason.

idle is the time since the last packet that the tracker accepted, computed from
the time left. `--older D` is `idle >= D`: nothing that had a packet within D is
matched. Undecided are flows in a flowtable, with unacknowledged data or a closed
window, under a timeout policy, with a fixed timeout, with more time left than
today's sysctl gives. One thing a single look cannot show: after a timeout sysctl
was raised, an entry looks idle for the difference until its next packet. Say the
old value (--base-timeout tcp.established=3600) or look twice (--confirm-idle 30).
age is the time since creation, known with net.netfilter.nf_conntrack_timestamp=1.
";

const EXAMPLES: &str = "\
Examples:
  ctnl filter tcp and dport 443 and idle \\> 10m
      What is understood of it; a caret under what is not, and exit code 2.
  ctnl filter --proto udp --dst 203.0.113.0/24
      The same filter in the form of flags.
  ctnl filter
      The language.";

/// What stands behind the flags in `--help`.
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
    text.push_str("\nWORDS\n");
    for keyword in keywords() {
        let _ = writeln!(text, "  {:<16} {}", keyword.name, keyword.doc);
    }
    text
}
