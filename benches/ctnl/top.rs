//! `ctnl top`: its processor time in percent of a processor, and its memory, while 1,000 entries a second are created.
//!
//! Its output is a pipe, or a pseudoterminal of 50 rows and 200 columns; there, a key is held down in one case.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::pty::{Winsize, openpty};
use serde::Serialize;

use crate::namespaces::processor_time;
use crate::netns::BenchNetns;
use crate::population::{Families, Population, Table, create_range};
use crate::print;

/// How long it is measured, after a start that is not.
const MEASURED: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(5);
/// Between two keys, and between two times that entries are created.
const STEP: Duration = Duration::from_millis(40);
/// Entries that are created each time: 1,000 a second.
const CREATED: u32 = 40;
/// The most percent of a processor.
const TARGET: f64 = 15.0;
const SIZE: Winsize = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };

#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    arguments: &'static [&'static str],
    is_screen: bool,
    /// The keys that are pressed one after the other, 25 a second.
    keys: &'static [u8],
}

const CASES: [Case; 4] = [
    Case { name: "top --batch", arguments: &["--batch"], is_screen: false, keys: b"" },
    Case { name: "top on a terminal", arguments: &[], is_screen: true, keys: b"" },
    Case { name: "top on a terminal, keys held down", arguments: &[], is_screen: true, keys: b"pd>s" },
    Case {
        name: "top --record",
        arguments: &["--batch", "--record", "/dev/shm/ctnl-bench.top"],
        is_screen: false,
        keys: b"",
    },
];

/// The results of a case.
#[derive(Debug, Serialize)]
pub struct TopResults {
    pub name: &'static str,
    pub entries: u32,
    /// Processor time, user and system, in percent of a processor.
    pub percent: f64,
    /// Most bytes of memory.
    pub peak: u64,
    pub failure: Option<String>,
}

/// Measures every case that is `chosen`, once at each size.
pub fn run(
    ctnl: &str,
    sizes: &[u32],
    netns: &BenchNetns,
    table: &mut Table,
    chosen: &dyn Fn(&str) -> bool,
    interrupted: &AtomicBool,
) -> Result<Vec<TopResults>> {
    let mut results = Vec::new();
    for entries in [sizes.first(), sizes.last()].into_iter().flatten() {
        for case in CASES.iter().filter(|case| chosen(case.name)) {
            if !netns.has_capacity_for(u64::from(*entries) + 100_000) {
                print::note(&format!("!! SKIPPED {} ({entries} entries): nf_conntrack_max is too low", case.name));
                continue;
            }
            print::note(&format!("{} ({entries} entries)", case.name));
            let mut result =
                TopResults { name: case.name, entries: *entries, percent: f64::NAN, peak: 0, failure: None };
            match case.run(ctnl, *entries, table, interrupted) {
                Ok((percent, peak)) => (result.percent, result.peak) = (percent, peak),
                Err(error) => result.failure = Some(format!("{error:#}")),
            }
            results.push(result);
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        }
    }
    Ok(results)
}

/// A line for each case.
pub fn report(results: &[TopResults]) -> String {
    let line = |TopResults { name, entries, percent, peak, failure }: &TopResults| {
        let verdict = if *percent <= TARGET { "met" } else { "MISSED" };
        let peak = *peak as f64 / f64::from(1 << 20);
        let failure = failure.as_ref().map(|failure| format!("\n!! {name}: {failure}")).unwrap_or_default();
        format!(
            "{name}, {entries} entries: {percent:.1} % of a processor ({TARGET} %: {verdict}), {peak:.1} MiB{failure}\n"
        )
    };
    results.iter().map(line).collect()
}

impl Case {
    /// The processor time in percent, and the peak of memory in bytes.
    fn run(&self, ctnl: &str, entries: u32, table: &mut Table, interrupted: &AtomicBool) -> Result<(f64, u64)> {
        table.fill(Population { entries, families: Families::Mixed, stale: entries / 2 })?;
        let mut running = Running::start(ctnl, self)?;
        let others = Population { entries: u32::MAX, families: Families::Mixed, stale: 0 };
        let mut created = entries;
        let mut work_for = |time: Duration, running: &mut Running| -> Result<()> {
            let start = Instant::now();
            for step in 0.. {
                let due = start + STEP * step;
                if due >= start + time || interrupted.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(due.saturating_duration_since(Instant::now()));
                create_range(&mut table.connection, created..created + CREATED, |number| others.flow(number))?;
                created += CREATED;
                if let Some(key) = self.keys.get(step as usize % self.keys.len().max(1)) {
                    running.press(*key)?;
                }
            }
            Ok(())
        };
        work_for(START, &mut running)?;
        let (start, used) = (Instant::now(), processor_time(running.child.id())?);
        work_for(MEASURED, &mut running)?;
        let percent = 100.0 * (processor_time(running.child.id())? - used) / start.elapsed().as_secs_f64();
        let peak = peak(running.child.id())?;
        ensure!(running.child.try_wait()?.is_none(), "it has ended");
        Ok((percent, peak))
    }
}

/// The program, and what reads its output. Killed when it is dropped.
struct Running {
    child: Child,
    terminal: Option<File>,
}

impl Running {
    fn start(ctnl: &str, case: &Case) -> Result<Self> {
        let mut command = Command::new(ctnl);
        command.arg("top").args(case.arguments).env("TERM", "xterm").env("LC_ALL", "C.UTF-8").stderr(Stdio::null());
        if !case.is_screen {
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start ctnl")?;
            let stdout = child.stdout.take().context("no standard output")?;
            thread::spawn(move || discard(stdout));
            return Ok(Running { child, terminal: None });
        }
        let pty = openpty(&SIZE, None).context("open a pseudoterminal")?;
        let end = |end: &OwnedFd| end.try_clone().context("clone a descriptor");
        let child = command.stdin(end(&pty.slave)?).stdout(end(&pty.slave)?).spawn().context("start ctnl")?;
        let terminal = File::from(pty.master);
        let reading = terminal.try_clone()?;
        thread::spawn(move || discard(reading));
        Ok(Running { child, terminal: Some(terminal) })
    }

    fn press(&mut self, key: u8) -> Result<()> {
        self.terminal.as_mut().context("a terminal")?.write_all(&[key]).context("press a key")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file("/dev/shm/ctnl-bench.top");
    }
}

fn discard(mut output: impl Read) {
    let mut buffer = vec![0; 64 * 1024];
    while output.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

/// Most bytes of memory since its exec (`VmHWM`).
fn peak(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read the memory of ctnl")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
