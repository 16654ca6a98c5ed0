//! The soak test of the event stream: `ctnl events --all-netns` is stopped, killed and started again while
//! events are made in several namespaces, its files are rotated, and its peers close connections, stop
//! reading, lose what they read last and go away. What arrived at each sink is compared with what was sent,
//! line by line.
//!
//! - `namespaces`: the namespaces, and the events that are made in them
//! - `stream_run`: one run of the program, with its sinks
//! - `peer`: the peers of `unix:`, `tcp:` and `syslog:tcp:`
//! - `files`: the files of `file:`, rotated by the program and from outside
//! - `jetstream`: a nats-server, killed and started again
//! - `received`: the lines that arrived at a sink, and what is missing

mod files;
mod jetstream;
mod namespaces;
mod peer;
mod received;
mod stream_run;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ctnl_test_support::net::ip;

use self::files::Files;
use self::jetstream::JetStream;
use self::namespaces::{Namespaces, Sent};
use self::peer::{Framing, Peer};
use self::received::Arrived;
use self::stream_run::{End, StreamRun};
use crate::print;

/// How long events are made in one run of the program.
const RUN: Duration = Duration::from_secs(25);
/// How long the last run may take to deliver what is left in the spool.
const LAST: Duration = Duration::from_secs(120);

/// Runs the soak test in a PID and mount namespace of its own: `--all-netns` then finds no other namespaces of the
/// host, and `/run/netns` is its own. Returns whether every line was accounted for.
pub fn run(own: &str, outside: &str, ctnl: &str, minutes: u64) -> Result<bool> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount", "--mount-proc", "--kill-child", own]);
    command.args(["--child", "event-soak", outside, ctnl, &minutes.to_string()]);
    let status = command.status().context("start unshare (util-linux)")?;
    Ok(status.success())
}

/// The soak test itself, as the first process of its PID namespace.
pub fn child(ctnl: &str, minutes: u64) -> Result<()> {
    let stop = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    ip("link set lo up");
    let folder = tempfile::tempdir().context("make a folder")?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let mut namespaces = Namespaces::create()?;
    let mut files = [Files::new(folder.path(), "rotated"), Files::new(folder.path(), "renamed")];
    let mut peers = vec![
        Peer::unix(path("socket"), Framing::Lines),
        Peer::tcp("tcp", 5140, Framing::Lines),
        Peer::tcp("syslog:tcp", 5141, Framing::OctetCounting),
    ];
    let mut jetstream = JetStream::start(folder.path())?;
    let mut arrived = Arrived::new(files.iter().map(|file| file.name.clone()));
    let mut totals = Totals::default();
    thread::scope(|scope| -> Result<()> {
        // Ends the threads of the peers after an error, too.
        let _stop = StopOnDrop(&stop);
        for peer in &peers {
            scope.spawn(|| peer.serve(&stop));
        }
        while Instant::now() < end {
            let how = if totals.runs % 3 == 1 { End::Killed } else { End::Terminated };
            let run = StreamRun::start(ctnl, folder.path(), totals.runs, &files, &peers, jetstream.as_ref())?;
            let sent = one(&run, &mut namespaces, &mut files, jetstream.as_mut())?;
            totals.add(&run.end(how)?, sent, how);
            files.iter_mut().try_for_each(|file| file.collect(&mut arrived))?;
            print::note(&totals.line());
        }
        peers.iter().for_each(Peer::recover);
        jetstream.iter_mut().try_for_each(JetStream::recover)?;
        last(ctnl, folder.path(), &mut totals, &mut files, &peers, jetstream.as_ref(), &mut arrived)
    })?;
    arrived.extend(peers.drain(..).map(Peer::into_received));
    if let Some(jetstream) = &jetstream {
        arrived.extend([("nats".to_owned(), jetstream.received()?)]);
    }
    let verdict = arrived.compare(&totals.streams);
    print::result(&format!("event soak of {minutes} min: {}\n{}", totals.line(), verdict.table));
    ensure!(verdict.faults.is_empty(), "{}", verdict.faults.join("\n"));
    Ok(())
}

/// Makes events for [`RUN`], renames files and kills nats-server. The peers disturb on their own threads.
fn one(
    run: &StreamRun,
    namespaces: &mut Namespaces,
    files: &mut [Files; 2],
    mut jetstream: Option<&mut JetStream>,
) -> Result<Sent> {
    namespaces.wait_for_subscriptions()?;
    let (begin, mut sent, mut round) = (Instant::now(), Sent::default(), 0_u32);
    while begin.elapsed() < RUN {
        sent += namespaces.make_events(round)?;
        match round % 40 {
            10 => files.iter_mut().filter(|file| file.name == "renamed").try_for_each(|file| file.rename(run))?,
            20 => sent += namespaces.of_short_life()?,
            15 | 30 => jetstream.as_deref_mut().map_or(Ok(()), JetStream::disturb)?,
            _ => {}
        }
        round += 1;
    }
    Ok(sent)
}

/// A run without new events, until the spool is empty or [`LAST`] has passed.
fn last(
    ctnl: &str,
    folder: &std::path::Path,
    totals: &mut Totals,
    files: &mut [Files; 2],
    peers: &[Peer],
    jetstream: Option<&JetStream>,
    arrived: &mut Arrived,
) -> Result<()> {
    let run = StreamRun::start(ctnl, folder, totals.runs, files, peers, jetstream)?;
    let begin = Instant::now();
    while begin.elapsed() < LAST && !run.spool_is_empty()? {
        thread::sleep(Duration::from_millis(200));
    }
    totals.add(&run.end(End::Terminated)?, Sent::default(), End::Terminated);
    files.iter_mut().try_for_each(|file| file.collect(arrived))?;
    // What the peers' kernels have acknowledged is still read.
    thread::sleep(Duration::from_secs(2));
    Ok(())
}

/// What one run of the program was to report.
#[derive(Debug)]
pub struct StreamSent {
    /// The events that were made while it was subscribed.
    pub events: u64,
    pub end: End,
}

#[derive(Debug, Default)]
struct Totals {
    runs: u32,
    killed: u32,
    renames: u64,
    sent: Sent,
    /// By the order of the runs; each run's first file has the name of its stream.
    streams: Vec<StreamSent>,
}

impl Totals {
    fn add(&mut self, ended: &stream_run::Ended, sent: Sent, end: End) {
        self.runs += 1;
        self.killed += u32::from(end == End::Killed);
        self.renames += ended.hangups;
        self.streams.push(StreamSent { events: sent.events, end });
        self.sent += sent;
    }

    fn line(&self) -> String {
        format!(
            "{} runs, {} of them killed; {} events sent in {} namespaces; {} files renamed",
            self.runs, self.killed, self.sent.events, self.sent.namespaces, self.renames
        )
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
