//! A machine whose /etc is on a disk, and that starts as Debian does: modules, then settings.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::host;

/// The programs of a boot, in the order of systemd's units: `systemd-modules-load.service` comes before
/// `systemd-sysctl.service`.
const BOOT: [&str; 2] = ["systemd-modules-load", "systemd-sysctl"];

/// Mounts /etc and applies what it says. No module of conntrack is loaded but those that it names.
pub fn boot(path: &str) -> io::Result<()> {
    for module in ["virtio_pci", "virtio_blk"] {
        host::load_module(module)?;
    }
    mount(Some("/dev/vda"), "/etc", Some("ext4"), MsFlags::empty(), None::<&str>)?;
    index_modules(path)?;
    BOOT.iter().try_for_each(|program| run(program, path))
}

/// Makes the folder in which modprobe(8) finds modules.
fn index_modules(path: &str) -> io::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let folder = format!("/lib/modules/{}/kernel", release.trim());
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir("/lib/modules")? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if name.ends_with(".ko") {
            symlink(format!("/lib/modules/{name}"), format!("{folder}/{name}"))?;
        }
    }
    for list in ["modules.order", "modules.builtin"] {
        fs::write(format!("/lib/modules/{}/{list}", release.trim()), "")?;
    }
    run("depmod", path)
}

fn run(program: &str, path: &str) -> io::Result<()> {
    let status = Command::new(program).env_clear().env("PATH", path).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {status}"))) }
}
