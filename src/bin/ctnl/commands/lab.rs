//! `ctnl lab`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use ctnl::host::Host;

use crate::lab;
use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl lab
      A shell in a private namespace with 10000 entries; 'exit' ends it.
  ctnl lab --entries 200000 -- ctnl flush --state established --older 12h
      Rehearse the emergency on a table as large as the host's.
  ctnl lab --entries 50000 -- sh -c 'ctnl count --by state; ctnl count --by src --top 5'
      Find the source with the most entries (10.66.6.6).
  ctnl lab --seed 7 --keep 3600 -- conntrack -L
      The same table at every start; no entry expires within the hour.

No root is needed. The namespaces have their own conntrack table, addresses, timeouts,
host name and processes; when the command ends, they are removed with every process in
them. /proc/sys is read-only but for the lab's own net. As root, all of the host's files
are read-only too, but for /tmp, /var/tmp and network file systems; /dev/shm is the lab's
own, devices in /dev are the host's. The exit code is the command's, 126 if it cannot be executed, 127 if it does
not exist. Inside, CTNL_LAB is 1, CTNL_LAB_NETNS is the cookie of the network namespace
(Linux 5.14), and 'ctnl' is this very program.";

/// Run a command, or a shell, in private namespaces with a synthetic busy table
///
/// Fills the table of a new network namespace with the entries of a busy gateway: TCP in all states, UDP replied and not, ICMP, GRE, SCTP, ESP, IPv6, NAT
/// both ways, marks, zones, and idle times from seconds to five days.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Number of entries to create, up to the host's nf_conntrack_max
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(0..=50_000_000))]
    entries: u64,

    /// Seed of the table: the same seed and number give the same entries
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Give every entry at least this many seconds left (the idle time of those that then have more
    /// than their timeout is unknown)
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    keep: u32,

    /// Count packets and bytes (nf_conntrack_acct=1 in the lab)
    #[arg(long)]
    acct: bool,

    /// Record when entries are created (nf_conntrack_timestamp=1 in the lab)
    #[arg(long)]
    timestamp: bool,

    /// Quiet: no summary, no progress
    #[arg(long, short)]
    quiet: bool,

    /// Be process 1 of a lab that is being made, and report to this pipe
    #[arg(long = lab::INSIDE, value_name = "PIPE", hide = true)]
    inside: Option<PathBuf>,

    /// The command to run in the lab; default: $SHELL
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command. The process must not have started a thread.
pub fn run(args: Args, host: &Host) -> Result<Exit> {
    let Args { entries, seed, keep, acct, timestamp, quiet, inside, command } = args;
    let options = lab::Options { entries, seed, keep, acct, timestamp, quiet, command };
    match inside {
        None => lab::run(&options, host),
        Some(status) => lab::run_inside(&options, host, &status),
    }
}
