//! The program's summaries as `docs/summary.md` describes them: a key that is not
//! documented fails.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `ctnl flush --json` and `ctnl update --json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    pub v: u32,
    pub command: String,
    pub dry_run: bool,
    pub action: String,
    pub soft_seconds: Option<u32>,
    pub filter: String,
    pub seen: u64,
    pub matched: u64,
    pub deleted: u64,
    pub updated: Option<u64>,
    pub unchanged: Option<u64>,
    pub partly: Option<u64>,
    pub gone: u64,
    pub rechecked: u64,
    pub no_longer_matching: u64,
    pub spared: u64,
    #[serde(default)]
    pub spared_all_ssh: bool,
    pub beyond_max: u64,
    pub beyond_agreed: u64,
    pub already_expiring: u64,
    pub skipped: BTreeMap<String, u64>,
    pub undecided: BTreeMap<String, u64>,
    pub unconfirmed: u64,
    pub failed: BTreeMap<String, u64>,
    pub unanswered: u64,
    pub unsent: u64,
    pub interrupted: bool,
    pub resized: bool,
    pub error: Option<String>,
    pub table_before: u32,
    pub table_after: u32,
    pub table_max: Option<u32>,
    pub seconds: f64,
    pub window_ms: f64,
    pub saved_to: Option<String>,
    pub saved: Option<u64>,
    #[serde(default)]
    pub by_state: Vec<Share>,
    #[serde(default)]
    pub by_source: Vec<Share>,
    #[serde(default)]
    pub by_source_beyond: u64,
}

/// A row of a dry run's breakdown.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub key: String,
    pub entries: u64,
}

/// `ctnl restore --json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    pub v: u32,
    pub command: String,
    pub dry_run: bool,
    pub file: String,
    pub format: String,
    pub saved_at: Option<u64>,
    #[serde(default)]
    pub saved_kernel: String,
    #[serde(default)]
    pub saved_host: String,
    #[serde(default)]
    pub saved_filter: String,
    pub incomplete: bool,
    pub entries: u64,
    pub zones: BTreeMap<u16, u64>,
    pub restored: u64,
    pub existing: u64,
    pub expired: u64,
    pub skipped: BTreeMap<String, u64>,
    pub failed: BTreeMap<String, u64>,
    pub unanswered: u64,
    pub unsent: u64,
    pub table_full: bool,
    pub offloaded: u64,
    pub without_master: u64,
    pub without_secctx: u64,
    pub aged: bool,
    pub interrupted: bool,
    pub error: Option<String>,
    pub table_before: u32,
    pub table_after: u32,
    pub table_max: Option<u32>,
    pub seconds: f64,
}

impl Restored {
    /// Reads a restore's summary, in which every entry is accounted for.
    #[track_caller]
    pub fn read(stdout: &str) -> Self {
        let restored: Restored = read(stdout);
        let sum = restored.restored + restored.existing + restored.expired + restored.unanswered + restored.unsent;
        let sum = sum + restored.skipped.values().chain(restored.failed.values()).sum::<u64>();
        assert_eq!(restored.entries, sum, "{stdout}");
        restored
    }
}

/// `ctnl count --json` with a filter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    pub v: u32,
    pub entries: u64,
    pub seen: u64,
    pub undecided: BTreeMap<String, u64>,
    pub unconfirmed: u64,
    pub interrupted: bool,
    pub resized: bool,
}

/// `ctnl count --json` without one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedAll {
    pub v: u32,
    pub entries: u64,
    pub max: Option<u64>,
}

/// Reads a document. It is one line.
#[track_caller]
pub fn read<T: for<'de> Deserialize<'de>>(stdout: &str) -> T {
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

impl Summary {
    /// Reads a flush's summary, in which every matched entry is accounted for.
    #[track_caller]
    pub fn read(stdout: &str) -> Self {
        let summary = Summary::of("flush", stdout);
        assert!(summary.action == "soft" || summary.action == "delete", "{summary:?}");
        assert_eq!((summary.updated, summary.unchanged, summary.partly), (None, None, None), "{summary:?}");
        summary
    }

    /// Reads an update's summary.
    #[track_caller]
    pub fn read_update(stdout: &str) -> Self {
        let summary = Summary::of("update", stdout);
        assert_eq!((&*summary.action, summary.deleted, summary.already_expiring), ("update", 0, 0), "{summary:?}");
        let failed = summary.gone + summary.failed.values().sum::<u64>();
        assert!(summary.partly.is_some_and(|partly| partly <= failed), "{summary:?}");
        summary
    }

    #[track_caller]
    fn of(command: &str, stdout: &str) -> Self {
        let summary: Summary = read(stdout);
        assert_eq!((summary.v, &*summary.command), (1, command), "{summary:?}");
        assert_eq!(summary.soft_seconds.is_some(), summary.action == "soft", "{summary:?}");
        let kept = summary.spared
            + summary.beyond_max
            + summary.beyond_agreed
            + summary.already_expiring
            + summary.unchanged.unwrap_or(0)
            + summary.skipped.values().sum::<u64>()
            + summary.no_longer_matching;
        let done = summary.deleted + summary.updated.unwrap_or(0);
        let sent = done + summary.gone + summary.failed.values().sum::<u64>() + summary.unanswered;
        assert_eq!(summary.matched, kept + sent + summary.unsent, "what matched is not all accounted for: {summary:?}");
        assert!(summary.matched + summary.unconfirmed + summary.undecided_total() <= summary.seen, "{summary:?}");
        assert!(summary.no_longer_matching <= summary.rechecked && summary.window_ms >= 0.0, "{summary:?}");
        assert!(!summary.resized, "{summary:?}");
        assert!(summary.seconds >= 0.0 && summary.filter.len() < 1 << 20, "{summary:?}");
        assert!(summary.dry_run || (summary.by_state.is_empty() && summary.by_source.is_empty()), "{summary:?}");
        summary
    }

    pub fn undecided_total(&self) -> u64 {
        self.undecided.values().sum()
    }
}
