//! The command line of the benchmark.

use std::path::{Path, PathBuf};

use clap::Parser;

/// Measures ctnl beside the kernel's own limit and conntrack(8), in a network
/// namespace of its own.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --")]
pub struct Options {
    /// Entries of the largest table; a tenth and a hundredth of it are measured too
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=50_000_000))]
    pub entries: u32,
    /// Rounds of each case
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Only cases whose name contains this
    #[arg(long, value_name = "SUBSTRING")]
    pub only: Option<String>,
    /// At most 100,000 entries, 3 rounds
    #[arg(long)]
    pub quick: bool,
    /// Instead of measuring, flush under live traffic for MINUTES while the host is disturbed
    #[arg(long, value_name = "MINUTES")]
    pub soak: Option<u64>,
    /// Instead of measuring, follow events for MINUTES while peers, files and the program itself are disturbed
    #[arg(long, value_name = "MINUTES", conflicts_with = "soak")]
    pub event_soak: Option<u64>,
    /// Write the results as JSON to PATH
    #[arg(long, value_name = "PATH", default_value_os_t = default_json())]
    pub json: PathBuf,
    /// Measure this ctnl instead of the one that was just built
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_ctnl"), hide_default_value = true)]
    pub ctnl: String,
    /// Passed by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Options {
    /// Sizes of the tables, smallest first.
    pub fn sizes(&self) -> Vec<u32> {
        if self.quick {
            let entries = self.entries.min(100_000);
            vec![entries / 10, entries]
        } else {
            vec![self.entries / 100, self.entries / 10, self.entries]
        }
    }

    pub fn rounds(&self) -> usize {
        usize::from(if self.quick { self.runs.min(3) } else { self.runs })
    }
}

/// `bench.json` in cargo's target folder.
fn default_json() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench.json")
}
