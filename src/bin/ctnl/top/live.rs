//! Frames from the kernel, made by a thread of their own, so that keys are answered during a dump.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};

use ctnl::clock::Clock;
use ctnl::units::{Nanos, Seconds};

use super::model::Frame;
use super::pace::{Pace, processor_time, rest};
use super::record::Recorder;
use super::sample::{Sampler, Wanted};
use super::view::ShownFilter;

/// What is sampled from now on.
#[derive(Debug)]
pub struct Request {
    /// The tables, and their order.
    pub wanted: Wanted,
    /// Another filter.
    pub filter: Option<ShownFilter>,
}

/// Frames that wait to be shown. While the screen is left for a question, or the terminal takes nothing, further ones are
/// recorded and not shown, so that memory is bounded.
const WAITING: usize = 2;

/// No frame is waited for.
const NONE: u64 = u64::MAX;

/// The thread.
#[derive(Debug)]
pub struct Live {
    requests: Option<Sender<Request>>,
    frames: Receiver<Result<Frame, String>>,
    /// When the dump begins that was requested, by the monotonic clock; [`NONE`] where it has begun, or none was.
    due: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    not_recorded: Arc<OnceLock<String>>,
}

impl Live {
    /// Starts to sample every `interval`, or less often, and to record, also what is not shown.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(sampler: Sampler, interval: Seconds, clock: &Clock, recorder: Option<Recorder>) -> io::Result<Self> {
        let ((requests, received), (sender, frames)) = (channel(), sync_channel(WAITING));
        let stop = Arc::new(AtomicBool::new(false));
        let due = Arc::new(AtomicU64::new(NONE));
        let not_recorded = Arc::new(OnceLock::new());
        let mut sampling = Sampling {
            sampler,
            recorder,
            not_recorded: Arc::clone(&not_recorded),
            pace: Pace::of(interval),
            clock: clock.clone(),
            requests: received,
            pending: None,
            due: Arc::clone(&due),
            stop: Arc::clone(&stop),
        };
        let run = move || sampling.run(&sender);
        let thread = Builder::new().name("sample".to_owned()).spawn(run)?;
        Ok(Live { requests: Some(requests), frames, due, stop, thread: Some(thread), not_recorded })
    }

    /// When the dump begins that was requested, where the [`Pace`] does not allow it yet.
    pub fn due(&self) -> Option<Nanos> {
        Some(self.due.load(Ordering::Relaxed)).filter(|due| *due != NONE).map(Nanos)
    }

    /// Why recording ended, once it has; also after the end.
    pub fn not_recorded(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.not_recorded)
    }

    /// Samples something else from now on, as soon as the [`Pace`] allows it.
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
    recorder: Option<Recorder>,
    /// Why recording ended.
    not_recorded: Arc<OnceLock<String>>,
    pace: Pace,
    clock: Clock,
    requests: Receiver<Request>,
    /// What the next frame has to show.
    pending: Option<Request>,
    due: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Sampling {
    fn run(&mut self, frames: &SyncSender<Result<Frame, String>>) {
        loop {
            let (began, used) = (self.clock.now().monotonic, processor_time());
            if let Some(request) = self.pending.take() {
                self.apply(request);
            }
            let sampled = match self.sampler.sample(&self.stop) {
                Ok(Some(frame)) => Ok(frame),
                Ok(None) => return,
                Err(error) => Err(format!("{error:#}")),
            };
            if let (Ok(frame), Some(recorder)) = (&sampled, &mut self.recorder)
                && let Err(error) = recorder.record(frame)
            {
                let _ = self.not_recorded.set(error.to_string());
            }
            self.pace.made(began, processor_time().since(used).plus(self.sampler.entering()));
            if !self.show(frames, sampled) || !self.wait(frames) {
                return;
            }
            self.due.store(NONE, Ordering::Relaxed);
        }
    }

    /// Passes on what is shown, unless too much of it waits. False at the end.
    fn show(&self, frames: &SyncSender<Result<Frame, String>>, next: Result<Frame, String>) -> bool {
        !matches!(frames.try_send(next), Err(TrySendError::Disconnected(_)))
    }

    /// Reads events until the next frame. False at the end.
    fn wait(&mut self, frames: &SyncSender<Result<Frame, String>>) -> bool {
        loop {
            let is_required = self.pending.is_some();
            let due = if is_required { self.pace.next_required() } else { self.pace.next() };
            self.due.store(if is_required { due.0 } else { NONE }, Ordering::Relaxed);
            let rest = rest(due, self.clock.now().monotonic);
            match self.requests.recv_timeout(rest.length) {
                Ok(request) => {
                    self.add(request);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) if rest.length.is_zero() => return true,
                Err(RecvTimeoutError::Timeout) if rest.is_last => continue,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let (began, used) = (self.clock.now().monotonic, processor_time());
            if let Err(error) = self.sampler.read_events()
                && !self.show(frames, Err(format!("{error:#}")))
            {
                return false;
            }
            self.pace.used(began, processor_time().since(used));
        }
    }

    /// Keys that are pressed before a dump make one.
    fn add(&mut self, request: Request) {
        let filter = self.pending.take().and_then(|earlier| earlier.filter);
        self.pending = Some(Request { filter: request.filter.or(filter), ..request });
    }

    fn apply(&mut self, Request { wanted, filter }: Request) {
        self.sampler.set_wanted(wanted);
        if let Some(filter) = filter {
            self.sampler.set_filter(filter);
        }
    }
}
