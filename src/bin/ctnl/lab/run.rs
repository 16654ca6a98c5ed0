//! The lab from beginning to end.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ctnl::age::TimeoutContext;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table;

use super::fill::{failures, fill};
use super::namespace;
use super::population::{Population, has_udp_lite};

/// What the lab is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Entries to make.
    pub entries: u64,
    /// Which entries.
    pub seed: u64,
    /// Seconds that every entry lasts at least.
    pub keep: u32,
    /// Count packets and bytes.
    pub acct: bool,
    /// Note when entries were made.
    pub timestamp: bool,
    /// Say nothing.
    pub quiet: bool,
    /// What to run; a shell when empty.
    pub command: Vec<OsString>,
}

/// Makes the lab and becomes the command in it: so signals, terminal and exit
/// code are the command's own, and the namespace goes when it goes. Returns only
/// when something failed.
///
/// The process must have no second thread yet.
pub fn run(options: &Options, host: &Host) -> Result<std::convert::Infallible> {
    let started = host.clock.now().monotonic;
    // The path is looked up before anything changes.
    let own_folder = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    namespace::enter(host)?;
    if let Err(error) = namespace::raise_loopback() {
        say(options, &format!("{error:#}"));
    }
    for (name, _) in [("acct", options.acct), ("timestamp", options.timestamp)].iter().filter(|(_, on)| *on) {
        namespace::set_sysctl(host, name, 1)?;
    }
    let made = populate(options, host)?;
    say(
        options,
        &format!(
            "{made} entries in a private namespace, made in {:.1} s",
            Duration::from(host.clock.now().monotonic.since(started)).as_secs_f64()
        ),
    );
    become_command(options, own_folder.as_deref())
}

/// Fills the table; the number of entries made.
fn populate(options: &Options, host: &Host) -> Result<u64> {
    let mut connection = Connection::open(&Netns::Current)?;
    let max = table::count(&mut connection).context("cannot ask for the table's size")?.max.unwrap_or(0);
    let timeouts = TimeoutContext::read(&mut connection, &host.netfilter(), &host.kernel(), Vec::new())?.timeouts;
    let (count, clamped) = clamped(options.entries, max.into());
    clamped.into_iter().for_each(|words| say(options, &words));
    let population = Population {
        count,
        timeouts,
        shortest: options.keep.max(1),
        // Only where it is loaded: to ask the kernel for it would load it into the host.
        ftp_helper: host.path("/sys/module/nf_conntrack_ftp").exists(),
        udp_lite: has_udp_lite(),
        ..Population::new(options.seed, 0)
    };
    let outcome = fill(&mut connection, &population)?;
    if outcome.failures() > 0 {
        say(options, &format!("{} entries could not be made: {}", outcome.failures(), failures(&outcome)));
    }
    Ok(outcome.done)
}

/// As many entries as fit. The maximum is one number for all namespaces, and only
/// the host's own may set it.
fn clamped(entries: u64, max: u64) -> (u64, Option<String>) {
    if max == 0 || entries <= max {
        return (entries, None);
    }
    let words = format!(
        "{max} entries instead of {entries}: this host's net.netfilter.nf_conntrack_max is {max}, and cannot be \
         raised from a private namespace"
    );
    (max, Some(words))
}

fn become_command(options: &Options, own_folder: Option<&Path>) -> Result<std::convert::Infallible> {
    let (program, arguments) = match options.command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => {
            say(options, "this shell is inside; 'exit' ends the lab");
            (env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()), [].as_slice())
        }
    };
    let mut command = Command::new(&program);
    command.args(arguments).env("CTNL_LAB", "1");
    if let Some(folder) = own_folder {
        command.env("PATH", path_with_first(folder)?);
    }
    Err(anyhow!(command.exec())).with_context(|| format!("cannot run {}", program.display()))
}

/// `PATH` with `folder` in front, so that `ctnl` in the lab is this very program.
fn path_with_first(folder: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).context("the program's own folder cannot stand in PATH")
}

fn say(options: &Options, line: &str) {
    if !options.quiet {
        // Nobody left to read it is no reason to stop.
        let _ = writeln!(std::io::stderr(), "ctnl lab: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_entries_is_clamped_to_the_maximum_and_the_figure_is_named() {
        let (count, words) = clamped(300_000, 262_144);
        assert_eq!(count, 262_144);
        assert!(words.is_some_and(|words| words.contains("nf_conntrack_max is 262144")));
        assert_eq!(clamped(262_144, 262_144), (262_144, None));
    }

    #[test]
    fn a_maximum_of_zero_is_no_limit() {
        assert_eq!(clamped(300_000, 0), (300_000, None));
    }
}
