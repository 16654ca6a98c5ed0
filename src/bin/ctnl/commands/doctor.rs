//! `ctnl doctor`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ctnl::host::Host;
use ctnl::text::nearest;
use ctnl::units::Seconds;

use super::args::CommonArgs;
use crate::doctor::{CHECKS, Check, Evidence, Report, Severity, Source};
use crate::host::whole_file::WholeFile;
use crate::kernel_probe;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl doctor
  ctnl doctor --watch 10s
      Measure the counters over 10 s.
  ctnl doctor --watch 30s --html report.html
      Also as a page with pictures, for a ticket or a printer.
  ctnl doctor --explain accounting
  ctnl doctor --root /mnt/image
      The settings of an installation that does not run.
  ctnl doctor --kernel
      What this kernel does, probed with made-up entries in a namespace of its own.

Exit codes: 0 nothing wrong, 4 warnings, 5 critical; 1 failed, 2 usage error.";

/// Find out why the table is full, and what mends it
///
/// Checks the host, and prints what is wrong, worst first: evidence, consequence, and the command that mends
/// it. A check that cannot run says why. Nothing is changed, and the table is dumped once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Measure the counters over this time (0: as long as the dump takes): totals since boot say nothing about now
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = window)]
    watch: Seconds,

    /// Explain a check, and run none
    #[arg(long, value_name = "CHECK")]
    explain: Option<String>,

    /// Read the files below this folder, as of an image; nothing of the running kernel is read then
    #[arg(long, value_name = "DIR", conflicts_with = "netns")]
    root: Option<PathBuf>,

    /// Probe what this kernel does: filters, flushes, defaults; with made-up entries in a network namespace of
    /// its own, and no other check
    #[arg(long, conflicts_with_all = ["watch", "explain", "root", "netns"])]
    kernel: bool,

    /// JSON on stdout
    #[arg(long)]
    json: bool,

    /// Also write the report to FILE as a page with pictures, which needs no other file
    ///
    /// FILE is replaced all at once, and readable by its owner alone: the page has addresses.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["explain", "kernel"], value_parser = page_file)]
    html: Option<PathBuf>,

    #[command(flatten)]
    common: CommonArgs,
}

/// The time over which counters are measured, up to an hour.
fn window(text: &str) -> Result<Seconds, String> {
    match text.parse() {
        Ok(Seconds(0)) => Ok(Seconds(0)),
        _ => super::args::seconds(text, 3600).map(Seconds),
    }
}

/// Standard output has the report.
fn page_file(text: &str) -> Result<PathBuf, String> {
    if text == "-" { Err("expected the name of a file".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    if let Some(name) = &args.explain {
        return explain(name);
    }
    if args.kernel {
        return probe_kernel(args.json, host);
    }
    let page = args.html.as_deref().map(create_page).transpose()?;
    let interrupt = Interrupt::listen()?;
    let mut console = args.common.console();
    let evidence = Evidence::gather(&source(args, host)?, &mut console, &interrupt);
    let report = Report::of(&evidence);
    if let Some((page, path)) = page {
        page.finish(report.html(&evidence).as_bytes()).with_context(|| format!("write {}", path.display()))?;
    }
    print(if args.json { format!("{}\n", report.json()) } else { report.text() })?;
    if evidence.is_interrupted {
        console.warn("interrupted: the report is of what was read until then");
        return Ok(Exit::Partly);
    }
    Ok(match report.worst() {
        Some(Severity::Critical) => Exit::Critical,
        Some(Severity::Warning) => Exit::Warnings,
        Some(Severity::Note) | None => Exit::Done,
    })
}

/// Before anything is read, so that a file that cannot be written is an error at once.
fn create_page(path: &Path) -> Result<(WholeFile, &Path)> {
    let page = WholeFile::create(path).with_context(|| format!("create {}", path.display()))?;
    Ok((page, path))
}

fn source(args: &Args, host: &Host) -> Result<Source> {
    let (window, netns_argument) = (args.watch, args.common.netns_argument().map(str::to_owned));
    let Some(root) = &args.root else {
        let netns = Some(args.common.netns()?.pin()?);
        return Ok(Source { host: host.clone(), netns, netns_argument, window });
    };
    if !root.is_dir() {
        bail!("--root {}: no such folder", root.display());
    }
    Ok(Source { host: Host::at(root, host.clock.clone()), netns: None, netns_argument, window })
}

/// The process is in another network namespace afterwards.
fn probe_kernel(json: bool, host: &Host) -> Result<Exit> {
    let report = kernel_probe::run(host)?;
    print(if json { report.to_json() } else { report.to_text() })?;
    Ok(if report.is_complete() { Exit::Done } else { Exit::Partly })
}

fn explain(name: &str) -> Result<Exit> {
    let Some(check) = CHECKS.iter().find(|check| check.name == name) else {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        let hint = nearest(name, names.iter().copied())
            .map_or_else(|| format!("expected one of {}", names.join(", ")), |near| format!("did you mean {near}?"));
        return Err(usage(format!("--explain: unknown check '{name}'\n  hint: {hint}")));
    };
    let Check { name, about, explanation, .. } = check;
    print(format!("{name}: {about}\n\n{explanation}\n"))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_not_written_to_standard_output() {
        assert!(page_file("-").is_err());
        assert_eq!(page_file("./-"), Ok(PathBuf::from("./-")));
    }
}
