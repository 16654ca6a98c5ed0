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
Operators: = != < <= > >=. `field != x` means `not field = x`. Quote characters that are
special to the shell: < > ( ) { } *.

@FILE reads values from a file, one or more per line; `#` and `;` start a comment, and @-
is standard input. A file without values is a set that matches nothing, with a warning;
flush refuses to exclude such a set (`not src @FILE`) without --all.

Addresses: 192.0.2.1, 10.0.0.0/8, 10.0.0.1-10.0.0.9, 2001:db8::/32, [2001:db8::1]. An
IPv4-mapped address (::ffff:192.0.2.1, prefixes from /96 on) is the IPv4 address.
Marks: 16, 0x10/0xff (the bits of the mask only), 5-9. Labels: a name of connlabel.conf, a
decimal bit number, or VALUE/MASK of all 128 bits (0x1/0x3), as Open vSwitch writes them.

A state is that of TCP, SCTP and DCCP, if they have it: `time_wait` is also DCCP's
TIMEWAIT, and `close` SCTP's CLOSED; both spellings mean both. A state that TCP does not
have needs its protocol: `dccp and state open`, `--proto sctp --state cookie_wait`.

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
(--confirm-idle 30s).
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
