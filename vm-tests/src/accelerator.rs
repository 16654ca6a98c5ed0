//! Tests whether KVM works: `/dev/kvm` may exist and not work, as in some virtual machines.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use vm_tests::report::Report;

use crate::machine::{Accelerator, read_reports};

/// A guest that powers off at once takes two seconds.
const TIMEOUT: Duration = Duration::from_secs(15);

/// KVM, if a guest finishes with it. The result is stored in `folder` until the next boot of this
/// machine.
pub fn choose(folder: &Path, vmlinuz: &Path, initramfs: &Path) -> Result<Accelerator> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let memory = folder.join("kvm");
    let known = fs::read_to_string(&memory).unwrap_or_default();
    let works = match known.strip_prefix(boot_id.trim()) {
        Some(answer) if !boot_id.is_empty() => answer.trim() == "works",
        _ => {
            let works = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
                && runs(folder, vmlinuz, initramfs)?;
            fs::write(memory, format!("{} {}\n", boot_id.trim(), if works { "works" } else { "does not" }))?;
            eprintln!(
                "KVM {}",
                if works { "works" } else { "does not work here: QEMU emulates the processor, which takes longer" }
            );
            works
        }
    };
    Ok(if works { Accelerator::Kvm } else { Accelerator::Software })
}

/// Whether a guest without cases finishes under KVM.
fn runs(folder: &Path, vmlinuz: &Path, initramfs: &Path) -> Result<bool> {
    let results = folder.join("kvm-results");
    // Reports of an earlier guest.
    let _ = fs::remove_file(&results);
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "kvm", "-cpu", "host", "-m", "512", "-smp", "2", "-nodefaults", "-no-user-config"]);
    command.args(["-no-reboot", "-display", "none", "-append", "panic=-1 quiet vm.machine=bare vm.cases="]);
    command.arg("-kernel").arg(vmlinuz).arg("-initrd").arg(initramfs);
    command.args(["-serial", "null", "-serial"]).arg(format!("file:{}", results.display()));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let began = Instant::now();
    while began.elapsed() < TIMEOUT {
        if child.try_wait()?.is_some() {
            let reports = read_reports(&results);
            return Ok(reports.contains(&Report::Finished { error: None }));
        }
        thread::sleep(Duration::from_millis(100));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}
