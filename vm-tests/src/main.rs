//! Boots ctnl on each kernel of `KERNELS` and runs the cases.
//!
//! - `kernels`, `vm_tests::cases`: the columns and rows; `matrix`: runs them, a failed case twice
//! - `packages`, `modules`: a suite's kernel, through apt
//! - `programs`, `archive`, `initramfs`: what the guest starts with
//! - `machine`, `accelerator`: QEMU
//! - `console`, `summary`: results

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the runner of tests talks to its user")]

mod accelerator;
mod archive;
mod console;
mod initramfs;
mod kernels;
mod machine;
mod matrix;
mod modules;
mod packages;
mod programs;
#[cfg(test)]
mod sources_tests;
mod summary;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use vm_tests::cases::{CASES, Case, Machine, named};

use kernels::Kernel;
use matrix::Matrix;

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
    /// The machine of the shell: large, small (128 MiB), bare (no conntrack loaded) or disk (as bare, and /etc on a
    /// disk)
    #[arg(long, value_name = "KIND", default_value = "large", requires = "shell")]
    machine: String,
    /// List the cases
    #[arg(long)]
    list: bool,
    /// Kernels at a time; the number of processors if not given
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Fetch the newest kernels of the suites, not those that were fetched before
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
    let matrix = Matrix::new(project, arguments.refresh)?;
    if arguments.shell {
        let machine = Machine::named(&arguments.machine).context("--machine is one of large, small, bare, disk")?;
        let kernel = kernels.first().context("no kernel in KERNELS")?;
        return matrix.shell(kernel, machine).map(|()| true);
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    matrix.run(&kernels, &cases, arguments.jobs.unwrap_or(processors))
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
