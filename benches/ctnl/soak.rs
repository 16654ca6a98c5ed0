//! The soak: live flows, `ctnl flush --older` again and again, and a host that is starved,
//! stopped and reconfigured meanwhile. No flow that had a packet within the idle time may be
//! deleted; every DESTROY event is checked for it.
//!
//! - `traffic`: TCP and UDP flows that are silent for a little longer than the idle time
//! - `disturbance`: what happens to the host during a flush
//! - `witness`: the DESTROY events, and how long each flow had been idle

mod disturbance;
mod traffic;
mod witness;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ctnl_test_support::harness::World;
use ctnl_test_support::net::Net;
use serde_json::Value;

use self::disturbance::Disturbance;
use self::traffic::Traffic;
use self::witness::Witness;
use crate::population::{Families, Population, Table};
use crate::report::{say, warn};

/// `--older` of every flush.
const OLDER: Duration = Duration::from_secs(5);
/// How long each flow is silent: a little longer, so that flows are always about to be deleted.
const SILENT: Duration = Duration::from_millis(6300);
/// Entries beside the flows: they make a flush long enough to be disturbed.
pub const FILLER: u32 = 150_000;

/// What a soak has seen.
#[derive(Debug, Default)]
struct Totals {
    flushes: u64,
    disturbed: u64,
    deleted: u64,
    rechecked: u64,
    window_ms: f64,
    cut: u64,
    events: u64,
}

/// Runs for `minutes` with the program `ctnl`. Whether no live flow was cut.
pub fn run(ctnl: &str, minutes: u64, interrupted: &AtomicBool) -> Result<bool> {
    let world = World::new();
    let net = Net::new(&world);
    for name in ["nf_conntrack_events", "nf_conntrack_timestamp"] {
        world.set_sysctl(&format!("netfilter/{name}"), 1);
    }
    let mut witness = Witness::new()?;
    let traffic = Traffic::open(&net);
    let mut table = Table::open()?;
    // This empties the table first: its events are read, and not counted.
    table.fill(Population { entries: FILLER, families: Families::V4, stale: 0 })?;
    witness.check(OLDER)?;
    let stop = AtomicBool::new(false);
    let totals = thread::scope(|scope| -> Result<Totals> {
        let talking = scope.spawn(|| traffic.run(&stop));
        let soaked = soak(ctnl, minutes, &world, &mut witness, interrupted);
        stop.store(true, Ordering::Relaxed);
        let talked = talking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        ensure!(talked > 0, "no flow spoke");
        soaked
    })?;
    let Totals { flushes, disturbed, deleted, rechecked, window_ms, cut, events } = totals;
    say(&format!(
        "soak of {minutes} min: {flushes} flushes, {disturbed} of them disturbed; {deleted} idle entries deleted, \
         {rechecked} fetched again before that; longest window {window_ms:.1} ms; {events} DESTROY events of live \
         flows checked: {cut} had a packet within {} s",
        OLDER.as_secs()
    ));
    Ok(cut == 0 && deleted > 0)
}

fn soak(ctnl: &str, minutes: u64, world: &World, witness: &mut Witness, interrupted: &AtomicBool) -> Result<Totals> {
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut totals = Totals::default();
    while Instant::now() < end {
        ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        let disturbance = Disturbance::nth(totals.flushes);
        let summary = flush(ctnl, world, disturbance)?;
        // What was changed has to be in force for every flow before the next flush: an earlier
        // timeout, longer ago than the flush, cannot be seen in an entry.
        if disturbance.restore(world) {
            thread::sleep(SILENT + Duration::from_millis(700));
        }
        let number = |key: &str| summary.get(key).and_then(Value::as_u64).unwrap_or(0);
        totals.flushes += 1;
        totals.disturbed += u64::from(disturbance != Disturbance::None);
        totals.deleted += number("deleted");
        totals.rechecked += number("rechecked");
        totals.window_ms = totals.window_ms.max(summary.get("window_ms").and_then(Value::as_f64).unwrap_or(0.0));
        let (events, cut) = witness.check(OLDER)?;
        totals.events += events;
        if cut > 0 {
            warn(&format!("!! {cut} live flows cut: {disturbance:?}, {summary}"));
        }
        totals.cut += cut;
    }
    Ok(totals)
}

/// One flush, disturbed. Its summary.
fn flush(ctnl: &str, world: &World, disturbance: Disturbance) -> Result<Value> {
    let older = format!("{}s", OLDER.as_secs());
    let mut command = Command::new(ctnl);
    command.args(["flush", "--older", &older, "--yes", "--json", "-q", "--no-spare-ssh"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("start {ctnl}"))?;
    disturbance.apply(world, &child)?;
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{ctnl} flush: {}: {errors}", output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("read the summary; {errors}"))
}
