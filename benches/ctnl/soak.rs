//! The soak test: repeats `ctnl flush --older` under live traffic, while the program is stopped or
//! throttled or the host's timeouts are changed. A flow that had a packet within the idle time must not
//! be deleted: the remaining timeout in each DESTROY event is checked.
//!
//! - `traffic`: TCP and UDP flows that send often, that pause a little longer than the idle time, and
//!   that send once
//! - `disturbance`: stops and throttles the program, changes timeouts
//! - `destroy_monitor`: the DESTROY events, and how long each flow had been idle

mod destroy_monitor;
mod disturbance;
mod traffic;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ctnl_test_support::harness::TestNetns;
use ctnl_test_support::net::Net;
use serde_json::Value;

use self::destroy_monitor::DestroyMonitor;
use self::disturbance::Disturbance;
use self::traffic::Traffic;
use crate::population::{Families, Population, Table};
use crate::print;

/// `--older` of every flush.
const OLDER: Duration = Duration::from_secs(5);
/// The pauses of some flows: a little longer than [`OLDER`], so that they are about to be deleted at
/// any time.
const SILENCE: Duration = Duration::from_millis(6300);
/// Entries besides the flows: a flush takes long enough to be disturbed.
pub const FILLER: u32 = 150_000;

/// The sums over all flushes.
#[derive(Debug, Default)]
struct Totals {
    flushes: u64,
    disturbed: u64,
    deleted: u64,
    rechecked: u64,
    window_ms: f64,
    cut: u64,
    events: u64,
    unsent: u64,
}

/// Runs for `minutes` with the program `ctnl`. Returns whether idle entries and no live flow were deleted.
pub fn run(ctnl: &str, minutes: u64, interrupted: &AtomicBool) -> Result<bool> {
    let netns = TestNetns::new();
    let net = Net::new(&netns);
    for name in ["nf_conntrack_events", "nf_conntrack_timestamp"] {
        netns.set_sysctl(&format!("netfilter/{name}"), 1);
    }
    // First, because it deletes all other entries.
    Table::open()?.fill(Population { entries: FILLER, families: Families::V4, stale: 0 })?;
    let mut monitor = DestroyMonitor::new()?;
    let traffic = Traffic::open(&net);
    let stop = AtomicBool::new(false);
    let totals = thread::scope(|scope| -> Result<Totals> {
        let sender = scope.spawn(|| traffic.run(&stop));
        let totals = flush_repeatedly(ctnl, minutes, &netns, &mut monitor, interrupted);
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        ensure!(sent > 0, "no flow sent a packet");
        totals
    })?;
    let Totals { flushes, disturbed, deleted, rechecked, window_ms, cut, events, unsent } = totals;
    print::result(&format!(
        "soak of {minutes} min: {flushes} flushes, {disturbed} of them disturbed; {deleted} idle entries deleted, \
         {rechecked} fetched again before that, {unsent} not sent in time; longest window {window_ms:.1} ms; {events} DESTROY events of live \
         flows checked: {cut} had a packet within {} s",
        OLDER.as_secs()
    ));
    Ok(cut == 0 && deleted > 0)
}

fn flush_repeatedly(
    ctnl: &str,
    minutes: u64,
    netns: &TestNetns,
    monitor: &mut DestroyMonitor,
    interrupted: &AtomicBool,
) -> Result<Totals> {
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut totals = Totals::default();
    while Instant::now() < end {
        ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        let disturbance = Disturbance::nth(totals.flushes);
        let summary = flush(ctnl, netns, disturbance)?;
        // The next flush starts when every flow that sends has sent with the restored timeouts: an
        // entry does not show that its timeout was set before the last change.
        if disturbance.restore(netns) {
            thread::sleep(SILENCE + Duration::from_millis(700));
        }
        let number = |key: &str| summary.get(key).and_then(Value::as_u64).unwrap_or(0);
        totals.flushes += 1;
        totals.disturbed += u64::from(disturbance != Disturbance::None);
        totals.deleted += number("deleted");
        totals.rechecked += number("rechecked");
        totals.unsent += number("unsent");
        totals.window_ms = totals.window_ms.max(summary.get("window_ms").and_then(Value::as_f64).unwrap_or(0.0));
        let (events, cut) = monitor.check(OLDER)?;
        totals.events += events;
        if cut > 0 {
            print::note(&format!("!! {cut} live flows deleted: {disturbance:?}, {summary}"));
        }
        totals.cut += cut;
    }
    Ok(totals)
}

/// Runs one flush with a disturbance. Returns its summary.
fn flush(ctnl: &str, netns: &TestNetns, disturbance: Disturbance) -> Result<Value> {
    let older = format!("{}s", OLDER.as_secs());
    let mut command = Command::new(ctnl);
    command.args(["flush", "--older", &older, "--yes", "--json", "-q", "--no-spare-ssh"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("start {ctnl}"))?;
    disturbance.apply(netns, &child)?;
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // Partly done: under a quota a delete may not be sent in time, and is counted.
    if !matches!(output.status.code(), Some(0 | 3)) {
        bail!("{ctnl} flush: {}: {errors}", output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("read the summary; {errors}"))
}
