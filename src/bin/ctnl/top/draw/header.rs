//! The figures: how full the table is, how fast it changes, and the last minutes.

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::super::batch::{full, missing, namespaces, no_events, time};
use super::super::history::{Curve, Full};
use super::super::look::Look;
use super::super::model::{Frame, NetnsFigures};
use super::super::pace::PARTS;
use super::super::screen::{Overlay, Screen, Source};
use super::super::text::{count, cut, duration, rate};
use super::put;
use crate::term::console::percent;

/// The lines of the header.
pub struct Header<'a> {
    pub screen: &'a Screen,
    pub look: Look,
    pub zone: &'a TimeZone,
}

/// A screen with fewer rows has no curve.
const LOW: u16 = 15;
/// An interval that is so many milliseconds longer than asked for is explained.
const SLOWER: u64 = 500;

impl Header<'_> {
    /// The lines that it needs.
    pub fn height(area: Rect, screen: &Screen) -> u16 {
        let is_covered = !matches!(screen.overlay, Overlay::None | Overlay::Filter(_));
        if is_covered && area.height < LOW {
            return 1;
        }
        let curve = u16::from(area.height >= LOW);
        let filter = u16::from(!screen.filter.is_empty());
        let figures = if area.width < NARROW { 4 } else { 2 };
        1 + figures + curve + filter + Header::warnings(screen)
    }

    /// The lines of what is missing in the frame.
    fn warnings(screen: &Screen) -> u16 {
        let of_netns =
            |netns: &NetnsFigures| u16::from(!netns.missing.is_empty()) + u16::from(!netns.no_events.is_empty());
        let of_frame = |frame: &Frame| u16::from(frame.is_resized) + frame.netns.as_ref().map_or(0, of_netns);
        u16::from(screen.not_recorded.is_some()) + screen.frame.as_ref().map_or(0, of_frame)
    }

    fn title(&self, width: u16) -> String {
        let screen = self.screen;
        let (paused, mut source) = match (&screen.source, screen.is_paused) {
            (Source::Kernel(netns), is_paused) => (if is_paused { "PAUSED" } else { "" }, netns.trim().to_owned()),
            (Source::Recording(name), is_paused) => {
                (if is_paused { "RECORDING PAUSED" } else { "RECORDING" }, ctnl::text::printable(name).into_owned())
            }
        };
        if let Some((frame, netns)) = screen.frame.as_ref().and_then(|frame| Some((frame, frame.netns.as_ref()?))) {
            source = [source, of_netns(frame, netns)].join("  ").trim().to_owned();
        }
        let (mut at, mut interval) = (String::new(), String::new());
        if let Some(frame) = &screen.frame {
            at = time(frame, self.zone);
            interval = pace(frame, screen);
        }
        let is_narrow = width < NARROW;
        // The date is left out first.
        let at = if is_narrow { at.split(' ').next_back().unwrap_or_default() } else { &at };
        let recorded = match &screen.not_recorded {
            Some(_) => "NOT RECORDING",
            None if screen.is_recorded => "recording",
            None => "",
        };
        let mut parts = ["ctnl top", paused, recorded, &source, at, &interval];
        if is_narrow {
            parts.swap(3, 4);
        }
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
    }
}

/// The namespaces that the frame is of.
fn of_netns(frame: &Frame, netns: &NetnsFigures) -> String {
    let entries = if netns.only.is_some() { String::new() } else { format!("{} entries in ", count(frame.entries)) };
    format!("{entries}{}", namespaces(netns))
}

/// How often frames come, if that is not as asked for.
fn pace(frame: &Frame, screen: &Screen) -> String {
    let seconds = |milliseconds: u64| format!("{:.1} s", milliseconds as f64 / 1000.0);
    let is_due_to_dumps = frame.interval > screen.interval + SLOWER && took_long(frame);
    if is_due_to_dumps && matches!(screen.source, Source::Kernel(_)) {
        return format!("every {}: a dump takes {}", seconds(frame.interval), seconds(frame.took));
    }
    format!("every {}", seconds(if frame.interval > 0 { frame.interval } else { screen.interval }))
}

/// A dump of this length makes the interval that long.
fn took_long(frame: &Frame) -> bool {
    frame.took.saturating_mul(PARTS) + SLOWER >= frame.interval
}

/// Narrower screens have one figure less in a line.
const NARROW: u16 = 70;

impl Widget for Header<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        put::line(buffer, area, 0, &[(&self.title(area.width), self.look.name())]);
        let Some(frame) = &self.screen.frame else {
            put::line(buffer, area, 1, &[("reading the table", Style::new())]);
            return;
        };
        let mut row = self.occupancy(frame, area, buffer);
        row = self.rates(frame, area, row, buffer);
        if area.height > row && Header::shows_curve(area, row, self.screen) {
            self.curve(area, row, buffer);
            row += 1;
        }
        if !self.screen.filter.is_empty() {
            put::line(buffer, area, row, &[(&self.filter(frame, area.width), Style::new())]);
            row += 1;
        }
        if let Some(why) = &self.screen.not_recorded {
            put::line(
                buffer,
                area,
                row,
                &[(&format!("NOT RECORDING: {}", ctnl::text::printable(why)), self.look.warning())],
            );
            row += 1;
        }
        if frame.is_resized {
            let text = "the hash table was resized during the dump: entries may be missing";
            put::line(buffer, area, row, &[(text, self.look.warning())]);
            row += 1;
        }
        let Some(netns) = &frame.netns else { return };
        // The lines are cut at the edge of the screen.
        if !netns.missing.is_empty() {
            let number = netns.missing.len() as u64 + netns.more_missing;
            let text = format!("{number} missing: {}", missing(netns).join("; "));
            put::line(buffer, area, row, &[(&text, self.look.warning())]);
            row += 1;
        }
        if !netns.no_events.is_empty() {
            let number = netns.no_events.len() as u64 + netns.more_no_events;
            let text = format!("{number} without events: {}", no_events(netns).join("; "));
            put::line(buffer, area, row, &[(&text, self.look.warning())]);
        }
    }
}

impl Header<'_> {
    /// The rows behind are those of filter and warning.
    fn shows_curve(area: Rect, row: u16, screen: &Screen) -> bool {
        let others = u16::from(!screen.filter.is_empty());
        area.height - row > others + Header::warnings(screen)
    }

    /// The bar. The row behind it.
    fn occupancy(&self, frame: &Frame, area: Rect, buffer: &mut Buffer) -> u16 {
        let is_narrow = area.width < NARROW;
        let full_text = full(self.screen.history.full());
        let is_full = self.screen.history.full() == Full::Now;
        let (entries, is_fullest) =
            (frame.entries_of_fullest(), frame.netns.as_ref().filter(|netns| netns.only.is_none()));
        let fullest = is_fullest.map_or_else(String::new, |netns| format!(" fullest {}:", cut(&netns.fullest, 20)));
        let figures = match frame.max {
            Some(max) => format!("{fullest} {entries} of {max} {}", percent(entries, max)),
            None => format!("{fullest} {entries} entries, no maximum"),
        };
        let full_style = if is_full { self.look.warning() } else { Style::new() };
        let behind = figures.chars().count() + if is_narrow { 0 } else { full_text.chars().count() + 2 };
        let width = usize::from(area.width).saturating_sub(behind + 2).min(60);
        let share = frame.max.map_or(0.0, |max| entries as f64 / max as f64).min(1.0);
        let used = ((share * width as f64).ceil() as usize).min(width);
        let bar = if self.look.is_utf8 { "█" } else { "#" }.repeat(used);
        let rest = if self.look.is_utf8 { "░" } else { "." }.repeat(width - used);
        let plain = Style::new();
        let mut parts =
            vec![("[", plain), (&*bar, self.look.bar(share)), (&*rest, plain), ("]", plain), (&*figures, plain)];
        if is_narrow {
            put::line(buffer, area, 1, &parts);
            let evictable = format!("  evictable {}", percent(frame.evictable, frame.seen));
            put::line(buffer, area, 2, &[(&full_text, full_style), (&evictable, plain)]);
            return 3;
        }
        parts.extend([("  ", plain), (&*full_text, full_style)]);
        put::line(buffer, area, 1, &parts);
        2
    }

    fn rates(&self, frame: &Frame, area: Rect, row: u16, buffer: &mut Buffer) -> u16 {
        let evictable = format!("evictable {}", percent(frame.evictable, frame.seen));
        let changes = format!("new {}/s  destroyed {}/s", rate(frame.new), rate(frame.destroyed));
        let drops = format!("drop {}/s  early_drop {}/s", rate(frame.drop), rate(frame.early_drop));
        let is_dropping = [frame.drop, frame.early_drop].iter().any(|rate| rate.at_least() > Some(0.0));
        let drop_style = if is_dropping { self.look.warning() } else { Style::new() };
        let plain = Style::new();
        if area.width < NARROW {
            put::line(buffer, area, row, &[(&changes, plain)]);
            put::line(buffer, area, row + 1, &[(&drops, drop_style)]);
            return row + 2;
        }
        put::line(
            buffer,
            area,
            row,
            &[(&evictable, plain), ("  ", plain), (&changes, plain), ("  ", plain), (&drops, drop_style)],
        );
        row + 1
    }

    fn curve(&self, area: Rect, row: u16, buffer: &mut Buffer) {
        const BESIDE: usize = 34;
        let width = usize::from(area.width).saturating_sub(BESIDE).min(120);
        let Some(curve) = self.screen.history.curve(width) else { return };
        let levels: String = curve.values.iter().map(|value| level(*value, self.look.levels())).collect();
        put::line(buffer, area, row, &[(&description(&curve), Style::new()), (&levels, Style::new())]);
    }

    fn filter(&self, frame: &Frame, width: u16) -> String {
        let undecided =
            if frame.undecided > 0 { format!(", {} undecided", count(frame.undecided)) } else { String::new() };
        let matched = match frame.filter == self.screen.filter {
            true => format!(": {} matched{undecided}", count(frame.matched)),
            false => ": reading".to_owned(),
        };
        let text = ctnl::text::printable(&self.screen.filter).into_owned();
        let left = usize::from(width).saturating_sub("filter ".len() + matched.chars().count());
        format!("filter {}{matched}", cut(&text, left))
    }
}

fn description(curve: &Curve) -> String {
    let what = if curve.is_of_new { "new/s" } else { "entries" };
    format!("{what} of {}, most {}  ", duration(curve.span / 1000), count(curve.largest.round() as u64))
}

fn level(value: f64, levels: [char; 8]) -> char {
    let place = (value * 7.0).round() as usize;
    levels.get(place).copied().unwrap_or('?')
}
