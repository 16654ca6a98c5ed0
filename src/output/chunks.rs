//! Output in chunks, which a second thread writes while the dump continues.
//!
//! Used instead of a `BufWriter`, because a dump that waits for `write()` is slower: with the thread, a list
//! of a million entries takes 1.06 times the raw dump into a pipe and 1.07 times into a file, without it 1.16
//! and 1.12.
//!
//! A format appends to [`ChunkWriter::buffer`]; [`ChunkWriter::commit`] sends a full chunk to the thread and
//! receives a written one. Output that fits into one chunk is written without a thread.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// The size of a chunk that is sent to the thread, in bytes. Measured: sending chunks of 64 KiB costs 5 % of
/// a dump, chunks of 128 KiB between nothing measurable and 3 %, depending on the machine.
pub const CHUNK: usize = 128 * 1024;
/// The maximum number of chunks: one is being filled while the other is being written. Together they take
/// some 260 KiB, whatever the sink does. A third chunk was not faster.
const CHUNKS: usize = 2;
/// The stack size of the thread, in bytes. With the default of 2 MiB, stack and chunks are in one mapping, and
/// a kernel with transparent huge pages always enabled (as Debian's) may back it with one: 2 MiB more in one
/// run of ten.
const STACK: usize = 256 * 1024;
/// The size of a chunk for a sink that never blocks, in bytes. Measured with /dev/null: 32 and 128 KiB are
/// slower.
const DIRECT_CHUNK: usize = 64 * 1024;
/// The size of a chunk for a terminal, in bytes: small, so that output appears at once.
const TERMINAL_CHUNK: usize = 4 * 1024;
/// The additional capacity for the entry that exceeds the size of the chunk, in bytes.
const LAST_ENTRY: usize = 4 * 1024;

/// Writes chunks to a sink, on a second thread if there is more than one.
#[derive(Debug)]
pub struct ChunkWriter<W: Write + Send + 'static> {
    buffer: Vec<u8>,
    limit: usize,
    state: State<W>,
}

#[derive(Debug)]
enum State<W> {
    /// No chunk has been sent yet, and no thread started.
    Unstarted(W),
    /// Without a thread: each full chunk is written by the caller.
    Direct(W),
    Running(Thread<W>),
    /// Failed, with the values from which the error is created again.
    Failed(io::ErrorKind, Option<i32>),
}

#[derive(Debug)]
struct Thread<W> {
    full: SyncSender<Vec<u8>>,
    written: Receiver<Vec<u8>>,
    /// The number of chunks allocated, at most [`CHUNKS`].
    allocated: usize,
    failed: Arc<AtomicBool>,
    handle: JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> ChunkWriter<W> {
    /// A writer to a file or a pipe.
    #[must_use]
    pub fn new(sink: W) -> Self {
        Self::of(CHUNK, State::Unstarted(sink))
    }

    /// A writer to a sink that never blocks, such as /dev/null: waking a thread takes longer than writing.
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

    /// The buffer to append to.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Sends or writes the chunk if it is full. To be called after each entry.
    ///
    /// # Errors
    /// The first error of the sink, as soon as it is known; a closed pipe is
    /// [`io::ErrorKind::BrokenPipe`]. Nothing is written after an error.
    #[inline]
    pub fn commit(&mut self) -> io::Result<()> {
        if self.buffer.len() < self.limit && !self.state.has_failed() { Ok(()) } else { self.submit() }
    }

    /// Sends or writes the chunk although it is not full. If a thread writes, the bytes may not be written
    /// when this returns.
    ///
    /// # Errors
    /// As [`ChunkWriter::commit`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.submit()?;
        match &mut self.state {
            State::Unstarted(sink) | State::Direct(sink) => sink.flush(),
            State::Running(_) | State::Failed(..) => Ok(()),
        }
    }

    /// Writes the rest, waits until everything is written, flushes the sink and returns it.
    ///
    /// # Errors
    /// The first error of the sink.
    pub fn finish(mut self) -> io::Result<W> {
        if let State::Unstarted(sink) = self.state {
            self.state = State::Direct(sink);
        }
        self.submit()?;
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
    fn submit(&mut self) -> io::Result<()> {
        // A placeholder while the state is moved.
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
    /// Starts the thread. Returns the sink if that fails.
    fn start(sink: W) -> Result<Self, (W, io::Error)> {
        let (full, chunks) = sync_channel::<Vec<u8>>(CHUNKS);
        let (recycle, written) = sync_channel(CHUNKS);
        let failed = Arc::new(AtomicBool::new(false));
        let failed_in_thread = Arc::clone(&failed);
        // The sink is sent after the start: a closure whose thread does not start is dropped with all it owns.
        let (send_sink, receive_sink) = sync_channel::<W>(1);
        let run = move || {
            let mut sink = receive_sink.recv().map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
            let result = write_chunks(&mut sink, &chunks, &recycle);
            failed_in_thread.store(result.is_err(), Ordering::Relaxed);
            result.map(|()| sink)
        };
        let handle = match std::thread::Builder::new().name("output".to_owned()).stack_size(STACK).spawn(run) {
            Ok(handle) => handle,
            Err(error) => return Err((sink, error)),
        };
        match send_sink.try_send(sink) {
            Ok(()) => Ok(Thread { full, written, allocated: 1, failed, handle }),
            Err(TrySendError::Full(sink) | TrySendError::Disconnected(sink)) => {
                Err((sink, io::Error::from(io::ErrorKind::NotConnected)))
            }
        }
    }

    /// Waits for an empty chunk. None if the thread has ended, which means that it has failed.
    fn next(&mut self, limit: usize) -> Option<Vec<u8>> {
        let mut chunk = match self.written.try_recv() {
            Ok(chunk) => chunk,
            Err(_) if self.allocated < CHUNKS => {
                self.allocated += 1;
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
        // At the end nobody receives it, and the chunk is freed.
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
    use std::time::Duration;

    /// Stores the bytes written, and fails after `capacity` bytes.
    struct Sink {
        bytes: Arc<Mutex<Vec<u8>>>,
        capacity: usize,
        threads: Arc<Mutex<Vec<Option<String>>>>,
    }

    fn sink(capacity: usize) -> Sink {
        Sink { bytes: Arc::default(), capacity, threads: Arc::default() }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.capacity < bytes.len() {
                return Err(io::Error::from_raw_os_error(32));
            }
            self.capacity -= bytes.len();
            self.bytes.lock().unwrap().extend_from_slice(bytes);
            self.threads.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn many_chunks_are_written_complete_and_in_order() {
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
    fn a_direct_writer_starts_no_thread() {
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
    fn a_closed_pipe_is_an_error_of_commit_or_finish() {
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
                assert!(committed < 100 * CHUNK, "no error was returned");
            };
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn an_error_is_returned_again_by_later_calls() {
        let mut writer = ChunkWriter::terminal(sink(0));
        writer.buffer().extend_from_slice(b"x");
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writer.commit().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writer.finish().map(drop).unwrap_err().raw_os_error(), Some(32));
    }

    /// Signals the first write, and blocks until the sender of `resume` is dropped.
    struct BlockedSink {
        started: SyncSender<()>,
        resume: Receiver<()>,
    }

    impl Write for BlockedSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.started.try_send(());
            let _ = self.resume.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_blocks_applies_backpressure() {
        let (started, is_started) = sync_channel(1);
        let (resume_sender, resume) = sync_channel(1);
        let (committed, commits) = channel();
        let producer = std::thread::spawn(move || {
            let mut writer = ChunkWriter::new(BlockedSink { started, resume });
            for _ in 0..20 {
                writer.buffer().resize(CHUNK, 0);
                writer.commit().unwrap();
                committed.send(()).unwrap();
            }
            writer.finish().map(drop).unwrap();
        });
        is_started.recv().unwrap();
        for _ in 1..CHUNKS {
            commits.recv().unwrap();
        }
        assert!(commits.recv_timeout(Duration::from_millis(100)).is_err());
        drop(resume_sender);
        assert_eq!(commits.iter().count(), 20 - (CHUNKS - 1));
        producer.join().unwrap();
    }
}
