//! Plays a recording: a frame each interval, or where keys go.

use std::io;

use ctnl::units::{Nanos, Seconds};

use super::model::Frame;
use super::record::Recording;

/// A recording that is played.
#[derive(Debug)]
pub struct Replay {
    recording: Recording,
    place: usize,
    interval: Seconds,
    /// When the next frame is shown, of `CLOCK_MONOTONIC`.
    next: Nanos,
}

impl Replay {
    /// Plays `recording` from its start, a frame each `interval`.
    pub fn new(recording: Recording, interval: Seconds) -> Self {
        Replay { recording, place: 0, interval, next: Nanos(0) }
    }

    /// The number of the frame that was shown last, from 1, and the number of all.
    pub fn position(&self) -> (usize, usize) {
        (self.place, self.recording.len())
    }

    /// The next frame, when its time has come.
    ///
    /// # Errors
    /// It cannot be read; the one behind it is next.
    pub fn next(&mut self, now: Nanos, is_paused: bool) -> io::Result<Option<Frame>> {
        // The first one is shown in any case.
        if (is_paused && self.place > 0) || now < self.next || self.place >= self.recording.len() {
            return Ok(None);
        }
        self.show(self.place, now)
    }

    /// Goes one frame on or back, or so many milliseconds of the recording.
    ///
    /// # Errors
    /// The frame cannot be read.
    pub fn seek(&mut self, back: bool, by: u64, now: Nanos) -> io::Result<Option<Frame>> {
        let shown = self.place.saturating_sub(1);
        let Some(from) = self.recording.time(shown) else { return Ok(None) };
        let is_far = |place: &usize| self.recording.time(*place).is_some_and(|at| at.abs_diff(from) >= by);
        let last = self.recording.len().saturating_sub(1);
        let to = if back {
            (0..shown).rev().find(is_far).unwrap_or(0)
        } else {
            (shown + 1..=last).find(is_far).unwrap_or(last)
        };
        self.show(to, now)
    }

    fn show(&mut self, place: usize, now: Nanos) -> io::Result<Option<Frame>> {
        self.place = place + 1;
        self.next = now.plus(self.interval.into());
        self.recording.frame(place)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::record::Recorder;
    use super::*;

    const SECOND: u64 = Nanos::PER_SECOND;

    /// Five frames, ten seconds apart.
    fn replay() -> (tempfile::TempDir, Replay) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("night");
        let mut recorder = Recorder::open(path.to_str().unwrap()).unwrap();
        for number in 0..5 {
            recorder.record(&Frame { at: number * 10_000, ..Frame::default() }).unwrap();
        }
        let recording = Recording::open(path.to_str().unwrap()).unwrap();
        (folder, Replay::new(recording, Seconds(2)))
    }

    fn at(shown: io::Result<Option<Frame>>) -> Option<u64> {
        shown.unwrap().map(|frame| frame.at / 1000)
    }

    #[test]
    fn a_frame_is_shown_each_interval_up_to_the_end_and_none_in_a_pause() {
        let (_folder, mut replay) = replay();
        assert_eq!(at(replay.next(Nanos(SECOND), true)), Some(0), "the first one");
        assert_eq!(at(replay.next(Nanos(2 * SECOND), false)), None);
        assert_eq!(at(replay.next(Nanos(3 * SECOND), true)), None);
        assert_eq!(at(replay.next(Nanos(3 * SECOND), false)), Some(10));
        for (second, shown) in [(5, Some(20)), (7, Some(30)), (9, Some(40)), (11, None)] {
            assert_eq!(at(replay.next(Nanos(second * SECOND), false)), shown);
        }
        assert_eq!(replay.position(), (5, 5));
    }

    #[test]
    fn keys_go_a_frame_or_a_time_back_and_on_and_stay_within_the_recording() {
        let (_folder, mut replay) = replay();
        let now = Nanos(SECOND);
        replay.next(now, false).unwrap();
        let mut seek = |back, by| at(replay.seek(back, by, now));
        assert_eq!([seek(true, 0), seek(false, 0), seek(false, 15_000)], [Some(0), Some(10), Some(30)]);
        assert_eq!([seek(true, 15_000), seek(false, 60_000), seek(true, 60_000)], [Some(10), Some(40), Some(0)]);
    }
}
