//! Output in chunks: the dump goes on while a thread writes.
//!
//! A format appends to [`ChunkWriter::buffer`]; [`ChunkWriter::commit`] hands a
//! full chunk to the thread and takes a written one back. What fits into one
//! chunk is written without a thread.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Bytes of a chunk that is handed over. Measured: with 64 KiB the hand-over costs 5 % of a
/// dump, with 128 KiB up to 3 %, or nothing that can be seen, by the machine.
pub const CHUNK: usize = 128 * 1024;
/// Chunks there are at most: one is being filled, and one is being written. Together they take
/// some 260 KiB, whatever the sink does. A third one that waits made nothing faster.
const CHUNKS: usize = 2;
/// Bytes of the thread's stack. With the 2 MiB of default, stack and chunks lie in one
/// mapping, which a kernel that gives huge pages to everybody (Debian's) may then fill
/// with one: 2 MiB more, in one run of ten.
const STACK: usize = 256 * 1024;
/// Bytes of a chunk for a sink that takes it at once. Measured with /dev/null: 32 and 128 KiB
/// take longer.
const DIRECT_CHUNK: usize = 64 * 1024;
/// Bytes of a chunk on a terminal, which a person should see fill up.
const TERMINAL_CHUNK: usize = 4 * 1024;
/// Room for the entry that makes a chunk full, so that it need not grow.
const LAST_ENTRY: usize = 4 * 1024;

/// Writes chunks to a sink, on a thread of its own where there are many.
#[derive(Debug)]
pub struct ChunkWriter<W: Write + Send + 'static> {
    buffer: Vec<u8>,
    limit: usize,
    state: State<W>,
}

#[derive(Debug)]
enum State<W> {
    /// No chunk has been full yet.
    Unstarted(W),
    /// Without a thread: each chunk is written when it is full.
    Direct(W),
    Running(Thread<W>),
    /// Over, with what is needed to tell the error again.
    Failed(io::ErrorKind, Option<i32>),
}

#[derive(Debug)]
struct Thread<W> {
    full: SyncSender<Vec<u8>>,
    written: Receiver<Vec<u8>>,
    /// Chunks that have been made, of [`CHUNKS`].
    made: usize,
    failed: Arc<AtomicBool>,
    handle: JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> ChunkWriter<W> {
    /// A writer to a file or a pipe.
    #[must_use]
    pub fn new(sink: W) -> Self {
        Self::of(CHUNK, State::Unstarted(sink))
    }

    /// A writer to what takes a chunk in no time, as /dev/null does: to wake a thread for it
    /// takes longer.
    #[must_use]
    pub fn direct(sink: W) -> Self {
        Self::of(DIRECT_CHUNK, State::Direct(sink))
    }

    /// A writer to a terminal: small chunks, written at once.
    #[must_use]
    pub fn terminal(sink: W) -> Self {
        Self::of(TERMINAL_CHUNK, State::Direct(sink))
    }

    fn of(limit: usize, state: State<W>) -> Self {
        ChunkWriter { buffer: Vec::with_capacity(limit + LAST_ENTRY), limit, state }
    }

    /// Where to append.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// To be called after each entry: passes a full chunk on.
    ///
    /// # Errors
    /// The first error of the sink, as soon as it is known; a closed pipe is
    /// [`io::ErrorKind::BrokenPipe`]. Nothing is written after an error.
    #[inline]
    pub fn commit(&mut self) -> io::Result<()> {
        if self.buffer.len() < self.limit && !self.state.has_failed() { Ok(()) } else { self.pass_on() }
    }

    /// Passes on what there is, although the chunk is not full. Where a thread
    /// writes, it may not have come to it yet.
    ///
    /// # Errors
    /// As [`ChunkWriter::commit`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.pass_on()?;
        match &mut self.state {
            State::Unstarted(sink) | State::Direct(sink) => sink.flush(),
            State::Running(_) | State::Failed(..) => Ok(()),
        }
    }

    /// Writes the rest, waits until all is written, flushes, and gives the sink back.
    ///
    /// # Errors
    /// The first error of the sink.
    pub fn finish(mut self) -> io::Result<W> {
        if let State::Unstarted(sink) = self.state {
            self.state = State::Direct(sink);
        }
        self.pass_on()?;
        let mut sink = match self.state {
            State::Unstarted(sink) | State::Direct(sink) => sink,
            State::Running(thread) => thread.join()?,
            State::Failed(kind, errno) => return Err(error(kind, errno)),
        };
        sink.flush()?;
        Ok(sink)
    }

    #[cold]
    #[inline(never)]
    fn pass_on(&mut self) -> io::Result<()> {
        // Stands there only while the state moves from one variant to the next.
        let state = std::mem::replace(&mut self.state, State::Failed(io::ErrorKind::Other, None));
        let (state, result) = match state {
            State::Unstarted(sink) => match Thread::start(sink) {
                Ok(thread) => self.send(thread),
                Err((sink, _)) => self.write(sink),
            },
            State::Direct(sink) => self.write(sink),
            State::Running(thread) => self.send(thread),
            State::Failed(kind, errno) => (State::Failed(kind, errno), Err(error(kind, errno))),
        };
        self.state = match &result {
            Ok(()) => state,
            Err(error) => State::Failed(error.kind(), error.raw_os_error()),
        };
        result
    }

    fn write(&mut self, mut sink: W) -> (State<W>, io::Result<()>) {
        let result = sink.write_all(&self.buffer).and_then(|()| sink.flush());
        self.buffer.clear();
        (State::Direct(sink), result)
    }

    fn send(&mut self, mut thread: Thread<W>) -> (State<W>, io::Result<()>) {
        if !self.buffer.is_empty() && !thread.failed.load(Ordering::Relaxed) {
            let chunk = std::mem::take(&mut self.buffer);
            match thread.full.send(chunk).ok().and_then(|()| thread.next(self.limit)) {
                Some(next) => self.buffer = next,
                None => thread.failed.store(true, Ordering::Relaxed),
            }
        }
        if thread.failed.load(Ordering::Relaxed) {
            return (State::Failed(io::ErrorKind::Other, None), thread.join().map(drop));
        }
        (State::Running(thread), Ok(()))
    }
}

impl<W> State<W> {
    #[inline]
    fn has_failed(&self) -> bool {
        match self {
            State::Running(thread) => thread.failed.load(Ordering::Relaxed),
            State::Failed(..) => true,
            State::Unstarted(_) | State::Direct(_) => false,
        }
    }
}

impl<W: Write + Send + 'static> Thread<W> {
    /// Gives the sink back where no thread can be had.
    fn start(sink: W) -> Result<Self, (W, io::Error)> {
        let (full, chunks) = sync_channel::<Vec<u8>>(CHUNKS);
        let (recycle, written) = sync_channel(CHUNKS);
        let failed = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&failed);
        // The sink travels behind, so that it is not lost with a thread that does not start.
        let (hand_over, arrives) = sync_channel::<W>(1);
        let run = move || {
            let mut sink = arrives.recv().map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
            let result = write_chunks(&mut sink, &chunks, &recycle);
            mark.store(result.is_err(), Ordering::Relaxed);
            result.map(|()| sink)
        };
        let handle = match std::thread::Builder::new().name("output".to_owned()).stack_size(STACK).spawn(run) {
            Ok(handle) => handle,
            Err(error) => return Err((sink, error)),
        };
        match hand_over.try_send(sink) {
            Ok(()) => Ok(Thread { full, written, made: 1, failed, handle }),
            Err(TrySendError::Full(sink) | TrySendError::Disconnected(sink)) => {
                Err((sink, io::Error::from(io::ErrorKind::NotConnected)))
            }
        }
    }

    /// An empty chunk, when there is one; None where the thread is gone, so that it has failed.
    fn next(&mut self, limit: usize) -> Option<Vec<u8>> {
        let mut chunk = match self.written.try_recv() {
            Ok(chunk) => chunk,
            Err(_) if self.made < CHUNKS => {
                self.made += 1;
                Vec::with_capacity(limit + LAST_ENTRY)
            }
            Err(_) => self.written.recv().ok()?,
        };
        chunk.clear();
        Some(chunk)
    }

    fn join(self) -> io::Result<W> {
        drop(self.full);
        self.handle.join().unwrap_or_else(|_| Err(io::Error::other("the output thread panicked")))
    }
}

fn write_chunks<W: Write>(sink: &mut W, chunks: &Receiver<Vec<u8>>, recycle: &SyncSender<Vec<u8>>) -> io::Result<()> {
    for chunk in chunks {
        sink.write_all(&chunk)?;
        // The other end is gone when all is done; then the chunk is just freed.
        let _ = recycle.try_send(chunk);
    }
    Ok(())
}

fn error(kind: io::ErrorKind, errno: Option<i32>) -> io::Error {
    errno.map_or_else(|| io::Error::from(kind), io::Error::from_raw_os_error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    /// Collects what is written, and fails after so many bytes.
    struct Sink {
        bytes: Arc<Mutex<Vec<u8>>>,
        room: usize,
        threads: Arc<Mutex<Vec<Option<String>>>>,
    }

    fn sink(room: usize) -> Sink {
        Sink { bytes: Arc::default(), room, threads: Arc::default() }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room < bytes.len() {
                return Err(io::Error::from_raw_os_error(32));
            }
            self.room -= bytes.len();
            self.bytes.lock().unwrap().extend_from_slice(bytes);
            self.threads.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn many_chunks_arrive_whole_and_in_order() {
        let mut writer = ChunkWriter::new(sink(usize::MAX));
        let mut expected = Vec::new();
        for number in 0..500_000u32 {
            expected.extend(number.to_be_bytes());
            writer.buffer().extend(number.to_be_bytes());
            writer.commit().unwrap();
        }
        let sink = writer.finish().unwrap();
        assert!(*sink.bytes.lock().unwrap() == expected);
        assert!(sink.threads.lock().unwrap().iter().all(|name| name.as_deref() == Some("output")));
    }

    #[test]
    fn a_small_output_starts_no_thread() {
        let mut writer = ChunkWriter::new(sink(usize::MAX));
        writer.buffer().extend_from_slice(b"small");
        writer.commit().unwrap();
        let sink = writer.finish().unwrap();
        assert_eq!(*sink.bytes.lock().unwrap(), b"small");
        assert!(sink.threads.lock().unwrap().iter().all(|name| name.as_deref() != Some("output")));
    }

    #[test]
    fn a_sink_that_takes_all_at_once_needs_no_thread() {
        let mut writer = ChunkWriter::direct(sink(usize::MAX));
        for number in 0..500_000u32 {
            writer.buffer().extend(number.to_be_bytes());
            writer.commit().unwrap();
        }
        let sink = writer.finish().unwrap();
        assert!(*sink.bytes.lock().unwrap() == (0..500_000u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
        let threads = sink.threads.lock().unwrap();
        assert_eq!(threads.len(), 2_000_000_usize.div_ceil(DIRECT_CHUNK));
        assert!(threads.iter().all(|name| name.as_deref() != Some("output")));
    }

    #[test]
    fn a_closed_pipe_stops_the_producer() {
        for finish_only in [false, true] {
            let mut writer = ChunkWriter::new(sink(if finish_only { 0 } else { CHUNK }));
            let mut committed = 0;
            let error = loop {
                writer.buffer().extend_from_slice(&[b'x'; 1000]);
                if let Err(error) = writer.commit() {
                    break error;
                }
                committed += 1000;
                if finish_only && committed > 10_000 {
                    break writer.finish().map(drop).unwrap_err();
                }
                assert!(committed < 100 * CHUNK, "the producer was not told");
            };
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn an_error_is_told_again_at_the_end() {
        let mut writer = ChunkWriter::terminal(sink(0));
        writer.buffer().extend_from_slice(b"x");
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writer.commit().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writer.finish().map(drop).unwrap_err().raw_os_error(), Some(32));
    }

    #[test]
    fn a_slow_sink_holds_the_producer_back() {
        struct Slow(std::sync::mpsc::Receiver<()>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go, wait) = channel();
        let passed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&passed);
        let producer = std::thread::spawn(move || {
            let mut writer = ChunkWriter::new(Slow(wait));
            for _ in 0..20 {
                writer.buffer().resize(CHUNK, 0);
                writer.commit().unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
            }
            writer.finish().map(drop).unwrap();
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(passed.load(Ordering::Relaxed) < CHUNKS);
        drop(go);
        producer.join().unwrap();
    }
}
