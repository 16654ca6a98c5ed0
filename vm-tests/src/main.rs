//! Boots ctnl on each kernel of `KERNELS` and runs the cases.
//!
//! - `kernels`: the matrix; `vm_tests::cases`: what runs
//! - `sources`, `packages`, `modules`: a suite's kernel, through apt
//! - `programs`, `archive`, `initramfs`: what the guest starts with
//! - `machine`, `accelerator`: QEMU
//! - `console`, `summary`: what came of it

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the runner of tests talks to its user")]

mod accelerator;
mod archive;
mod console;
mod initramfs;
mod kernels;
mod machine;
mod modules;
mod packages;
mod programs;
mod run;
mod sources;
mod summary;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use nix::fcntl::{Flock, FlockArg};
use vm_tests::cases::{CASES, Case, Machine, named};
use vm_tests::report::Outcome;

use kernels::Kernel;
use machine::{Accelerator, Boot};
use programs::Programs;
use summary::Cell;

/// Runs ctnl and its tests on several kernels, each in a virtual machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this kernel of vm-tests/KERNELS (may be repeated)
    #[arg(long, value_name = "NAME")]
    kernel: Vec<String>,
    /// Only this case (may be repeated)
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Boot to a shell with ctnl in the path; the first kernel if none is named
    #[arg(long)]
    shell: bool,
    /// The machine of the shell: large, small (128 MiB) or bare (no conntrack loaded)
    #[arg(long, value_name = "KIND", default_value = "large", requires = "shell")]
    machine: String,
    /// Say which cases there are
    #[arg(long)]
    list: bool,
    /// So many kernels at a time; the number of processors if not given
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Fetch the newest kernels of the suites, not those that are here
    #[arg(long)]
    refresh: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vm-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        CASES.iter().for_each(|case| println!("{:18}{}", case.name, case.about));
        return Ok(true);
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = here.parent().context("the project's folder")?;
    let kernels = chosen_kernels(kernels::read(&here.join("KERNELS"))?, &arguments.kernel)?;
    let cases = chosen_cases(&arguments.case)?;
    let missing = initramfs::missing();
    if !missing.is_empty() {
        bail!("not installed: {0}\n  apt-get install {0}", missing.join(" "));
    }
    let lab = Lab::new(project, arguments.refresh)?;
    if arguments.shell {
        let machine = Machine::named(&arguments.machine).context("--machine is one of large, small, bare")?;
        let kernel = kernels.first().context("no kernel in KERNELS")?;
        return lab.shell(kernel, machine).map(|()| true);
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    lab.matrix(&kernels, &cases, arguments.jobs.unwrap_or(processors))
}

fn chosen_kernels(all: Vec<Kernel>, names: &[String]) -> Result<Vec<Kernel>> {
    let known: Vec<String> = all.iter().map(|kernel| kernel.name.clone()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("no kernel '{unknown}' in vm-tests/KERNELS: {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|kernel| names.is_empty() || names.contains(&kernel.name)).collect())
}

fn chosen_cases(names: &[String]) -> Result<Vec<&'static Case>> {
    if names.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let unknown = names.iter().find(|name| named(name).is_none());
    if let Some(name) = unknown {
        bail!("no case '{name}': see --list");
    }
    Ok(CASES.iter().filter(|case| names.iter().any(|name| name == case.name)).collect())
}

/// Everything that a boot needs.
struct Lab {
    folder: PathBuf,
    programs: Programs,
    refresh: bool,
    probing: Mutex<()>,
    /// Two runs would read each other's results.
    _lock: Flock<File>,
}

impl Lab {
    fn new(project: &Path, refresh: bool) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from);
        let folder = std::path::absolute(target.join("vm-tests"))?;
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| anyhow!("another run uses {} (or CARGO_TARGET_DIR): {errno}", folder.display()))?;
        Ok(Lab { folder, programs: programs::build(project)?, refresh, probing: Mutex::default(), _lock: lock })
    }

    fn matrix(&self, kernels: &[Kernel], cases: &[&'static Case], jobs: usize) -> Result<bool> {
        let began = Instant::now();
        let (cells, next) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, kernels.len().max(1)) {
                scope.spawn(|| {
                    while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // A kernel that cannot be had fails its column, not the others.
                        if let Err(error) = self.column(kernel, cases, &cells) {
                            eprintln!("{}: {error:#}", kernel.name);
                        }
                    }
                });
            }
        });
        let cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
        for cell in cells.iter().filter(|cell| cell.outcome == Outcome::Failed) {
            println!("\n==== {} on {}\n{}", cell.case, cell.kernel, cell.says);
        }
        let names: Vec<String> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
        println!("\n{}\n", summary::table(&names, cases, &cells));
        let asked = kernels.len() * cases.len();
        println!("{}", summary::result_line(asked, &cells, began.elapsed()));
        Ok(cells.iter().filter(|cell| cell.outcome == Outcome::Passed).count() == asked && asked > 0)
    }

    /// All cases on one kernel.
    fn column(&self, kernel: &Kernel, cases: &[&'static Case], cells: &Mutex<Vec<Cell>>) -> Result<()> {
        let image = packages::fetch(kernel, &self.folder.join("packages"), self.refresh)?;
        for machine in Machine::ALL {
            let mut left: Vec<&Case> = cases.iter().copied().filter(|case| case.machine == machine).collect();
            if left.is_empty() {
                continue;
            }
            let (folder, initramfs) = self.prepare(kernel, &image, machine)?;
            let accelerator = self.accelerator(&image, &initramfs)?;
            let boot = Boot { vmlinuz: &image.vmlinuz, initramfs: &initramfs, machine, accelerator, folder: &folder };
            // Where a case takes the machine down, the others get a new one.
            while !left.is_empty() {
                let seen = boot.run(&left)?;
                let new = summary::judge(&kernel.name, &left, &seen);
                for cell in &new {
                    let word = if cell.outcome == Outcome::Passed { "ok" } else { "FAILED" };
                    println!("{:8}{:18}{word:7}{:6.1} s  {}", kernel.name, cell.case, cell.seconds, first_line(cell));
                }
                println!(
                    "{:8}{:18}       {:6.1} s of processor time",
                    kernel.name,
                    machine.name(),
                    seen.cpu.as_secs_f64()
                );
                if new.is_empty() {
                    bail!(
                        "the {} machine of {} ran no case: {}",
                        machine.name(),
                        image.release,
                        summary::cut_short(&seen)
                    );
                }
                left.retain(|case| !new.iter().any(|cell| cell.case == case.name));
                cells.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
            }
        }
        Ok(())
    }

    /// Who runs the guests: found out by the first who asks.
    fn accelerator(&self, image: &packages::Image, initramfs: &Path) -> Result<Accelerator> {
        let _one_at_a_time = self.probing.lock();
        accelerator::choose(&self.folder, &image.vmlinuz, initramfs)
    }

    /// The folder for a machine's logs, and its initramfs.
    fn prepare(&self, kernel: &Kernel, image: &packages::Image, machine: Machine) -> Result<(PathBuf, PathBuf)> {
        let folder = self.folder.join(format!("{}-{}", kernel.name, machine.name()));
        fs::create_dir_all(&folder)?;
        let modules = modules::in_load_order(&image.modules).with_context(|| image.release.clone())?;
        let path = folder.join("initramfs");
        fs::write(&path, initramfs::build(machine, &self.programs, &modules)?)?;
        Ok((folder, path))
    }

    fn shell(&self, kernel: &Kernel, machine: Machine) -> Result<()> {
        let image = packages::fetch(kernel, &self.folder.join("packages"), self.refresh)?;
        let (folder, initramfs) = self.prepare(kernel, &image, machine)?;
        let accelerator = self.accelerator(&image, &initramfs)?;
        eprintln!("{} ({accelerator:?}); 'exit' powers off", image.release);
        Boot { vmlinuz: &image.vmlinuz, initramfs: &initramfs, machine, accelerator, folder: &folder }.shell()
    }
}

/// Of what a case that passed says, the first line; a failure is shown in full below.
fn first_line(cell: &Cell) -> &str {
    if cell.outcome == Outcome::Passed { cell.says.lines().next().unwrap_or_default() } else { "" }
}
