//! The matrix: every case on every kernel. A case that fails runs once more, in a fresh
//! guest: two processors that QEMU emulates on a busy machine can starve a test of the
//! time that it allows. If it passes then it is reported as FLAKY, with the logs of both
//! runs; failed twice is failed. A guest that does not get as far as its first case has
//! failed that case. Nothing else is ever run again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use vm_tests::cases::{Case, Machine};

use crate::kernels::Kernel;
use crate::machine::{Accelerator, Boot};
use crate::packages::Image;
use crate::programs::{self, Programs};
use crate::summary::{self, Cell, Verdict};
use crate::{accelerator, initramfs, modules, packages};

/// The logs of a boot, by their file names.
const LOGS: [&str; 3] = ["console", "results", "qemu"];

/// Everything that a boot needs.
pub struct Matrix {
    folder: PathBuf,
    programs: Programs,
    refresh: bool,
    probing: Mutex<()>,
    /// Two runs would read each other's results.
    _lock: Flock<File>,
}

/// One kernel on one kind of machine, ready to boot.
struct Guest<'a> {
    kernel: &'a Kernel,
    image: &'a Image,
    machine: Machine,
    accelerator: Accelerator,
    initramfs: PathBuf,
    folder: PathBuf,
}

impl Matrix {
    pub fn new(project: &Path, refresh: bool) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from);
        let folder = std::path::absolute(target.join("vm-tests"))?;
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| anyhow!("another run uses {} (or CARGO_TARGET_DIR): {errno}", folder.display()))?;
        Ok(Matrix { folder, programs: programs::build(project)?, refresh, probing: Mutex::default(), _lock: lock })
    }

    /// Runs `cases` on `kernels`, `jobs` kernels at a time. Whether all passed, at the second try at
    /// the latest.
    pub fn run(&self, kernels: &[Kernel], cases: &[&'static Case], jobs: usize) -> Result<bool> {
        let began = Instant::now();
        let (cells, next) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, kernels.len().max(1)) {
                scope.spawn(|| {
                    while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // A kernel that cannot be fetched fails its column, not the others.
                        if let Err(error) = self.column(kernel, cases, &cells) {
                            eprintln!("{}: {error:#}", kernel.name);
                        }
                    }
                });
            }
        });
        let cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
        for cell in cells.iter().filter(|cell| cell.verdict != Verdict::Passed) {
            println!("\n==== {} on {}: {}\n{}", cell.case, cell.kernel, cell.verdict.word(), cell.output);
        }
        let names: Vec<String> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
        println!("\n{}\n", summary::table(&names, cases, &cells));
        let requested = kernels.len() * cases.len();
        println!("{}", summary::result_line(requested, &cells, began.elapsed()));
        Ok(cells.iter().filter(|cell| cell.verdict != Verdict::Failed).count() == requested && requested > 0)
    }

    /// All cases on one kernel.
    fn column(&self, kernel: &Kernel, cases: &[&'static Case], cells: &Mutex<Vec<Cell>>) -> Result<()> {
        let image = packages::fetch(kernel, &self.folder.join("packages"), self.refresh)?;
        for machine in Machine::ALL {
            let mut left: Vec<&Case> = cases.iter().copied().filter(|case| case.machine == machine).collect();
            if left.is_empty() {
                continue;
            }
            let guest = self.prepare(kernel, &image, machine)?;
            // Where a case takes the machine down, the others get a new one.
            while !left.is_empty() {
                let (mut new, has_begun) = guest.boot(&left)?;
                left.retain(|case| !new.iter().any(|cell| cell.case == case.name));
                new.iter_mut().filter(|cell| cell.verdict == Verdict::Failed).try_for_each(|cell| guest.retry(cell))?;
                let has_failed = new.iter().any(|cell| cell.verdict == Verdict::Failed);
                cells.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
                if !has_begun && has_failed {
                    bail!("the {} machine of {} ran no case, twice", machine.name(), image.release);
                }
            }
        }
        Ok(())
    }

    /// The folder for a machine's logs, its initramfs, and what runs it.
    fn prepare<'a>(&self, kernel: &'a Kernel, image: &'a Image, machine: Machine) -> Result<Guest<'a>> {
        let folder = self.folder.join(format!("{}-{}", kernel.name, machine.name()));
        fs::create_dir_all(&folder)?;
        let modules = modules::in_load_order(&image.modules).with_context(|| image.release.clone())?;
        let initramfs = folder.join("initramfs");
        fs::write(&initramfs, initramfs::build(machine, &self.programs, &modules)?)?;
        // Probed by the first, for all.
        let probing = self.probing.lock();
        let accelerator = accelerator::choose(&self.folder, &image.vmlinuz, &initramfs)?;
        drop(probing);
        Ok(Guest { kernel, image, machine, accelerator, initramfs, folder })
    }

    pub fn shell(&self, kernel: &Kernel, machine: Machine) -> Result<()> {
        let image = packages::fetch(kernel, &self.folder.join("packages"), self.refresh)?;
        let guest = self.prepare(kernel, &image, machine)?;
        eprintln!("{} ({:?}); 'exit' powers off", image.release, guest.accelerator);
        guest.to_boot(&guest.folder).shell()
    }
}

impl Guest<'_> {
    fn to_boot<'b>(&'b self, folder: &'b Path) -> Boot<'b> {
        let &Guest { image, machine, accelerator, ref initramfs, .. } = self;
        Boot { vmlinuz: &image.vmlinuz, initramfs, machine, accelerator, folder }
    }

    /// Boots with `cases`; the results of those that ran, and whether any began.
    fn boot(&self, cases: &[&'static Case]) -> Result<(Vec<Cell>, bool)> {
        let boot = self.to_boot(&self.folder).run(cases)?;
        let mut cells = summary::judge(&self.kernel.name, cases, &boot);
        let has_begun = !cells.is_empty();
        if let (false, [first, ..]) = (has_begun, cases) {
            cells.push(summary::not_begun(&self.kernel.name, first, &boot));
        }
        cells.iter().for_each(print);
        let (kernel, machine) = (&self.kernel.name, self.machine.name());
        println!("{kernel:8}{machine:18}       {:6.1} s of processor time", boot.cpu.as_secs_f64());
        Ok((cells, has_begun))
    }

    /// Runs a failed case alone in a fresh guest. The logs of both runs are kept.
    fn retry(&self, cell: &mut Cell) -> Result<()> {
        let kept = [1, 2].map(|run| self.folder.join(format!("{}-run-{run}", cell.case)));
        let [first, second] = &kept;
        for folder in &kept {
            fs::create_dir_all(folder)?;
        }
        for log in LOGS {
            fs::copy(self.folder.join(log), first.join(log))?;
        }
        println!("{:8}{:18}once more in a fresh guest", self.kernel.name, cell.case);
        let case = vm_tests::cases::named(cell.case).context("a case of the table")?;
        let boot = self.to_boot(second).run(&[case])?;
        let again = summary::judge(&self.kernel.name, &[case], &boot);
        again.iter().for_each(print);
        let cut_short = || summary::cut_short(&boot);
        cell.add_second_run(again.first().ok_or_else(cut_short), &kept);
        Ok(())
    }
}

/// Of the output of a case that passed, the first line; a failure is shown in full below the table.
fn print(cell: &Cell) {
    let first = if cell.verdict == Verdict::Passed { cell.output.lines().next().unwrap_or_default() } else { "" };
    println!("{:8}{:18}{:7}{:6.1} s  {first}", cell.kernel, cell.case, cell.verdict.word(), cell.seconds);
}
