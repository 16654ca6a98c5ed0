//! The lab from beginning to end, in two processes: the one that the user started enters the
//! namespaces and waits (`run`); its child is process 1 of the PID namespace, makes the lab and starts
//! the command (`run_inside`).

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ctnl::age::TimeoutContext;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{geteuid, pipe2};

use super::fill::{failures, fill};
use super::init::{self, Ended};
use super::outside;
use super::population::{Population, has_udp_lite};
use super::{mounts, namespace};
use crate::host::procfs;
use crate::host::timeout_options::LAB_COOKIE;
use crate::term::console::Console;
use crate::term::exit::Exit;

/// The parameters of a lab.
#[derive(Debug, Clone)]
pub struct Options {
    /// Entries to create.
    pub entries: u64,
    /// Seed of the population.
    pub seed: u64,
    /// Lower bound of every entry's timeout, in seconds.
    pub keep: u32,
    /// Count packets and bytes.
    pub acct: bool,
    /// Record when entries are created.
    pub timestamp: bool,
    /// No notes.
    pub quiet: bool,
    /// The command; a shell when empty.
    pub command: Vec<OsString>,
}

/// The hidden option by which a lab starts its process 1; its value is the status pipe.
pub const INSIDE: &str = "inside";

/// The variable that is set in a lab.
const IN_LAB: &str = "CTNL_LAB";

/// Exit codes of a command that was not started, as shells have them.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Makes a lab, runs the command in it and ends as the command does. The process must have a single
/// thread.
pub fn run(options: &Options, host: &Host) -> Result<Exit> {
    procfs::require(host, "lab")?;
    // The path is read before /proc becomes that of the lab.
    let proc = host.proc();
    let own = std::fs::read_link(proc.join("self")).context("find the own process in /proc")?;
    namespace::enter(host)?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).context("make a pipe")?;
    let status = proc.join(own).join("fd").join(writer.as_raw_fd().to_string());
    let mut command = Command::new(proc.join("self/exe"));
    command.arg0("ctnl").args(arguments(options, &status));
    let init = command.spawn().context("start the lab's first process")?;
    outside::wait(host, init, File::from(reader), writer)
}

fn arguments(options: &Options, status: &Path) -> Vec<OsString> {
    let Options { entries, seed, keep, acct, timestamp, quiet, command } = options;
    let mut arguments: Vec<OsString> = vec!["lab".into(), format!("--{INSIDE}").into(), status.into()];
    arguments
        .extend([format!("--entries={entries}"), format!("--seed={seed}"), format!("--keep={keep}")].map(Into::into));
    let flags = [("--acct", *acct), ("--timestamp", *timestamp), ("--quiet", *quiet)];
    arguments.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).into()));
    arguments.push("--".into());
    arguments.extend(command.iter().cloned());
    arguments
}

/// Makes the lab as process 1 of its namespace and runs the command. `status` is the pipe to the
/// parent.
pub fn run_inside(options: &Options, host: &Host, status: &Path) -> Result<Exit> {
    let mut status = File::options().write(true).open(status).context("open the status pipe")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("end with the parent")?;
    let mut console = Console::new(options.quiet, false);
    let started = host.clock.now().monotonic;
    let own_folder = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    mounts::isolate(host, geteuid().is_root() && outside_user_is_root(host), env::var_os(IN_LAB).is_some())?;
    namespace::drop_host_capabilities();
    if let Err(error) = namespace::raise_loopback() {
        note(&mut console, &format!("{error:#}"));
    }
    for (name, _) in [("acct", options.acct), ("timestamp", options.timestamp)].iter().filter(|(_, on)| *on) {
        namespace::set_sysctl(host, name, 1)?;
    }
    let made = populate(options, host, &mut console)?;
    let seconds = Duration::from(host.clock.now().monotonic.since(started)).as_secs_f64();
    note(&mut console, &format!("{made} entries in a private namespace, made in {seconds:.1} s"));
    let (program, mut command) = command(options, &mut console, own_folder);
    // Nothing of this process is written while the command has the terminal.
    drop(console);
    let ended = init::run(host, &mut command, &mut status).or_else(|error| not_started(&program, error))?;
    init::report(&mut status, ended);
    Ok(match ended {
        Ended::Exit(code) => Exit::Child(code),
        Ended::Signal(signal) => Exit::Child(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)),
    })
}

/// Whether user 0 of this namespace is user 0 of the parent namespace: then the owner of the host's
/// files. Also where the map cannot be read.
fn outside_user_is_root(host: &Host) -> bool {
    let map = std::fs::read_to_string(host.proc().join("self/uid_map")).unwrap_or_default();
    map.split_ascii_whitespace().nth(1).is_none_or(|outside| outside == "0")
}

/// Reports why `program` could not be started; the exit code is that of a shell.
fn not_started(program: &OsString, error: anyhow::Error) -> Result<Ended> {
    let Some(kind) = error.downcast_ref::<io::Error>().map(io::Error::kind) else { return Err(error) };
    let mut console = Console::new(false, false);
    console.warn(&format!("ctnl: cannot run {}: {error}", program.display()));
    Ok(Ended::Exit(if kind == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }))
}

/// Fills the table; the number of entries created.
fn populate(options: &Options, host: &Host, console: &mut Console) -> Result<u64> {
    let mut connection = Connection::open(&Netns::Current)?;
    let max = table::count(&mut connection).context("cannot read the size of the table")?.max.unwrap_or(0);
    let timeouts = TimeoutContext::read(&mut connection, &host.netfilter(), &host.kernel(), Vec::new())?.timeouts;
    let (count, clamped) = clamped(options.entries, max.into());
    clamped.into_iter().for_each(|words| note(console, &words));
    let population = Population {
        count,
        timeouts,
        shortest: options.keep.max(1),
        // Only where it is loaded: an entry with a helper makes the kernel load it, for the whole host
        // (`ctnetlink_create_conntrack` in net/netfilter/nf_conntrack_netlink.c).
        ftp_helper: host.path("/sys/module/nf_conntrack_ftp").exists(),
        udp_lite: has_udp_lite(),
        ..Population::new(options.seed, 0)
    };
    let outcome = fill(&mut connection, &population, console)?;
    if outcome.failures() > 0 {
        note(console, &format!("{} entries could not be created: {}", outcome.failures(), failures(&outcome)));
    }
    Ok(outcome.done)
}

/// As many entries as fit. The maximum is one number for all namespaces, and only
/// the initial one may set it (`nf_conntrack_standalone_init_sysctl` in
/// net/netfilter/nf_conntrack_standalone.c).
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

/// The command, and the name of its program.
fn command(options: &Options, console: &mut Console, own_folder: Option<PathBuf>) -> (OsString, Command) {
    let (program, arguments) = match options.command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => {
            note(console, "this shell is inside; 'exit' ends the lab");
            (env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()), [].as_slice())
        }
    };
    let mut command = Command::new(&program);
    command.args(arguments).env(IN_LAB, "1");
    if let Ok(Some(cookie)) = Netns::current_cookie() {
        command.env(LAB_COOKIE, cookie.to_string());
    }
    match own_folder.map(|folder| path_with_first(&folder)) {
        Some(Ok(path)) => _ = command.env("PATH", path),
        Some(Err(error)) => note(console, &format!("{error:#}: start 'ctnl' inside by its whole path")),
        None => {}
    }
    (program, command)
}

/// `PATH` with `folder` in front, so that `ctnl` in the lab is this very program.
fn path_with_first(folder: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).map_err(|_| {
        anyhow!("the folder of this program cannot be in PATH, it has ':' in its name: '{}'", folder.display())
    })
}

fn note(console: &mut Console, line: &str) {
    console.note(&format!("ctnl lab: {line}"));
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

    #[test]
    fn a_folder_with_a_colon_is_refused_for_path_with_its_name() {
        let error = path_with_first(Path::new("/opt/a:b")).map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("'/opt/a:b'")));
    }
}
