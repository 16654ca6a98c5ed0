//! The last minutes: the sparkline, and when the table is full.

use std::collections::VecDeque;
use std::sync::Arc;

use super::model::{Frame, FrameNetns, is_same_netns};

/// Frames that are kept: ten minutes, two seconds apart.
const KEPT: usize = 300;
/// The time over which growth is measured, in milliseconds.
const TREND: u64 = 60_000;
/// The shortest time that shows a trend.
const SHORTEST: u64 = 1_500;
/// A table that is full only after a week has time enough.
const LATEST: f64 = 7.0 * 86_400.0;

/// What is kept of a frame.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    at: u64,
    /// Of the fullest namespace, if they are of several.
    entries: u64,
    fullest: String,
    new: Option<f64>,
}

/// The last frames.
#[derive(Debug, Clone, Default)]
pub struct History {
    points: VecDeque<Point>,
    max: Option<u64>,
    /// The namespace that the frames are narrowed to.
    only: Option<Arc<FrameNetns>>,
}

/// When the table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// It is.
    Now,
    /// In so many seconds, if it goes on as in the last minute.
    In(u64),
    /// It does not grow, or has no limit.
    NotSoon,
    /// Too few frames.
    Unknown,
}

/// What a sparkline shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// New entries per second, where all are known; otherwise entries.
    pub is_of_new: bool,
    /// The last values, from 0 to 1 of the largest.
    pub values: Vec<f64>,
    /// The largest.
    pub largest: f64,
    /// Milliseconds that it covers.
    pub span: u64,
}

impl History {
    /// Adds a frame. One that is older than the last, as in a recording that is played back, starts anew, and so does one of
    /// other namespaces.
    pub fn add(&mut self, frame: &Frame) {
        let only = frame.only_netns();
        if !is_same_netns(only, self.only.as_ref()) || self.points.back().is_some_and(|last| frame.at < last.at) {
            self.points.clear();
        }
        self.only = only.cloned();
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.max = frame.max;
        let fullest = frame.netns.as_ref().map_or_else(String::new, |netns| netns.fullest.clone());
        let entries = frame.entries_of_fullest();
        self.points.push_back(Point { at: frame.at, entries, fullest, new: frame.new.at_least() });
    }

    /// When the table is full, by the growth of the last minute. Of several namespaces, that of the fullest.
    pub fn full(&self) -> Full {
        let (Some(last), Some(max)) = (self.points.back(), self.max) else {
            return if self.points.is_empty() { Full::Unknown } else { Full::NotSoon };
        };
        if last.entries >= max {
            return Full::Now;
        }
        let is_same = |point: &&Point| point.fullest == last.fullest && last.at - point.at <= TREND;
        let first = self.points.iter().find(is_same).unwrap_or(last);
        let span = last.at - first.at;
        if span < SHORTEST {
            return Full::Unknown;
        }
        let grown = last.entries.saturating_sub(first.entries) as f64;
        let seconds = (max - last.entries) as f64 / (grown * 1000.0 / span as f64);
        if grown > 0.0 && seconds < LATEST { Full::In(seconds as u64) } else { Full::NotSoon }
    }

    /// The last `most` values.
    pub fn curve(&self, most: usize) -> Option<Curve> {
        let points: Vec<&Point> = self.points.iter().skip(self.points.len().saturating_sub(most)).collect();
        // The first frame has no rates.
        let with_rates: Vec<f64> = points.iter().filter_map(|point| point.new).collect();
        let is_of_new = !with_rates.is_empty() && with_rates.len() + 1 >= points.len();
        let values = if is_of_new { with_rates } else { points.iter().map(|point| point.entries as f64).collect() };
        let largest = values.iter().copied().fold(0.0, f64::max);
        let span = points.last()?.at.saturating_sub(points.first()?.at);
        let scaled = values.iter().map(|value| if largest > 0.0 { value / largest } else { 0.0 }).collect();
        Some(Curve { is_of_new, values: scaled, largest, span })
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{NetnsFigures, Rate};
    use super::*;

    fn history(entries: &[(u64, u64)], max: Option<u64>) -> History {
        let mut history = History::default();
        for (second, entries) in entries {
            history.add(&Frame { at: second * 1000, entries: *entries, max, ..Frame::default() });
        }
        history
    }

    #[test]
    fn a_table_that_grows_is_full_when_the_rest_is_used_up() {
        assert_eq!(history(&[(0, 100), (10, 200)], Some(1000)).full(), Full::In(80));
        // Only the last minute counts.
        assert_eq!(history(&[(0, 900), (100, 100), (110, 200)], Some(1000)).full(), Full::In(80));
        assert_eq!(history(&[(0, 100), (10, 90)], Some(1000)).full(), Full::NotSoon);
        assert_eq!(history(&[(0, 100), (10, 101)], Some(1_000_000_000)).full(), Full::NotSoon);
        assert_eq!(history(&[(0, 100), (10, 1000)], Some(1000)).full(), Full::Now);
        assert_eq!(history(&[(0, 100)], Some(1000)).full(), Full::Unknown);
        assert_eq!(history(&[(0, 100), (10, 200)], None).full(), Full::NotSoon);
    }

    #[test]
    fn the_growth_is_that_of_one_namespace_also_where_another_one_was_the_fullest_before() {
        let mut history = History::default();
        for (second, name, fullest_entries) in [(0, "blue", 100), (10, "blue", 200), (20, "red", 500), (30, "red", 600)]
        {
            let netns = NetnsFigures { fullest: name.into(), fullest_entries, ..NetnsFigures::default() };
            let frame =
                Frame { at: second * 1000, entries: 9999, max: Some(1000), netns: Some(netns), ..Frame::default() };
            history.add(&frame);
            let expected = [Full::Unknown, Full::In(80), Full::Unknown, Full::In(40)];
            assert_eq!(Some(&history.full()), expected.get(second as usize / 10));
        }
    }

    #[test]
    fn frames_of_one_namespace_do_not_continue_those_of_all() {
        let mut history = History::default();
        let all = NetnsFigures::default();
        let only = Some(Arc::new(FrameNetns { id: 3, ..FrameNetns::default() }));
        let one = NetnsFigures { only, ..NetnsFigures::default() };
        for (at, netns, points) in [(1, &all, 1), (2, &all, 2), (3, &one, 1), (4, &one, 2), (5, &all, 1)] {
            history.add(&Frame { at, netns: Some(netns.clone()), ..Frame::default() });
            assert_eq!(history.points.len(), points);
        }
    }

    #[test]
    fn in_a_recording_frames_of_one_namespace_do_not_continue_those_of_another() {
        let mut history = History::default();
        for (at, name, points) in [(1, "blue", 1), (2, "blue", 2), (3, "red", 1), (4, "red", 2)] {
            let only = Some(Arc::new(FrameNetns { name: name.to_owned(), ..FrameNetns::default() }));
            let netns = Some(NetnsFigures { only, ..NetnsFigures::default() });
            history.add(&Frame { at, netns, ..Frame::default() });
            assert_eq!(history.points.len(), points);
        }
    }

    #[test]
    fn memory_is_bounded_and_frames_that_go_back_start_anew() {
        let many: Vec<_> = (0..1000).map(|second| (second, second)).collect();
        let mut history = history(&many, None);
        assert_eq!(history.points.len(), KEPT);
        history.add(&Frame { at: 5, ..Frame::default() });
        assert_eq!(history.points.len(), 1);
    }

    #[test]
    fn the_curve_is_of_new_entries_where_they_are_known_and_else_of_entries() {
        let mut history = history(&[(0, 5)], None);
        let add = |history: &mut History, second: u64, new| {
            history.add(&Frame { at: second * 1000, entries: 10, new, ..Frame::default() });
        };
        add(&mut history, 1, Rate::Known(4.0));
        add(&mut history, 2, Rate::AtLeast(8.0));
        let expected = Curve { is_of_new: true, values: vec![0.5, 1.0], largest: 8.0, span: 2000 };
        assert_eq!(history.curve(10), Some(expected));
        add(&mut history, 3, Rate::Unknown);
        let expected = Curve { is_of_new: false, values: vec![0.5, 1.0, 1.0, 1.0], largest: 10.0, span: 3000 };
        assert_eq!(history.curve(10), Some(expected));
        assert_eq!(History::default().curve(10), None);
    }
}
