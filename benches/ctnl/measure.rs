//! Runs and measures one process at a time: wall time from before the fork to the exit, processor
//! time and peak memory from wait4(2).

use std::fmt;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde::Serialize;
use wait4::Wait4;

/// The standard output of a measured process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// `/dev/null`.
    Null,
    /// A pipe that a thread of the benchmark reads.
    Pipe,
}

/// A command line to measure.
#[derive(Debug, Clone)]
pub struct Line {
    words: Vec<String>,
    shown: String,
    sink: Sink,
    /// Exit codes other than 0 that are no failure.
    accepted: &'static [i32],
}

impl Line {
    /// A program with its arguments, separated by blanks.
    pub fn new(program: &str, arguments: &str) -> Self {
        let words = [program].into_iter().chain(arguments.split_whitespace()).map(str::to_owned).collect();
        let name = program.rsplit('/').next().unwrap_or(program);
        Line { words, shown: format!("{name} {arguments}"), sink: Sink::Null, accepted: &[] }
    }

    /// A pipeline.
    pub fn shell(pipeline: &str) -> Self {
        let words = ["sh", "-c", pipeline].map(str::to_owned).to_vec();
        Line { words, shown: pipeline.to_owned(), sink: Sink::Null, accepted: &[] }
    }

    /// The same, under the name `shown` in reports.
    pub fn shown_as(self, shown: &str) -> Self {
        Line { shown: shown.to_owned(), ..self }
    }

    /// The same, on one processor: the first that this process may use.
    pub fn on_one_core(mut self) -> Self {
        let ours = sched_getaffinity(Pid::from_raw(0)).ok();
        let is_ours = |processor: &usize| ours.is_some_and(|ours| ours.is_set(*processor) == Ok(true));
        let first = (0..CpuSet::count()).find(is_ours).unwrap_or(0).to_string();
        self.words.splice(0..0, ["taskset", "-c", &first].map(str::to_owned));
        Line { shown: format!("taskset -c {first} {}", self.shown), ..self }
    }

    pub fn into_pipe(self) -> Self {
        Line { sink: Sink::Pipe, ..self }
    }

    /// conntrack(8) exits with 1 when it deletes nothing.
    pub fn matching_nothing(self) -> Self {
        Line { accepted: &[1], ..self }
    }

    /// `ctnl doctor` exits with 4 or 5 when it finds something.
    pub fn with_findings(self) -> Self {
        Line { accepted: &[4, 5], ..self }
    }

    /// The program with its arguments.
    pub fn command(&self) -> Result<Command> {
        let (program, arguments) = self.words.split_first().context("an empty command line")?;
        let mut command = Command::new(program);
        // Pipelines sort fastest in the C locale.
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
        Ok(command)
    }

    /// Runs it once.
    pub fn measure(&self) -> Result<Sample> {
        let stdout = if self.sink == Sink::Pipe { Stdio::piped() } else { Stdio::null() };
        let mut command = self.command()?;
        command.stdout(stdout).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("start {self}"))?;
        let reader = child.stdout.take().map(|pipe| thread::spawn(move || discard(pipe)));
        let used = child.wait4().with_context(|| format!("wait for {self}"))?;
        let wall = start.elapsed().as_secs_f64();
        reader.map(thread::JoinHandle::join);
        let succeeded = used.status.success() || used.status.code().is_some_and(|code| self.accepted.contains(&code));
        if !succeeded {
            bail!("{self}: {}: {}", used.status, complaint(&mut child));
        }
        let cpu = (used.rusage.utime + used.rusage.stime).as_secs_f64();
        Ok(Sample { wall, user: used.rusage.utime.as_secs_f64(), cpu, peak: used.rusage.maxrss })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sink = if self.sink == Sink::Pipe { " | (reader)" } else { "" };
        write!(f, "{}{sink}", self.shown)
    }
}

fn discard(mut pipe: impl Read) {
    let mut buffer = vec![0; 64 * 1024];
    while pipe.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

fn complaint(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(stderr) = &mut child.stderr {
        let _ = stderr.read_to_string(&mut text);
    }
    text.trim().to_owned()
}

/// One run of one process.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// Seconds from start to exit.
    pub wall: f64,
    /// Seconds of processor time in user space.
    pub user: f64,
    /// Seconds of processor time in all.
    pub cpu: f64,
    /// Most bytes of memory at any time.
    pub peak: u64,
}

/// All runs of one command line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Series {
    pub command: String,
    /// The values in the table, once the series is complete.
    pub summary: Option<Summary>,
    pub samples: Vec<Sample>,
}

/// A series in short.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Summary {
    /// Median of the wall times, seconds.
    pub median: f64,
    /// The shortest, seconds.
    pub shortest: f64,
    /// The longest, seconds.
    pub longest: f64,
    /// Most bytes of memory of any run.
    pub peak: u64,
}

impl Series {
    pub fn of(line: &Line) -> Self {
        Series { command: line.to_string(), summary: None, samples: Vec::new() }
    }

    /// Computes the summary of a complete series.
    pub fn summarize(&mut self) {
        let (shortest, longest) = self.spread();
        self.summary = Some(Summary { median: self.wall(), shortest, longest, peak: self.peak() });
    }

    /// The median of a value over all runs; of an even number, the mean of the middle two.
    pub fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        let sorted = self.sorted(value);
        let middle = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let half = sorted.len() / 2;
        if sorted.len() % 2 == 1 { middle(half) } else { (middle(half.wrapping_sub(1)) + middle(half)) / 2.0 }
    }

    pub fn wall(&self) -> f64 {
        self.median(|sample| sample.wall)
    }

    /// Shortest and longest wall time.
    pub fn spread(&self) -> (f64, f64) {
        let sorted = self.sorted(|sample| sample.wall);
        (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN))
    }

    /// Half the distance between the smallest and the largest ratio of wall times, round by round.
    pub fn spread_to(&self, other: &Series) -> f64 {
        let ratios = self.samples.iter().zip(&other.samples).map(|(own, other)| own.wall / other.wall);
        let (least, most) = ratios.fold((f64::INFINITY, 0.0_f64), |(least, most), r| (least.min(r), most.max(r)));
        ((most - least) / 2.0).max(0.0)
    }

    /// Most memory of any run, in bytes.
    pub fn peak(&self) -> u64 {
        self.samples.iter().map(|sample| sample.peak).max().unwrap_or(0)
    }

    fn sorted(&self, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// Peak memory of this process. A child's `ru_maxrss` starts with it, so a smaller peak is not visible.
pub fn own_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
