//! `ctnl man`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl man /usr/local/share/man/man1
  ctnl man . && man ./ctnl-flush.1";

/// Write man pages, one for each command, to a directory
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The directory; created if it does not exist
    directory: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, program: clap::Command) -> Result<Exit> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| format!("create the directory {}", directory.display()))?;
    clap_mangen::generate_to(program, directory)
        .with_context(|| format!("write man pages to {}", directory.display()))?;
    Ok(Exit::Done)
}
