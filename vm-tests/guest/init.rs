//! Process 1: mounts file systems, loads modules, runs the cases of the kernel's command line, reports
//! on the second serial port, and powers off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use vm_tests::cases::{Machine, named};
use vm_tests::report::Report;

use crate::{disk, host, running};

/// What programs are started with.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Never returns: the kernel panics when process 1 ends.
pub fn run() -> ! {
    let error = system().err().map(|error| format!("the guest could not start: {error}"));
    let words = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let mut mode = RebootMode::RB_POWER_OFF;
    if words.split_whitespace().any(|word| word == "vm.shell") {
        shell(&words);
    } else {
        match report(&words, error) {
            Ok(Next::PowerOff) => {}
            // Without a sync: what a program has written has to be on the disk already.
            Ok(Next::Reboot) => mode = RebootMode::RB_AUTOBOOT,
            Err(lost) => eprintln!("cannot report: {lost}"),
        }
    }
    let _ = reboot(mode);
    loop {
        std::thread::park();
    }
}

fn system() -> io::Result<()> {
    // /tmp is in memory without a mount, and the programs may be below it, where they were built.
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")] {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)?;
    }
    // For pseudoterminals.
    fs::create_dir_all("/dev/pts")?;
    mount(Some("devpts"), "/dev/pts", Some("devpts"), MsFlags::empty(), Some("ptmxmode=0666"))?;
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777))?;
    // There are no other threads yet, and the children inherit it.
    Command::new("ip").args(["link", "set", "lo", "up"]).env("PATH", PATH).status()?;
    Ok(())
}

/// The value of `key=value` among the kernel's words.
fn word<'a>(words: &'a str, key: &str) -> &'a str {
    words.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
}

/// Loads the modules that this machine starts with.
fn prepare(words: &str) -> io::Result<()> {
    match Machine::named(word(words, "vm.machine")) {
        Some(Machine::Bare) => Ok(()),
        Some(Machine::Disk) => disk::boot(PATH),
        Some(Machine::Small) => host::load_all_modules(),
        Some(Machine::Large) => {
            host::load_all_modules()?;
            // A machine of this size would have less by default.
            host::write("/proc/sys/net/netfilter/nf_conntrack_buckets", 65_536)?;
            host::write("/proc/sys/net/netfilter/nf_conntrack_max", 1_048_576)
        }
        None => Err(io::Error::other("vm.machine on the kernel's command line is none that is known")),
    }
}

/// What the machine does after its cases.
enum Next {
    PowerOff,
    Reboot,
}

fn report(words: &str, mut error: Option<String>) -> io::Result<Next> {
    let mut port = port()?;
    if error.is_none() {
        error = prepare(words).err().map(|error| format!("the guest could not be prepared: {error}"));
    }
    write_report(&mut port, &Report::Booted { release: host::exact_release() })?;
    if error.is_none() {
        for name in word(words, "vm.cases").split(',').filter(|name| !name.is_empty()) {
            let Some(case) = named(name) else { continue };
            write_report(&mut port, &Report::Began { case: name.to_owned() })?;
            host::note(&format!("vm-tests: begin {name}"));
            let ended = running::run(case, PATH);
            host::note(&format!("vm-tests: end {name}"));
            write_report(&mut port, &ended)?;
            if matches!(ended, Report::Rebooting { .. }) {
                return Ok(Next::Reboot);
            }
        }
    }
    write_report(&mut port, &Report::Finished { error })?;
    Ok(Next::PowerOff)
}

/// The second serial port, in raw mode.
fn port() -> io::Result<File> {
    let port = OpenOptions::new().read(true).write(true).open("/dev/ttyS1")?;
    let mut settings = tcgetattr(&port)?;
    cfmakeraw(&mut settings);
    tcsetattr(&port, SetArg::TCSANOW, &settings)?;
    Ok(port)
}

fn write_report(port: &mut File, report: &Report) -> io::Result<()> {
    port.write_all(format!("{}\n", report.to_line()).as_bytes())?;
    Ok(nix::sys::termios::tcdrain(&*port)?)
}

fn shell(words: &str) {
    if let Err(error) = prepare(words) {
        eprintln!("{error}");
    }
    let name = "guest";
    eprintln!("'{name} CASE' runs a case; ctnl, conntrack, nft, ip and busybox are in the path");
    let ended = Command::new("setsid").args(["cttyhack", "sh"]).env("PATH", PATH).env("HOME", "/root").status();
    if let Err(error) = ended {
        eprintln!("no shell: {error}");
    }
}
