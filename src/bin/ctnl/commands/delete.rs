//! `ctnl delete`.

use anyhow::{Context, Result, anyhow};
use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::table::{Outcome, Target, delete};

use super::args::CommonArgs;
use super::format::FormatArgs;
use super::get::print;
use super::lookup::{EntryArgs, Lookup, find, why_missing};
use crate::host::ssh;
use crate::term::console::Console;
use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl delete tcp 10.0.0.1:40000 10.0.0.2:443
  ctnl delete 'udp src=10.0.0.1 dst=10.0.0.2 sport=5060 dport=5060 zone=5' --id 1234567890
      With the id that `ctnl list -o id` printed: an entry that was created since has another one.

The entry is fetched and printed to stdout, and deleted by the tuple, zone and id that it has.
Exit code 1 when there is no such entry. `ctnl help get` has the lines that can be pasted.";

/// Delete the entry of one exact tuple
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    entry: EntryArgs,

    /// Print the entry, delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete it even if it is your own SSH session
    #[arg(long)]
    no_spare_ssh: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let mut writer = args.format.writer(host)?;
    let mut console = args.common.console();
    let mut lookup = args.entry.lookup(&args.common, host)?;
    let Some(flow) = find(&mut lookup.connection, &lookup.named)? else {
        console.warn(&why_missing(&mut lookup, !args.common.is_quiet()));
        return Ok(Exit::Failed);
    };
    let Lookup { named, mut connection } = lookup;
    if !args.no_spare_ssh && is_own_session(&flow, host, &mut console)? {
        return Ok(Exit::Failed);
    }
    let target = Target::of(&flow).context("refusing to delete the entry: a delete cannot identify it")?;
    let mut is_deleted = false;
    if !args.dry_run {
        let mut outcome = Outcome::default();
        // The search for the own session may have taken long: another entry may have the tuple by now.
        if find(&mut connection, &named)?.is_some_and(|now| now.id == flow.id && now.orig == flow.orig) {
            delete(&mut connection, &[target], &mut outcome)?;
        } else {
            outcome.gone = 1;
        }
        if let Some(errno) = outcome.failed.keys().next() {
            let errno = nix::errno::Errno::from_raw(*errno);
            return Err(anyhow!("delete the entry: {errno:?}: {}", errno.desc()));
        }
        is_deleted = outcome.gone == 0;
        console.note(if outcome.gone > 0 { "already gone" } else { "1 deleted" });
    }
    match print(&flow, &mut writer, &mut connection, host) {
        // The entry is deleted, whatever becomes of its line.
        Err(error) if is_deleted => {
            console.warn(&format!("ctnl: {error:#}"));
            Ok(Exit::Partly)
        }
        printed => printed.map(|()| Exit::Done),
    }
}

/// Whether `flow` carries an SSH session that may be the user's; the reason is printed.
fn is_own_session(flow: &Flow, host: &Host, console: &mut Console) -> Result<bool> {
    let own = ssh::own_sessions(host)?;
    let is_own = own.include(flow);
    if let Some(warning) = own.warning() {
        console.warn(&warning);
    }
    if is_own {
        console.warn(if own.include_all_of_server() {
            "refusing to delete a connection of this host's SSH server: it may be your own session (override with \
             --no-spare-ssh)"
        } else {
            "refusing to delete your own SSH session (override with --no-spare-ssh)"
        });
    }
    Ok(is_own)
}
