//! The counters over the window: a line for each that has moved, and a table of all.

use super::page::{Page, grouped};
use crate::doctor::evidence::{Evidence, SeriesPoint, Window};

/// Most lines.
const MAX_LINES: usize = 8;
/// With fewer samples a line says no more than the table.
const MIN_POINTS: usize = 3;
/// Counters whose movement is a fault are shown first, in this order.
const FAULTS: [&str; 5] = ["drop", "early_drop", "insert_failed", "chaintoolong", "error"];

/// Adds them, or why there are none.
pub fn add(page: &mut Page, evidence: &Evidence) {
    page.markup("<section class=\"wide\"><h2>Counters over the window</h2>\n");
    match &evidence.window {
        Ok(window) => {
            page.element("<p>Measured for ", format!("{:.1}", window.seconds()), " s.</p>\n");
            lines(page, window, &evidence.series);
            table(page, window);
        }
        Err(why) => {
            page.element("<p>Not measured: ", why, "</p>\n");
        }
    }
    page.markup("</section>\n");
}

/// A value at a time of the window.
type Point = (f64, f64);

fn lines(page: &mut Page, window: &Window, series: &[SeriesPoint]) {
    if series.len() < MIN_POINTS {
        return;
    }
    let entries: Vec<Point> = series.iter().filter_map(|point| Some((seconds(point), point.entries? as f64))).collect();
    let mut moving: Vec<&str> =
        window.counters.iter().filter(|counter| counter.change > 0).map(|counter| &*counter.name).collect();
    moving.sort_by_key(|name| FAULTS.iter().position(|fault| fault == name).unwrap_or(FAULTS.len()));
    page.markup("<div class=\"lines\">\n");
    line(page, "entries in the table", &entries, false);
    for name in moving.into_iter().take(MAX_LINES) {
        let points: Vec<Point> =
            series.iter().filter_map(|point| Some((seconds(point), point.change(name)? as f64))).collect();
        line(page, name, &points, true);
    }
    page.markup("</div>\n");
}

fn seconds(point: &SeriesPoint) -> f64 {
    point.at.as_millis_f64() / 1000.0
}

/// A chart of one counter. `from_zero` is for what was counted since the first sample.
fn line(page: &mut Page, name: &str, points: &[Point], from_zero: bool) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let low = if from_zero { 0.0 } else { points.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min) };
    let high = points.iter().map(|(_, value)| *value).fold(low, f64::max);
    let shown = |value: f64| grouped(value as u64);
    let label = format!("{name} from {} to {}", shown(first.1), shown(last.1));
    page.element("<figure><figcaption><b>", name, "</b> ").text(signed(first.1, last.1));
    page.element("</figcaption><svg role=\"img\" aria-label=\"", label, "\">");
    let position = |(time, value): &Point| {
        (2.0 + share(time - first.0, last.0 - first.0) * 96.0, 92.0 - share(value - low, high - low) * 84.0)
    };
    curve(page, &points.iter().map(position).collect::<Vec<_>>());
    page.element("</svg><div class=\"axis\"><span>0 s</span><span>", shown(low), " to ").text(shown(high));
    page.element("</span><span>", format!("{:.1} s", last.0), "</span></div></figure>\n");
}

/// A line through `positions`, in percent of the picture, and a point at each.
fn curve(page: &mut Page, positions: &[Point]) {
    page.markup("<svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\"><polyline points=\"");
    for (x, y) in positions {
        page.position(*x).markup(",").position(*y).markup(" ");
    }
    page.markup("\"/></svg>");
    for (x, y) in positions {
        page.markup("<circle cx=\"").position(*x).markup("%\" cy=\"").position(*y).markup("%\" r=\"2.5\"/>");
    }
}

/// What a value has changed by: `+12`.
fn signed(first: f64, last: f64) -> String {
    let sign = if last < first { "−" } else { "+" };
    format!("{sign}{}", grouped((last - first).abs() as u64))
}

/// The part that `value` is of `all`, from 0 to 1.
fn share(value: f64, all: f64) -> f64 {
    if all > 0.0 { (value / all).clamp(0.0, 1.0) } else { 0.0 }
}

fn table(page: &mut Page, window: &Window) {
    page.markup("<table><thead><tr><th scope=\"col\">Counter<th scope=\"col\" class=\"n\">In the window<th scope=\"col\" class=\"n\">Per second<th scope=\"col\" class=\"n\">Since the start</tr></thead><tbody>\n");
    for counter in &window.counters {
        let row = if counter.change > 0 { "<tr class=\"moves\"><td>" } else { "<tr><td>" };
        page.element(row, &counter.name, "").element("<td class=\"n\">", grouped(counter.change), "");
        page.element("<td class=\"n\">", format!("{:.1}", window.per_second(counter.change)), "");
        page.element("<td class=\"n\">", grouped(counter.total), "</tr>\n");
    }
    page.markup("</tbody></table>\n");
}
