//! The results as text: the tables that the benchmark prints.

use crate::events::{EventResults, ListenerResults, ListenerRun};
use crate::measure::{Sample, Series};
use crate::rounds::{Measured, NoResult, Ratio, Verdict};

/// The columns; the first is aligned to the left.
const HEADS: [&str; 11] = [
    "case",
    "entries",
    "limit ms",
    "ctnl ms (min-max)",
    "conntrack ms (min-max)",
    "ctnl/limit",
    "ctnl/conntrack",
    "limit/conntrack",
    "cpu ms l/c/ct",
    "user ms",
    "peak MiB l/c/ct",
];

/// The table of every case. `floor` is the smallest peak memory that can be measured.
pub fn table(results: &[Measured], floor: u64) -> String {
    let mut rows = vec![HEADS.map(str::to_owned)];
    let measured = results.iter().filter(|result| result.no_result.is_none());
    rows.extend(measured.map(|result| row(result, floor)));
    let mut text = aligned(&rows);
    for result in results {
        if let Some(no_result) = &result.no_result {
            let (word, why) = match no_result {
                NoResult::Skipped(why) => ("SKIPPED", why),
                NoResult::Failed(why) => ("FAILED", why),
            };
            text.push_str(&format!("!! {word}: {} ({} entries): {why}\n", result.name, result.entries));
        }
    }
    text
}

fn row(result: &Measured, floor: u64) -> [String; 11] {
    let all = [result.limit.as_ref(), Some(&result.ctnl), result.conntrack.as_ref()];
    [
        result.name.clone(),
        result.entries.to_string(),
        result.limit.as_ref().map_or_else(none, |series| milliseconds(series.wall())),
        with_spread(&result.ctnl),
        result.conntrack.as_ref().map_or_else(none, with_spread),
        result.to_limit.map_or_else(none, ratio),
        result.to_conntrack.map_or_else(none, ratio),
        result.limit_to_conntrack.map_or_else(none, |ratio| format!("{ratio:.2}")),
        each(all, |series| milliseconds(series.median(|sample| sample.cpu))),
        milliseconds(result.ctnl.median(|sample| sample.user)),
        each(all, |series| mebibytes(series.peak(), floor)) + peak_verdict(result),
    ]
}

fn peak_verdict(result: &Measured) -> &'static str {
    match result.peak_is_within_target {
        Some(true) => " <=8 met",
        Some(false) => " <=8 MISSED",
        None => "",
    }
}

fn each(all: [Option<&Series>; 3], show: impl Fn(&Series) -> String) -> String {
    all.map(|series| series.map_or_else(none, &show)).join(" / ")
}

fn none() -> String {
    "-".to_owned()
}

fn with_spread(series: &Series) -> String {
    let (least, most) = series.spread();
    format!("{} ({}-{})", milliseconds(series.wall()), milliseconds(least), milliseconds(most))
}

fn ratio(ratio: Ratio) -> String {
    let word = |verdict| match verdict {
        Verdict::Met => "met",
        Verdict::WithinSpread => "met within the spread",
        Verdict::Missed => "MISSED",
    };
    let Ratio { ratio, spread, target, verdict } = ratio;
    let target = target.zip(verdict).map(|(target, verdict)| format!(" <={target:.2} {}", word(verdict)));
    format!("{ratio:.2} ±{spread:.2}{}", target.unwrap_or_default())
}

fn milliseconds(seconds: f64) -> String {
    let milliseconds = seconds * 1000.0;
    if milliseconds < 100.0 { format!("{milliseconds:.1}") } else { format!("{milliseconds:.0}") }
}

fn mebibytes(bytes: u64, floor: u64) -> String {
    let sign = if bytes <= floor { "<" } else { "" };
    format!("{sign}{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(place, (cell, width))| {
            if place == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Other command lines with the same result.
pub fn others(results: &[Measured]) -> String {
    let mut rows = vec![["case", "other command", "ms (min-max)", "ctnl/other", "cpu ms"].map(str::to_owned)];
    for result in results.iter().filter(|result| result.no_result.is_none()) {
        rows.extend(result.others.iter().map(|series| {
            let ratio = format!("{:.2}", result.ctnl.wall() / series.wall());
            let cpu = milliseconds(series.median(|sample| sample.cpu));
            [result.name.clone(), series.command.clone(), with_spread(series), ratio, cpu]
        }));
    }
    if rows.len() == 1 { String::new() } else { aligned(&rows) }
}

/// Nanoseconds an entry of `list text` at each size, without what an empty
/// table takes.
pub fn per_entry(results: &[Measured]) -> String {
    let text = || results.iter().filter(|result| result.name == "list text" && result.no_result.is_none());
    let Some(empty) = text().find(|result| result.entries == 0) else {
        return String::new();
    };
    let mut rows = vec![["ns an entry, list text", "limit", "ctnl", "conntrack", "ctnl, user"].map(str::to_owned)];
    for result in text().filter(|result| result.entries > 0) {
        let cost = |series: Option<&Series>, base: Option<&Series>, value: fn(&Sample) -> f64| {
            let (series, base) = (series?, base?);
            let seconds = series.median(value) - base.median(value);
            Some(format!("{:.0}", seconds * 1e9 / f64::from(result.entries)))
        };
        let wall = |series, base| cost(series, base, |sample| sample.wall).unwrap_or_else(none);
        rows.push([
            result.entries.to_string(),
            wall(result.limit.as_ref(), empty.limit.as_ref()),
            wall(Some(&result.ctnl), Some(&empty.ctnl)),
            wall(result.conntrack.as_ref(), empty.conntrack.as_ref()),
            cost(Some(&result.ctnl), Some(&empty.ctnl), |sample| sample.user).unwrap_or_else(none),
        ]);
    }
    aligned(&rows)
}

/// The events. `lost` was counted by the kernel, `reported lost` by the listener.
pub fn events(results: &[EventResults]) -> String {
    let heads = [
        "case",
        "events",
        "listener",
        "1000/s",
        "received % (min-max)",
        "us/event",
        "to limit",
        "lost",
        "reported lost",
        "peak MiB",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    let mut failures = String::new();
    for result in results {
        rows.extend(result.listeners.iter().filter(|listener| !listener.runs.is_empty()).map(|l| run(result, l)));
        for (listener, failure) in result.listeners.iter().filter_map(|l| Some((l, l.failure.as_ref()?))) {
            failures += &format!("!! {}: {}: {failure}\n", result.name, listener.command);
        }
    }
    if rows.len() == 1 { failures } else { aligned(&rows) + &failures + "\n" + &listeners(results) }
}

/// The command lines of the listeners.
fn listeners(results: &[EventResults]) -> String {
    let mut rows = vec![["case", "listener"].map(str::to_owned)];
    for result in results {
        rows.extend(result.listeners.iter().map(|listener| [result.name.clone(), listener.command.clone()]));
    }
    left_aligned(rows)
}

fn run(result: &EventResults, listener: &ListenerResults) -> [String; 10] {
    let (least, most) = listener.spread(ListenerRun::share);
    let cost = listener.median(ListenerRun::microseconds);
    let verdict = |met| match (listener.has_target, met) {
        (false, _) => "",
        (true, true) => " met",
        (true, false) => " MISSED",
    };
    let reported_lost = listener.runs.iter().map(|run| run.reported_lost).sum::<Option<u64>>();
    [
        result.name.clone(),
        result.events.to_string(),
        listener.program.to_owned(),
        format!("{:.0}", listener.median(ListenerRun::rate) / 1000.0),
        format!("{:.2} ({least:.2}-{most:.2}){}", listener.median(ListenerRun::share), verdict(least >= 100.0)),
        format!("{cost:.2}"),
        result.limit().map_or_else(none, |limit| format!("{:.2}", cost / limit.median(ListenerRun::microseconds))),
        listener.runs.iter().map(|run| run.lost).sum::<u64>().to_string(),
        reported_lost.map_or_else(none, |reported_lost| reported_lost.to_string()),
        format!("{:.1}", listener.runs.iter().map(|run| run.peak).max().unwrap_or(0) as f64 / (1024.0 * 1024.0)),
    ]
}

/// The command lines behind the table.
pub fn commands(results: &[Measured]) -> String {
    let largest = results.iter().map(|result| result.entries).max();
    let mut rows = vec![["case", "ctnl", "conntrack(8)"].map(str::to_owned)];
    for result in results.iter().filter(|result| Some(result.entries) == largest) {
        let conntrack = result.conntrack.as_ref().map_or_else(none, |series| series.command.clone());
        rows.push([result.name.clone(), result.ctnl.command.clone(), conntrack]);
    }
    left_aligned(rows)
}

fn left_aligned<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |place: usize| rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|place| width(place).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
