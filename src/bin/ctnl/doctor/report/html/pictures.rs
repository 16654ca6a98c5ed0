//! Pictures of the table: how full it is by state, how long entries have been idle, who has most of them.
//!
//! Each is a table that is read without the picture, too; bars are SVG, which is printed where backgrounds are not. Parts
//! of a bar differ by pattern, not by colour alone.

use std::fmt::Display;

use super::page::{Page, grouped, percent, shown_percent};
use crate::doctor::evidence::{Evidence, Survey};

/// Parts of the bar with a pattern of their own; the rest is one part.
const MAX_STATES: usize = 7;
const MAX_SOURCES: usize = 10;
/// Patterns, in the order of the parts: the classes `p0` to `p8` in style.css, and the patterns in this file.
const FILLS: [&str; 9] = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];
/// The fill of what is not in the largest parts, and of what the dump did not show.
const OTHER: &str = "7";
const NOT_DUMPED: &str = "8";

/// The patterns that the bars are filled with.
pub const PATTERNS: &str = "\
<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>\
<pattern id=\"p0\" class=\"p0\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/></pattern>\
<pattern id=\"p1\" class=\"p1\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>\
<path d=\"M-2 2 2-2M0 8 8 0M6 10 10 6\"/></pattern>\
<pattern id=\"p2\" class=\"p2\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>\
<path d=\"M2 0V8M6 0V8\"/></pattern>\
<pattern id=\"p3\" class=\"p3\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>\
<circle cx=\"2\" cy=\"2\" r=\"1.3\"/><circle cx=\"6\" cy=\"6\" r=\"1.3\"/></pattern>\
<pattern id=\"p4\" class=\"p4\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>\
<path d=\"M-2 6 2 10M0 0 8 8M6-2 10 2\"/></pattern>\
<pattern id=\"p5\" class=\"p5\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>\
<path d=\"M0 2H8M0 6H8\"/></pattern>\
<pattern id=\"p6\" class=\"p6\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>\
<path d=\"M0 0H8M0 0V8\"/></pattern>\
<pattern id=\"p7\" class=\"p7\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/></pattern>\
<pattern id=\"p8\" class=\"p8\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>\
<circle cx=\"4\" cy=\"4\" r=\"1\"/></pattern>\
</defs></svg>\n";

/// A part of the stacked bar.
struct Part {
    name: String,
    entries: u64,
    evictable: Option<u64>,
    fill: &'static str,
}

/// Adds the pictures of the table, or why there are none.
pub fn add(page: &mut Page, evidence: &Evidence) {
    match &evidence.survey {
        Ok(survey) => {
            fullness(page, evidence, survey);
            idle_times(page, survey);
            sources(page, survey);
        }
        Err(why) => {
            page.markup("<section class=\"wide\"><h2>The table</h2>");
            page.element("<p>Not measured: ", why, "</p></section>\n");
        }
    }
}

fn fullness(page: &mut Page, evidence: &Evidence, survey: &Survey) {
    let occupancy = evidence.occupancy.as_ref().ok();
    let entries = occupancy.map_or(survey.entries, |occupancy| occupancy.entries()).max(survey.entries);
    let max = occupancy.and_then(|occupancy| occupancy.after.max).map(u64::from).filter(|max| *max > 0);
    let all = max.map_or(entries, |max| max.max(entries));
    let parts = parts(survey, entries);
    page.markup("<section class=\"wide\"><h2>How full the table is, by state</h2>\n<p>");
    match max {
        Some(max) => {
            page.text(format!("{} of {} entries, {}", grouped(entries), grouped(max), shown_percent(entries, max)))
        }
        None => page.text(format!("{} entries, and no limit that is known", grouped(entries))),
    };
    page.text(format!("; {} can be evicted for a new one (not ASSURED).", grouped(survey.evictable)));
    if let Some(why) = survey.incomplete {
        page.text(format!(" Entries may be missing: {why}."));
    }
    page.markup("</p>\n");
    stacked_bar(page, &parts, all);
    legend(page, &parts, all, all - entries);
    page.markup("</section>\n");
}

/// The names and figures of the parts, and what is free.
fn legend(page: &mut Page, parts: &[Part], all: u64, free: u64) {
    page.markup("<table class=\"legend\"><thead><tr><th scope=\"col\">State<th scope=\"col\" class=\"n\">Entries");
    page.markup("<th scope=\"col\" class=\"n\">Of all<th scope=\"col\" class=\"n\">Evictable</tr></thead><tbody>\n");
    for part in parts {
        legend_row(page, part, all);
    }
    if free > 0 {
        page.markup("<tr><td><svg class=\"swatch free\" aria-hidden=\"true\">");
        page.markup("<rect width=\"100%\" height=\"100%\"/></svg>free").element("<td class=\"n\">", grouped(free), "");
        page.element("<td class=\"n\">", shown_percent(free, all), "<td class=\"n\">–</tr>\n");
    }
    page.markup("</tbody></table>\n");
}

/// The states with most entries, the rest, and what the kernel counts beside the entries of the dump.
fn parts(survey: &Survey, entries: u64) -> Vec<Part> {
    let rows = survey.states.rows();
    let (largest, rest) = rows.split_at(rows.len().min(MAX_STATES));
    let mut parts: Vec<_> = largest
        .iter()
        .zip(FILLS)
        .map(|((state, row), fill)| Part {
            name: state.to_string(),
            entries: row.entries,
            evictable: Some(row.evictable),
            fill,
        })
        .collect();
    let other: u64 = rest.iter().map(|(_, row)| row.entries).sum();
    if other > 0 {
        let evictable = Some(rest.iter().map(|(_, row)| row.evictable).sum());
        parts.push(Part { name: "other states".to_owned(), entries: other, evictable, fill: OTHER });
    }
    let missing = entries.saturating_sub(survey.entries);
    if missing > 0 {
        let name = "counted, not in the dump (expired, or came since)".to_owned();
        parts.push(Part { name, entries: missing, evictable: None, fill: NOT_DUMPED });
    }
    parts
}

fn stacked_bar(page: &mut Page, parts: &[Part], all: u64) {
    page.markup("<svg class=\"stack\" role=\"img\" aria-label=\"Entries by state, as in the table below\"><rect class=\"track\" width=\"100%\" height=\"100%\"/>");
    let mut x = 0.0;
    for part in parts {
        let width = percent(part.entries, all);
        page.markup("<rect class=\"part\" x=\"").position(x).markup("%\" width=\"").position(width);
        page.markup("%\" height=\"100%\" fill=\"url(#p").markup(part.fill).markup(")\"><title>");
        page.text(format!("{}: {}", part.name, grouped(part.entries))).markup("</title></rect>");
        x += width;
    }
    page.markup("<rect class=\"frame\" width=\"100%\" height=\"100%\"/></svg>\n");
}

fn legend_row(page: &mut Page, part: &Part, all: u64) {
    page.markup(
        "<tr><td><svg class=\"swatch\" aria-hidden=\"true\"><rect width=\"100%\" height=\"100%\" fill=\"url(#p",
    );
    page.markup(part.fill).markup(")\"/></svg>").text(&part.name);
    page.element("<td class=\"n\">", grouped(part.entries), "");
    page.element("<td class=\"n\">", shown_percent(part.entries, all), "");
    page.element("<td class=\"n\">", part.evictable.map_or("–".to_owned(), grouped), "</tr>\n");
}

fn idle_times(page: &mut Page, survey: &Survey) {
    page.markup(
        "<section><h2>How long entries have been idle</h2>\n<p>An entry is in the range that it has certainly reached, as in <code>ctnl flush --older</code>.</p>\n",
    );
    let idle = &survey.idle.all;
    let mut rows: Vec<_> = idle.named().map(|(name, entries)| (name.to_owned(), entries)).collect();
    if idle.unknown() > 0 {
        rows.push(("unknown".to_owned(), idle.unknown()));
    }
    bars(page, "Idle", &rows, survey.entries);
    page.markup("</section>\n");
}

fn sources(page: &mut Page, survey: &Survey) {
    let sources = &survey.endpoints.sources;
    page.markup("<section><h2>Who has most entries</h2>\n<p>By source of the first packet");
    if !sources.is_exact() {
        page.text(format!("; each count may be too low by {} at most", grouped(sources.error())));
    }
    page.markup(".</p>\n");
    bars(page, "Source", &sources.top(MAX_SOURCES), survey.entries);
    page.markup("</section>\n");
}

/// A table with a bar in each row; the longest has the whole width.
fn bars(page: &mut Page, heading: &'static str, rows: &[(impl Display, u64)], all: u64) {
    if rows.is_empty() {
        page.markup("<p>There are no entries.</p>\n");
        return;
    }
    let longest = rows.iter().map(|(_, entries)| *entries).max().unwrap_or(0);
    page.markup("<table class=\"bars\"><thead><tr><th scope=\"col\">").markup(heading);
    page.markup("<th scope=\"col\" class=\"n\">Entries<th scope=\"col\" class=\"n\">Of all<th aria-hidden=\"true\" class=\"bar\"></tr></thead><tbody>\n");
    for (name, entries) in rows {
        page.element("<tr><td>", name, "");
        page.element("<td class=\"n\">", grouped(*entries), "").element(
            "<td class=\"n\">",
            shown_percent(*entries, all),
            "",
        );
        page.markup("<td class=\"bar\" aria-hidden=\"true\"><svg><rect width=\"").position(percent(*entries, longest));
        page.markup("%\" height=\"100%\"/></svg></tr>\n");
    }
    page.markup("</tbody></table>\n");
}
