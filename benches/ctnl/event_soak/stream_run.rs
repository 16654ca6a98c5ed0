//! One run of `ctnl events`, with every sink.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::files::Files;
use super::jetstream::JetStream;
use super::peer::Peer;

/// Its end takes ten seconds at most.
const TIMEOUT: Duration = Duration::from_secs(40);

/// How a run is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By SIGTERM, as a service manager does.
    Terminated,
    /// By SIGKILL.
    Killed,
}

/// A run. Killed when it is dropped.
pub struct StreamRun {
    child: Child,
    stderr: PathBuf,
    spool: PathBuf,
    hangups: std::cell::Cell<u64>,
}

/// What is known of a run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How often it was told to open its files again.
    pub hangups: u64,
}

impl StreamRun {
    /// Starts run `number` in `folder`.
    pub fn start(
        ctnl: &str,
        folder: &Path,
        number: u32,
        files: &[Files],
        peers: &[Peer],
        jetstream: Option<&JetStream>,
    ) -> Result<Self> {
        let (spool, stderr) = (folder.join("spool"), folder.join(format!("stderr.{number}")));
        let mut command = Command::new(ctnl);
        command.args(["events", "--all-netns", "--rotate-size", "4MiB", "--rotate-keep", "100000"]);
        command.args(["--queue-max", "4MiB"]).arg("--spool").arg(&spool);
        // Too small for a sink that is away: it has gaps of its own.
        command.args(["--spool-max", if number % 4 == 1 { "1MiB" } else { "1GiB" }]);
        command.args((number % 2 == 1).then_some("--no-seed"));
        let sinks = files.iter().map(Files::sink).chain(peers.iter().map(Peer::sink));
        for sink in sinks.chain(jetstream.map(JetStream::sink)) {
            command.args(["--to", &sink]);
        }
        let file = File::create(&stderr).with_context(|| format!("create {}", stderr.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().with_context(|| format!("start {ctnl}"))?;
        Ok(StreamRun { child, stderr, spool, hangups: std::cell::Cell::new(0) })
    }

    /// Makes it open its files again.
    pub fn hang_up(&self) -> Result<()> {
        self.hangups.set(self.hangups.get() + 1);
        self.signal(Signal::SIGHUP)
    }

    /// Whether everything in the spool has been delivered.
    pub fn spool_is_empty(&self) -> Result<bool> {
        for sink in fs::read_dir(&self.spool).with_context(|| format!("read {}", self.spool.display()))? {
            // A segment may be deleted meanwhile.
            let Ok(mut files) = fs::read_dir(sink?.path()) else { continue };
            if files.any(|file| file.is_ok_and(|file| file.path().extension().is_some_and(|name| name == "seg"))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends it.
    pub fn end(mut self, how: End) -> Result<Ended> {
        self.signal(if how == End::Killed { Signal::SIGKILL } else { Signal::SIGTERM })?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begin.elapsed() < TIMEOUT, "ctnl events does not end: {}", self.messages());
            std::thread::sleep(Duration::from_millis(5));
        };
        // 3: what a sink that is away has not received is left in the spool, or dropped and counted.
        if how == End::Terminated && !matches!(status.code(), Some(0 | 3)) {
            bail!("ctnl events: {status}: {}", self.messages());
        }
        Ok(Ended { hangups: self.hangups.get() })
    }

    fn messages(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)
            .with_context(|| format!("{signal} for ctnl events: {}", self.messages()))
    }
}

impl Drop for StreamRun {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
