//! The initramfs of a guest: the static programs, busybox, Debian's conntrack, nft and
//! ip with their libraries, and the kernel's modules.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use vm_tests::cases::Machine;

use crate::archive::Archive;
use crate::modules::Module;
use crate::programs::Programs;
use ctnl_test_support::command::lines;

/// Programs of this machine and the Debian packages that have them.
pub const HOST_PROGRAMS: [(&str, &str); 6] = [
    ("busybox", "busybox-static"),
    ("conntrack", "conntrack"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("jq", "jq"),
    ("prlimit", "util-linux"),
];

/// What a Debian boot applies /etc with: programs, their packages, and where they are if not in the path.
const BOOT_PROGRAMS: [(&str, &str, &str); 4] = [
    ("kmod", "kmod", "/bin"),
    ("sysctl", "procps", "/sbin"),
    ("systemd-modules-load", "systemd", "/usr/lib/systemd"),
    ("systemd-sysctl", "systemd", "/usr/lib/systemd"),
];

/// Small files that the C library and the programs read.
const SETTINGS: [&str; 6] = [
    "/etc/protocols",
    "/etc/services",
    "/etc/xtables/connlabel.conf",
    "/usr/share/zoneinfo/Europe/Berlin",
    "/usr/share/zoneinfo/America/St_Johns",
    "/usr/share/zoneinfo/Asia/Tokyo",
];

/// Where a program of this name is.
pub fn find(name: &str) -> Option<PathBuf> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&places).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The archive for `machine`.
pub fn build(machine: Machine, programs: &Programs, modules: &[Module]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var/lib"] {
        archive.folder(folder);
    }
    // For messages of the first process before it has mounted anything.
    archive.device("/dev/console", 5, 1);
    archive.file("/init", &read(&programs.guest)?);
    archive.link("/usr/bin/guest", "/init");
    archive.file("/usr/bin/ctnl", &read(&programs.ctnl)?);
    // The path that is compiled into the project's tests.
    archive.link(&programs.ctnl.display().to_string(), "/usr/bin/ctnl");
    if machine == Machine::Large {
        archive.file("/usr/bin/kernel-tests", &read(&programs.kernel_tests)?);
        archive.file("/usr/bin/peer-tests", &read(&programs.peer_tests)?);
    }
    if machine == Machine::Disk {
        add_boot_programs(&mut archive)?;
    }
    add_host_programs(&mut archive)?;
    add_modules(&mut archive, modules);
    compressed(&archive.finish())
}

/// While it is unpacked it is in memory twice: as it is, a machine of 128 MiB runs out of memory.
fn compressed(archive: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(archive).and_then(|()| encoder.finish()).context("compress the initramfs")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn add_host_programs(archive: &mut Archive) -> Result<()> {
    for (name, package) in HOST_PROGRAMS {
        let path = find(name).with_context(|| format!("no {name} (package {package})"))?;
        archive.file(&format!("/usr/bin/{name}"), &read(&path)?);
        if name == "busybox" {
            add_applets(archive, &path)?;
        } else {
            add_libraries(archive, &path)?;
        }
    }
    for path in SETTINGS.iter().filter(|path| Path::new(path).exists()) {
        archive.file(path, &read(Path::new(path))?);
    }
    Ok(())
}

/// Before busybox, whose applets have the same names.
fn add_boot_programs(archive: &mut Archive) -> Result<()> {
    for (name, package, folder) in BOOT_PROGRAMS {
        let path = find_boot_program(name, folder).with_context(|| format!("no {name} (package {package})"))?;
        archive.file(&format!("/usr/bin/{name}"), &read(&path)?);
        add_libraries(archive, &path)?;
    }
    // Where the kernel looks for it, too.
    for link in ["/usr/bin/modprobe", "/usr/bin/depmod", "/sbin/modprobe"] {
        archive.link(link, "/usr/bin/kmod");
    }
    Ok(())
}

fn find_boot_program(name: &str, folder: &str) -> Option<PathBuf> {
    find(name).or_else(|| Some(Path::new(folder).join(name)).filter(|path| path.is_file()))
}

/// Busybox's applets, except those of programs that are in the archive.
fn add_applets(archive: &mut Archive, busybox: &Path) -> Result<()> {
    if !lines(Command::new("ldd").env("LC_ALL", "C").arg(busybox))
        .is_err_and(|error| format!("{error:#}").contains("not a dynamic"))
    {
        bail!("{} is not static: install busybox-static", busybox.display());
    }
    let applets = lines(Command::new(busybox).arg("--list"))?;
    for applet in applets.iter().filter(|applet| !HOST_PROGRAMS.iter().any(|(name, _)| name == applet)) {
        archive.link(&format!("/bin/{applet}"), "/usr/bin/busybox");
    }
    Ok(())
}

/// The libraries and the loader that `program` is linked with, at the same paths.
fn add_libraries(archive: &mut Archive, program: &Path) -> Result<()> {
    for line in lines(Command::new("ldd").arg(program))? {
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        if let Some(path) = path {
            archive.file(path, &read(Path::new(path))?);
        }
    }
    Ok(())
}

/// Each module as a file, and a list of all in load order: name, then what it needs.
fn add_modules(archive: &mut Archive, modules: &[Module]) {
    let mut list = String::new();
    for module in modules {
        archive.file(&format!("/lib/modules/{}.ko", module.name), &module.bytes);
        list += &format!("{} {}\n", module.name, module.needs.join(" "));
    }
    archive.file("/lib/modules/order", list.as_bytes());
}

/// The Debian packages that are missing.
pub fn missing() -> Vec<&'static str> {
    const OTHERS: [(&str, &str); 6] = [
        ("mke2fs", "e2fsprogs"),
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("apt-get", "apt"),
        ("dpkg-deb", "dpkg"),
        ("ldd", "libc-bin"),
        ("setpriv", "util-linux"),
    ];
    let programs = HOST_PROGRAMS.iter().chain(&OTHERS).filter(|(name, _)| find(name).is_none());
    let tzdata = SETTINGS.iter().any(|path| path.contains("/zoneinfo/") && !Path::new(path).exists());
    let boot = BOOT_PROGRAMS.iter().filter(|(name, _, folder)| find_boot_program(name, folder).is_none());
    let boot = boot.map(|(_, package, _)| *package);
    programs.map(|(_, package)| *package).chain(boot).chain(tzdata.then_some("tzdata")).collect()
}
