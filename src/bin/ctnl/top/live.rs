//! Frames from the kernel, made by a thread of their own, so that keys are answered during a dump.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use ctnl::clock::Clock;
use ctnl::units::{Nanos, Seconds};

use super::model::Frame;
use super::pace::next_frame;
use super::sample::{Sampler, Wanted};
use super::view::ShownFilter;

/// Time between two readings of events.
const TICK: Duration = Duration::from_millis(100);

/// What is sampled from now on.
#[derive(Debug)]
pub enum Request {
    /// Other tables, or another order.
    Wanted(Wanted),
    /// Another filter.
    Filter(ShownFilter),
}

/// The thread.
#[derive(Debug)]
pub struct Live {
    requests: Option<Sender<Request>>,
    frames: Receiver<Result<Frame, String>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts to sample every `interval`, or less often.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(sampler: Sampler, interval: Seconds, clock: &Clock) -> io::Result<Self> {
        let ((requests, received), (sender, frames)) = (channel(), channel());
        let stop = Arc::new(AtomicBool::new(false));
        let mut sampling =
            Sampling { sampler, interval, clock: clock.clone(), requests: received, stop: Arc::clone(&stop) };
        let run = move || sampling.run(&sender);
        let thread = Builder::new().name("sample".to_owned()).spawn(run)?;
        Ok(Live { requests: Some(requests), frames, stop, thread: Some(thread) })
    }

    /// Samples something else from now on, at once.
    pub fn request(&self, request: Request) {
        // Where the thread has ended, the next frame is its error.
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }

    /// The next frame, or why there is none; `None` where it is not there yet.
    pub fn next(&self) -> Option<Result<Frame, String>> {
        match self.frames.try_recv() {
            Ok(frame) => Some(frame),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(ENDED.to_owned())),
        }
    }
}

/// The thread that samples has ended.
pub const ENDED: &str = "the thread that reads the table has ended";

impl Drop for Live {
    /// Ends the dump that runs, and waits for the thread.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Sampling {
    sampler: Sampler,
    interval: Seconds,
    clock: Clock,
    requests: Receiver<Request>,
    stop: Arc<AtomicBool>,
}

impl Sampling {
    fn run(&mut self, frames: &Sender<Result<Frame, String>>) {
        loop {
            let began = self.clock.now().monotonic;
            let sampled = match self.sampler.sample(&self.stop) {
                Ok(Some(frame)) => Ok(frame),
                Ok(None) => return,
                Err(error) => Err(format!("{error:#}")),
            };
            let next = next_frame(began, self.clock.now().monotonic, self.interval);
            if frames.send(sampled).is_err() || !self.wait(next, frames) {
                return;
            }
        }
    }

    /// Reads events until `next`, or until something else is requested. False at the end.
    fn wait(&mut self, next: Nanos, frames: &Sender<Result<Frame, String>>) -> bool {
        loop {
            let left = Duration::from(next.since(self.clock.now().monotonic));
            match self.requests.recv_timeout(left.min(TICK)) {
                Ok(request) => {
                    self.apply(request);
                    // Keys that were pressed in the meantime make one dump.
                    while let Ok(request) = self.requests.try_recv() {
                        self.apply(request);
                    }
                    return true;
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(error) = self.sampler.read_events()
                && frames.send(Err(format!("{error:#}"))).is_err()
            {
                return false;
            }
            if left.is_zero() {
                return true;
            }
        }
    }

    fn apply(&mut self, request: Request) {
        match request {
            Request::Wanted(wanted) => self.sampler.set_wanted(wanted),
            Request::Filter(filter) => self.sampler.set_filter(filter),
        }
    }
}
