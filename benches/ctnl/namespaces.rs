//! Many network namespaces: the processor time of `ctnl events --all-netns` while 1,000 entries a second
//! are created one by one, in one of the namespaces or in all in turn.
//!
//! The namespaces are mounts of a mount namespace of its own, and the listener is in a PID namespace of its
//! own: it follows them, the namespace of the benchmark, and no other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ctnl::netlink::{Connection, Netns};
use serde::Serialize;

use crate::population::{Families, Population, create_range};
use crate::print;

/// Entries of a run, a millisecond apart.
const ENTRIES: u32 = 10_000;
const TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

const SCRIPT: &str = r#"mount -t tmpfs none /run && mkdir /run/netns && cd /run/netns || exit 1
for name in $(seq 0 $(($NAMESPACES - 1))); do touch $name && unshare --net=$name true || exit 1; done
exec "$CTNL" events --all-netns --new --no-seed --on-gap continue -o json -q"#;

struct Case {
    name: &'static str,
    namespaces: usize,
    /// In how many of them entries are created.
    used: usize,
}

const CASES: [Case; 3] = [
    Case { name: "namespaces: 1", namespaces: 1, used: 1 },
    Case { name: "namespaces: 300, events in 1", namespaces: 300, used: 1 },
    Case { name: "namespaces: 300, events in all", namespaces: 300, used: 300 },
];

/// The results of a case.
#[derive(Debug, Serialize)]
pub struct NamespaceResults {
    pub name: &'static str,
    /// Processor time of each run, user and system, in percent of a processor.
    pub percent: Vec<f64>,
    pub failure: Option<String>,
}

/// Measures every case that is `chosen`.
pub fn run(
    ctnl: &str,
    rounds: usize,
    chosen: &dyn Fn(&str) -> bool,
    interrupted: &AtomicBool,
) -> Result<Vec<NamespaceResults>> {
    let mut results = Vec::new();
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        print::note(case.name);
        let mut result = NamespaceResults { name: case.name, percent: Vec::new(), failure: None };
        for _ in 0..rounds {
            match case.run_once(ctnl) {
                Ok(percent) => result.percent.push(percent),
                Err(error) => result.failure = Some(format!("{error:#}")),
            }
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        }
        results.push(result);
    }
    Ok(results)
}

/// A line for each case.
pub fn report(results: &[NamespaceResults]) -> String {
    let line = |NamespaceResults { name, percent, failure }: &NamespaceResults| {
        let mut sorted = percent.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let (median, last) = (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)));
        let failure = failure.as_ref().map(|failure| format!("\n!! {name}: {failure}")).unwrap_or_default();
        format!("{name}: {median:.1} % of a processor ({:.1}-{last:.1}) at 1,000 events a second{failure}\n", at(0))
    };
    results.iter().map(line).collect()
}

impl Case {
    /// The processor time in percent.
    fn run_once(&self, ctnl: &str) -> Result<f64> {
        let listener = Listener::start(ctnl, self.namespaces)?;
        let pid = listener.pid()?;
        let connect = |number: usize| {
            Connection::open(&Netns::Path(format!("/proc/{pid}/root/run/netns/{number}").into()))
                .with_context(|| format!("connect to namespace {number}"))
        };
        let mut connections = (0..self.used).map(connect).collect::<Result<Vec<_>>>()?;
        // What it does at its start is not measured.
        thread::sleep(Duration::from_secs(2));
        let population = Population { entries: ENTRIES, families: Families::V4, stale: 0 };
        let (start, used) = (Instant::now(), processor_time(pid)?);
        for number in 0..ENTRIES {
            let due = start + Duration::from_millis(number.into());
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let place = number as usize % self.used;
            let connection = connections.get_mut(place).context("a connection")?;
            create_range(connection, number..number + 1, |number| population.flow(number))?;
        }
        let (used, seconds) = (processor_time(pid)? - used, start.elapsed().as_secs_f64());
        listener.wait_for("all events", |counted| counted >= u64::from(ENTRIES))?;
        Ok(100.0 * used / seconds)
    }
}

/// The listener, as the child of `unshare`.
struct Listener {
    child: Child,
    /// Lines of its output.
    opened: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(ctnl: &str, namespaces: usize) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", SCRIPT]);
        command.env("CTNL", ctnl).env("NAMESPACES", namespaces.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start unshare(1)")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (opened, events) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (sets, counts) = (Arc::clone(&opened), Arc::clone(&events));
        let reader = Some(thread::spawn(move || read(stdout, &sets, &counts)));
        let listener = Listener { child, opened, events, reader };
        listener.wait_for("an open record", |_| listener.opened.load(Ordering::Relaxed))?;
        Ok(listener)
    }

    /// The process of ctnl.
    fn pid(&self) -> Result<u32> {
        let unshare = self.child.id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"))?;
        children.trim().parse().with_context(|| format!("the child of unshare(1): '{children}'"))
    }

    fn wait_for(&self, what: &str, is_true: impl Fn(u64) -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_true(self.events.load(Ordering::Relaxed)) {
            ensure!(start.elapsed() < TIMEOUT, "the listener did not write {what}");
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // --kill-child ends the listener, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.reader.take().into_iter().for_each(|reader| drop(reader.join()));
    }
}

fn read(stdout: ChildStdout, opened: &AtomicBool, events: &AtomicU64) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        opened.fetch_or(line.contains("\"event\":\"open\""), Ordering::Relaxed);
        events.fetch_add(u64::from(line.contains("\"event\":\"new\"")), Ordering::Relaxed);
    }
}

/// User and system time of a process in seconds, by /proc/PID/stat (proc_pid_stat(5)).
pub fn processor_time(pid: u32) -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read the time of ctnl")?;
    let (_, rest) = stat.rsplit_once(')').context("a command in parentheses")?;
    let times = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(times.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}
