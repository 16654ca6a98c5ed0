//! The virtual machine as a whole: its modules, its settings, its log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sched::{CloneFlags, setns};

/// Loads every module of the initramfs, in its order.
pub fn load_all_modules() -> io::Result<()> {
    order()?.iter().try_for_each(|(name, _)| insert(name))
}

/// Loads one module and what it needs. What is built in is not among the files.
pub fn load_module(name: &str) -> io::Result<()> {
    let order = order()?;
    if let Some((_, needs)) = order.iter().find(|(module, _)| module == name) {
        needs.iter().try_for_each(|needed| load_module(needed))?;
        insert(name)?;
    }
    Ok(())
}

/// Whether `name` is a module of this kernel, and not a part of its image.
pub fn is_module(name: &str) -> bool {
    fs::exists(format!("/lib/modules/{name}.ko")).unwrap_or(false)
}

/// Names of modules and of those that each needs.
fn order() -> io::Result<Vec<(String, Vec<String>)>> {
    let text = fs::read_to_string("/lib/modules/order")?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = text.lines().map(words).filter(|words| !words.is_empty());
    Ok(lines.map(|mut words| (words.remove(0), words)).collect())
}

fn insert(name: &str) -> io::Result<()> {
    let file = File::open(format!("/lib/modules/{name}.ko"))?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(io::Error::other(format!("load the module {name}: {errno}"))),
    }
}

/// Writes a setting.
pub fn write(path: &str, value: impl ToString) -> io::Result<()> {
    fs::write(path, value.to_string()).map_err(|error| io::Error::new(error.kind(), format!("write {path}: {error}")))
}

/// A line in the kernel's log.
pub fn note(line: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(line.as_bytes());
    }
}

/// What the kernel has logged since the machine was started.
pub fn log() -> String {
    let mut log = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg").expect("kmsg");
    let (mut text, mut buffer) = (String::new(), [0; 8192]);
    loop {
        match log.read(&mut buffer) {
            Ok(length) => text += &String::from_utf8_lossy(&buffer[..length]),
            // The record was overwritten: the next read continues after it.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
            Err(_) => return text,
        }
    }
}

/// Runs `work` on a thread in the initial network namespace, which has the sysctls of all namespaces.
pub fn in_first_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let namespace = File::open("/proc/1/ns/net").expect("the first namespace");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("enter it");
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Sets `nf_conntrack_max` of all namespaces; restored when this is dropped.
pub struct Maximum(String);

impl Maximum {
    pub const PATH: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

    pub fn set(entries: u32) -> Self {
        in_first_namespace(|| {
            let before = fs::read_to_string(Self::PATH).expect("the maximum");
            write(Self::PATH, entries).expect("a maximum");
            Maximum(before.trim().to_owned())
        })
    }
}

impl Drop for Maximum {
    fn drop(&mut self) {
        in_first_namespace(|| write(Self::PATH, &self.0)).expect("the maximum as it was");
    }
}

/// The kernel's release as two numbers.
pub fn release() -> (u32, u32) {
    static RELEASE: OnceLock<(u32, u32)> = OnceLock::new();
    *RELEASE.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
        let mut numbers = text.split(['.', '-', '+']).map_while(|word| word.trim().parse().ok());
        (numbers.next().expect("a number"), numbers.next().expect("two numbers"))
    })
}

/// The kernel's exact release: Debian's version where the kernel has it, since many versions have the
/// same `osrelease`.
pub fn exact_release() -> String {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let version = read("/proc/sys/kernel/version");
    let of_debian = version.split_whitespace().skip_while(|word| *word != "Debian").nth(1);
    of_debian.map_or_else(|| read("/proc/sys/kernel/osrelease").trim().to_owned(), str::to_owned)
}
