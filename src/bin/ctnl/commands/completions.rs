//! `ctnl completions`.

use anyhow::Result;
use clap_complete::{Shell, generate};

use crate::term::exit::Exit;
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl completions bash > /etc/bash_completion.d/ctnl
  ctnl completions zsh > /usr/local/share/zsh/site-functions/_ctnl
  ctnl completions fish > ~/.config/fish/completions/ctnl.fish";

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub fn run(args: &Args, mut program: clap::Command) -> Result<Exit> {
    let mut text = Vec::new();
    generate(args.shell, &mut program, "ctnl", &mut text);
    print(&text)?;
    Ok(Exit::Done)
}
