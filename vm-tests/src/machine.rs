//! A virtual machine: runs QEMU and reads its results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ctnl_test_support::command::succeed;
use vm_tests::cases::{Case, Machine, named};
use vm_tests::report::Report;
use wait4::Wait4;

use crate::initramfs::find;

/// What to boot.
#[derive(Debug)]
pub struct Boot<'a> {
    pub vmlinuz: &'a Path,
    pub initramfs: &'a Path,
    pub machine: Machine,
    pub accelerator: Accelerator,
    /// Where the logs go.
    pub folder: &'a Path,
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU itself.
    Software,
}

/// The results of a boot.
#[derive(Debug, Default)]
pub struct BootResult {
    pub reports: Vec<Report>,
    /// The kernel's log and what the programs wrote on the console.
    pub console: String,
    /// Why the runner killed it.
    pub ended: Option<String>,
    /// Processor time that QEMU took.
    pub cpu: Duration,
}

/// From power on to the first report. Two processors, emulated, on a busy machine.
const BOOTED_WITHIN: Duration = Duration::from_secs(180);
/// The most boots of one run: a case that reboots for ever is ended.
const MAX_BOOTS: usize = 8;
/// From the end of one case to the beginning of the next, and to power off.
const BETWEEN: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

impl Boot<'_> {
    /// Boots, runs `cases` and powers off; boots again as often as a case reboots.
    pub fn run(&self, cases: &[&Case]) -> Result<BootResult> {
        for log in ["console", "results", "qemu"] {
            fs::write(self.folder.join(log), "")?;
        }
        if let Some(disk) = self.disk() {
            make_disk(&disk)?;
        }
        let mut result = self.boot(cases)?;
        for _ in 1..MAX_BOOTS {
            let Some(Report::Rebooting { case }) = result.reports.last().filter(|_| result.ended.is_none()) else {
                break;
            };
            let done = cases.iter().take_while(|other| other.name != case).count();
            let cpu = result.cpu;
            result = self.boot(cases.get(done..).unwrap_or_default())?;
            result.cpu += cpu;
        }
        Ok(result)
    }

    /// One boot. Its logs are added to those of the boots before.
    fn boot(&self, cases: &[&Case]) -> Result<BootResult> {
        let (console, results) = (self.folder.join("console"), self.folder.join("results"));
        let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        let mut command = self.command(&format!("vm.machine={} vm.cases={}", self.machine.name(), names.join(",")));
        command.args(["-display", "none", "-monitor", "none"]);
        for (name, path) in [("console", &console), ("results", &results)] {
            let path = path.display().to_string().replace(',', ",,");
            command.arg("-chardev").arg(format!("file,id={name},append=on,path={path}"));
            command.args(["-serial", &format!("chardev:{name}")]);
        }
        let log = fs::File::options().append(true).create(true).open(self.folder.join("qemu"))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("run QEMU")?;
        Watch { child, console, results, log: self.folder.join("qemu") }.until_end()
    }

    /// Boots to a shell on this terminal.
    pub fn shell(&self) -> Result<()> {
        if let Some(disk) = self.disk() {
            make_disk(&disk)?;
        }
        let mut command = self.command(&format!("vm.machine={} vm.shell quiet", self.machine.name()));
        command.args(["-display", "none", "-serial", "mon:stdio", "-serial", "null"]);
        command.status().context("run QEMU")?;
        Ok(())
    }

    /// The image of the machine's disk.
    fn disk(&self) -> Option<PathBuf> {
        (self.machine == Machine::Disk).then(|| self.folder.join("disk"))
    }

    fn command(&self, words: &str) -> Command {
        // A runner that is killed takes its guests with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        let accelerator: &[&str] = match self.accelerator {
            Accelerator::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // Both processors in one thread: with a thread each, a processor now and then runs
            // what the other has just patched (a kernel that dies of its own int3 while it
            // boots), and atomic instructions take three times as long.
            // Without cmpxchg16b, after which QEMU 7.2 sometimes has flags of its own: a
            // double fault in the allocator, a third of a second after power on.
            Accelerator::Software => &["-accel", "tcg,thread=single", "-cpu", "max,-cx16"],
        };
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-smp", "2"]).args(accelerator);
        command.args(["-m", &self.machine.memory().to_string()]);
        command.arg("-kernel").arg(self.vmlinuz).arg("-initrd").arg(self.initramfs);
        if let Some(disk) = self.disk() {
            let disk = disk.display().to_string().replace(',', ",,");
            command.arg("-drive").arg(format!("if=virtio,format=raw,file={disk}"));
        }
        // An oops ends the machine at once; nothing waits for randomness.
        let kernel = "console=ttyS0 panic=-1 oops=panic random.trust_cpu=on loglevel=7 printk.devkmsg=on";
        // Else what the guest starts with may have half of the memory: too little on 7.3.
        let root = if self.machine == Machine::Small { "rootfstype=ramfs" } else { "" };
        command.arg("-append").arg(format!("{kernel} {root} {words}"));
        command
    }
}

/// Makes an empty disk. Every kernel of the matrix can mount an ext3, which has a journal.
fn make_disk(path: &Path) -> Result<()> {
    let mke2fs = find("mke2fs").context("no mke2fs (package e2fsprogs)")?;
    let _ = fs::remove_file(path);
    succeed(Command::new(mke2fs).args(["-q", "-F", "-t", "ext3"]).arg(path).arg("16M"))?;
    Ok(())
}

/// A running QEMU.
struct Watch {
    child: Child,
    console: PathBuf,
    results: PathBuf,
    log: PathBuf,
}

impl Watch {
    fn until_end(mut self) -> Result<BootResult> {
        let (mut known, mut since) = (0, Instant::now());
        let ended = loop {
            let is_over = self.child.try_wait_without_reaping()?;
            let reports = read_reports(&self.results);
            if reports.len() > known {
                (known, since) = (reports.len(), Instant::now());
            }
            if is_over {
                break None;
            }
            if let Some(why) = overdue(reports.last(), since.elapsed()) {
                self.child.kill()?;
                break Some(why);
            }
            thread::sleep(POLL_INTERVAL);
        };
        let used = self.child.wait4()?;
        let console = String::from_utf8_lossy(&fs::read(&self.console)?).into_owned();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let ended =
            ended.or_else(|| (!used.status.success()).then(|| format!("QEMU: {}: {}", used.status, log.trim())));
        Ok(BootResult {
            reports: read_reports(&self.results),
            console,
            ended,
            cpu: used.rusage.utime + used.rusage.stime,
        })
    }
}

/// Whether a process has ended, without reaping it: its resource usage is read later.
trait TryWait {
    fn try_wait_without_reaping(&mut self) -> Result<bool>;
}

impl TryWait for Child {
    fn try_wait_without_reaping(&mut self) -> Result<bool> {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.id())?);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(!matches!(waitid(Id::Pid(process), flags)?, WaitStatus::StillAlive))
    }
}

/// Whole lines only: the last may be incomplete.
pub fn read_reports(path: &Path) -> Vec<Report> {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(Report::from_line).collect()
}

/// Why a guest whose last report is `last` has exceeded its time limit.
fn overdue(last: Option<&Report>, silent: Duration) -> Option<String> {
    let (limit, doing) = match last {
        None => (BOOTED_WITHIN, "booting".to_owned()),
        Some(Report::Began { case }) => {
            (named(case).map_or(BETWEEN, |case| case.limit) + BETWEEN, format!("in {case}"))
        }
        Some(Report::Rebooting { case }) => (BOOTED_WITHIN, format!("rebooting in {case}")),
        Some(Report::Finished { .. }) => (BETWEEN, "powering off".to_owned()),
        Some(_) => (BETWEEN, "between two cases".to_owned()),
    };
    (silent > limit).then(|| format!("no report for {} s, {doing}", silent.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_without_reports_is_killed() {
        assert_eq!(overdue(None, BOOTED_WITHIN), None);
        assert!(overdue(None, BOOTED_WITHIN + POLL_INTERVAL).is_some_and(|why| why.contains("booting")));
        let rebooting = Report::Rebooting { case: "reboot".into() };
        assert_eq!(overdue(Some(&rebooting), BOOTED_WITHIN), None);
        assert!(overdue(Some(&rebooting), BOOTED_WITHIN + POLL_INTERVAL).is_some_and(|why| why.contains("in reboot")));
        let began = Report::Began { case: "flush".into() };
        assert_eq!(overdue(Some(&began), BETWEEN * 2), None);
        assert!(overdue(Some(&began), Duration::from_secs(3600)).is_some_and(|why| why.contains("in flush")));
    }
}
