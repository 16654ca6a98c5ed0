//! What is read of the host: once, before any check runs, and as plain values, so that a check is a function that
//! a test calls with a made-up host.

pub mod addresses;
mod boot;
pub mod failover;
mod identity;
mod listeners;
mod log;
mod measurement;
mod namespaces;
mod occupancy;
mod port_growth;
pub mod rules;
mod series;
pub mod survey;
mod window;

use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::units::Seconds;

use self::addresses::Addresses;
use self::failover::Failover;
use self::measurement::Measurement;
use self::rules::Rules;
use self::survey::nat::KnownNat;
use crate::host::conntrack_sysctls::ConntrackSysctls;
use crate::host::table_memory::TableMemory;
use crate::scan::Watch;
use crate::term::console::Console;
use crate::term::interrupt::Interrupt;

pub use self::boot::BootEvidence;
pub use self::identity::Identity;
pub use self::listeners::{Listener, Listeners};
pub use self::log::LogEvidence;
pub use self::namespaces::{NamespaceTable, NamespaceTables};
pub use self::occupancy::OccupancyChange;
pub use self::port_growth::PortGrowth;
pub use self::series::SeriesPoint;
pub use self::survey::Survey;
pub use self::window::{CounterChange, Window};

/// What was read, or why it is missing.
pub type Reading<T> = Result<T, String>;

/// Everything that the checks look at.
#[derive(Debug)]
pub struct Evidence {
    /// The files.
    pub host: Host,
    /// Which host it is.
    pub identity: Identity,
    /// The values of conntrack's sysctls.
    pub sysctls: Reading<ConntrackSysctls>,
    /// What the kernel has logged.
    pub kernel_log: LogEvidence,
    /// The memory of the table and of the host.
    pub memory: TableMemory,
    /// What the next boot sets.
    pub boot: BootEvidence,
    /// The number of entries at both ends of the window.
    pub occupancy: Reading<OccupancyChange>,
    /// The counters over the window.
    pub window: Reading<Window>,
    /// Samples within the window; none where nothing was measured.
    pub series: Vec<SeriesPoint>,
    /// What the dump of the table has shown.
    pub survey: Reading<Survey>,
    /// What was measured twice of NAT ports: those of which over half are in use.
    pub port_growth: Vec<PortGrowth>,
    /// The rules of the firewall.
    pub rules: Reading<Rules>,
    /// Modules that track connections without a rule, as far as they are loaded.
    pub hidden_users: Reading<Vec<&'static str>>,
    /// The addresses of this host.
    pub addresses: Reading<Addresses>,
    /// What moves between this router and another one.
    pub failover: Reading<Failover>,
    /// Who listens to events of entries in this namespace.
    pub listeners: Reading<Listeners>,
    /// The tables of the host's namespaces.
    pub namespaces: Reading<NamespaceTables>,
    /// A signal ended the reading: what was read until then is here.
    pub is_interrupted: bool,
    /// What `--netns` was given, for commands that are to be run in the same namespace.
    pub netns_argument: Option<String>,
}

/// Where the evidence is.
#[derive(Debug, Clone)]
pub struct Source {
    /// The files and the clock.
    pub host: Host,
    /// The network namespace; `None` for files below another root, of which there is no running kernel.
    pub netns: Option<Netns>,
    /// `--netns`, where it was given: then no other namespace is read.
    pub netns_argument: Option<String>,
    /// The time over which counters are measured.
    pub window: Seconds,
}

impl Evidence {
    /// Reads everything. What takes time shows its progress on `console` and ends at a signal.
    pub fn gather(source: &Source, console: &mut Console, interrupt: &Interrupt) -> Self {
        let sysctls = in_netns(source, || ConntrackSysctls::read(&source.host).map_err(|error| cannot_read(&error)));
        let boot = BootEvidence::read(&source.host, is_first_netns(source));
        let path = std::env::var("PATH").unwrap_or_default();
        let requested = || interrupt.requested();
        let rules = in_running_netns(source, "rules", || Ok(rules::read(&source.host, &path, &requested)));
        let hidden_users = in_running_netns(source, "modules", || rules::hidden_users(&source.host));
        let addresses = in_running_netns(source, "addresses", || Addresses::read(&source.host));
        let failover = in_running_netns(source, "processes", || Failover::read(&source.host));
        let listeners = in_running_netns(source, "listeners", || Listeners::read(&source.host));
        let empty = empty_survey(&rules, &addresses, &listeners);
        let Measurement { occupancy, window, series, survey, port_growth, is_interrupted } =
            measure(source, empty, console, interrupt);
        let namespaces = read_namespaces(source);
        let kernel_log = LogEvidence::read(source, &requested);
        let (host, netns_argument) = (source.host.clone(), source.netns_argument.clone());
        Evidence {
            identity: Identity::read(source),
            kernel_log,
            memory: TableMemory::read(&host),
            host,
            sysctls,
            boot,
            occupancy,
            window,
            series,
            survey,
            port_growth,
            rules,
            hidden_users,
            addresses,
            failover,
            listeners,
            namespaces,
            is_interrupted: is_interrupted || interrupt.requested(),
            netns_argument,
        }
    }

    /// A command line of ctnl, to be run in the namespace that was examined: `flush --older 12h` is
    /// `ctnl flush --older 12h`, with `--netns` where this program was given it.
    pub fn command(&self, rest: &str) -> String {
        command_in(self.netns_argument.as_deref(), rest)
    }

    /// Why entries may be copies of those of another router.
    pub fn copied(&self) -> Option<String> {
        self.failover.as_ref().ok()?.copied()
    }

    /// The same where idle entries are to be deleted: copies have no packets here, so that they are idle.
    pub fn idle_copies(&self) -> Option<String> {
        self.copied().map(|why| format!("{why}, which are idle on a standby one and needed after a failover"))
    }

    /// The command line of `ctnl tune set` with `options` of the namespace that was examined: now and at boot, but the
    /// files of the boot set those of the first namespace alone.
    pub fn tune_set(&self, options: &str) -> String {
        let persist = if self.netns_argument.is_some() { "" } else { " --persist" };
        self.command(&format!("tune set {options}{persist}"))
    }
}

/// A command line of ctnl with that `--netns`.
pub fn command_in(netns: Option<&str>, rest: &str) -> String {
    let netns = netns.map(|netns| format!(" --netns {}", shell_word(netns))).unwrap_or_default();
    format!("ctnl {rest}{netns}")
}

/// A word of a command line that is copied into a shell.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Why something of a running kernel is missing with `--root`.
pub fn not_running(what: &str) -> String {
    format!("--root: {what} of a kernel that does not run")
}

/// The survey before it has an entry: what entries are compared with is read before them.
fn empty_survey(rules: &Reading<Rules>, addresses: &Reading<Addresses>, listeners: &Reading<Listeners>) -> Survey {
    let nat = KnownNat::of(rules.as_ref().ok(), addresses.as_ref().ok());
    Survey::beside(nat, listeners.as_ref().ok().and_then(Listeners::first_start))
}

fn measure(source: &Source, survey: Survey, console: &mut Console, interrupt: &Interrupt) -> Measurement {
    let Some(netns) = &source.netns else { return Measurement::missing(&not_running("counters and entries")) };
    match Connection::open(netns) {
        Err(error) => Measurement::missing(&error.to_string()),
        Ok(mut connection) => {
            let mut watch = Watch::new(console, interrupt, &source.host, 0);
            Measurement::take(&mut connection, &source.host, survey, source.window, &mut watch)
        }
    }
}

fn read_namespaces(source: &Source) -> Reading<NamespaceTables> {
    match (&source.netns, &source.netns_argument) {
        (None, _) => Err(not_running("namespaces")),
        (_, Some(netns)) => Err(format!("only the namespace {netns} was read (--netns)")),
        (Some(_), None) => NamespaceTables::read(&source.host),
    }
}

/// Only the first network namespace has the sysctl net.nf_conntrack_max (`nf_conntrack_standalone_init_sysctl` and
/// `nf_ct_netfilter_table` in net/netfilter/nf_conntrack_standalone.c). Files below another root are of that one.
fn is_first_netns(source: &Source) -> bool {
    let path = source.host.path("/proc/sys/net/nf_conntrack_max");
    source.netns.is_none() || in_netns(source, || Ok(path.exists())).unwrap_or(false)
}

fn cannot_read(error: &std::io::Error) -> String {
    format!("/proc/sys/net/netfilter cannot be read: {error}")
}

/// Runs `read` in the namespace of `source`: what /proc/sys/net shows depends on the reading thread.
fn in_netns<T: Send>(source: &Source, read: impl FnOnce() -> Reading<T> + Send) -> Reading<T> {
    match &source.netns {
        Some(netns) => netns.run(read).map_err(|error| error.to_string())?,
        None => read(),
    }
}

/// The same for what only a running kernel has.
fn in_running_netns<T: Send>(source: &Source, what: &str, read: impl FnOnce() -> Reading<T> + Send) -> Reading<T> {
    if source.netns.is_none() {
        return Err(not_running(what));
    }
    in_netns(source, read)
}
