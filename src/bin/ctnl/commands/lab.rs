//! `ctnl lab`.

use std::ffi::OsString;

use anyhow::Result;
use ctnl::host::Host;

use crate::lab;

const EXAMPLES: &str = "\
Examples:
  ctnl lab
      A shell in a private namespace with 10000 entries; 'exit' ends it.
  ctnl lab --entries 200000 -- ctnl flush --state established --older 12h
      Rehearse the emergency on a table as large as the host's.
  ctnl lab --entries 50000 -- sh -c 'ctnl count --by state; ctnl count --by src --top 5'
      Who fills the table? (10.66.6.6 does.)
  ctnl lab --seed 7 --keep 3600 -- conntrack -L
      The same table at every start, of which nothing expires within the hour.

No root is needed. The namespace has its own table, addresses and timeouts; the
host's are out of reach, and everything is gone when the command ends. Its exit
code is the lab's. CTNL_LAB=1 is set inside, and 'ctnl' is this very program.";

/// Run a command, or a shell, in a private namespace with a made-up busy table
///
/// Fills the table of a new network namespace with entries as a busy gateway has
/// them: TCP in all states, UDP replied and not, ICMP, GRE, SCTP, ESP, IPv6, NAT
/// both ways, marks, zones, and idle times from seconds to five days.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// How many entries to make; the host's nf_conntrack_max is the limit
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(0..=50_000_000))]
    entries: u64,

    /// Which table: the same seed and number give the same entries
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Let no entry expire within this many seconds (some then have more time left
    /// than their timeout, so their idle time is unknown)
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    keep: u32,

    /// Count packets and bytes (nf_conntrack_acct=1 in the lab)
    #[arg(long)]
    acct: bool,

    /// Note when entries were made (nf_conntrack_timestamp=1 in the lab)
    #[arg(long)]
    timestamp: bool,

    /// Do not say what was made
    #[arg(long, short)]
    quiet: bool,

    /// What to run in the lab; without it, $SHELL
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Becomes the command, and so returns only when the lab could not be made. The
/// process must not have started a thread.
pub fn run(args: Args, host: &Host) -> Result<u8> {
    let Args { entries, seed, keep, acct, timestamp, quiet, command } = args;
    match lab::run(&lab::Options { entries, seed, keep, acct, timestamp, quiet, command }, host)? {}
}
