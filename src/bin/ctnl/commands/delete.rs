//! `ctnl delete`.

use anyhow::{Context, Result, anyhow};
use ctnl::host::Host;
use ctnl::table::{Outcome, Target, delete};

use super::args::CommonArgs;
use super::format::FormatArgs;
use super::get::{EntryArgs, find, print};
use crate::host::ssh;
use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl delete tcp 10.0.0.1:40000 10.0.0.2:443
  ctnl delete 'udp src=10.0.0.1 dst=10.0.0.2 sport=5060 dport=5060 zone=5' --id 1234567890
      With the id that `ctnl list -o id` showed, so that no newer entry is meant.

The entry is looked up first and deleted as it was found: tuple, zone and id.
It is printed to stdout. Exit code 1 when there is none.";

/// Delete the entry of one exact tuple
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    entry: EntryArgs,

    /// Only show what would be deleted
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
    let named = args.entry.named()?;
    let mut writer = args.format.writer(host)?;
    let mut console = args.common.console();
    let mut connection = args.common.connect()?;
    let Some(flow) = find(&mut connection, &named)? else {
        console.warn("there is no such entry");
        return Ok(Exit::Failed);
    };
    if !args.no_spare_ssh && ssh::own_sessions(host).iter().any(|session| session.is_carried_by(&flow)) {
        console.warn("this is your own SSH session: it is spared (--no-spare-ssh deletes it)");
        return Ok(Exit::Failed);
    }
    let target = Target::of(&flow).context("the entry cannot be named for certain, so it is not deleted")?;
    if !args.dry_run {
        let mut outcome = Outcome::default();
        delete(&mut connection, &[target], &mut outcome)?;
        if let Some(errno) = outcome.failed.keys().next() {
            let errno = nix::errno::Errno::from_raw(*errno);
            return Err(anyhow!("delete the entry: {errno:?}: {}", errno.desc()));
        }
        console.note(if outcome.gone > 0 { "it was gone already" } else { "1 deleted" });
    }
    print(&flow, &mut writer, &mut connection)?;
    Ok(Exit::Done)
}
