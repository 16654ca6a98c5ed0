//! Notes, warnings, progress and questions, all on stderr.

use std::io::{self, BufRead, IsTerminal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ctnl::text::printable_lines;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};

use super::stderr::Stderr;

/// A run shorter than this has no progress line.
const PROGRESS_AFTER: Duration = Duration::from_millis(500);
/// Time between two progress lines.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Most bytes of lines that wait for stderr. Lines beyond that are dropped and counted.
const QUEUE: usize = 64 * 1024;
/// Removes the progress line.
const CLEAR: &str = "\r\x1b[K";

/// Prints to stderr, and asks the user.
///
/// Nothing but a question waits for stderr. A line that stderr does not accept is queued and written
/// with one of the next; a progress line is dropped. At the end the queue is flushed, however long
/// that takes.
#[derive(Debug)]
pub struct Console {
    quiet: bool,
    verbose: bool,
    stderr_is_terminal: bool,
    stderr: Stderr,
    queue: Vec<u8>,
    dropped: u64,
    started: Instant,
    shown: Option<Instant>,
}

impl Console {
    /// A console without notes (`quiet`) or with details (`verbose`).
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Self::on(Stderr::of_this_process(), quiet, verbose, io::stderr().is_terminal())
    }

    fn on(stderr: Stderr, quiet: bool, verbose: bool, stderr_is_terminal: bool) -> Self {
        let (queue, dropped, started, shown) = (Vec::new(), 0, Instant::now(), None);
        Console { quiet, verbose, stderr_is_terminal, stderr, queue, dropped, started, shown }
    }

    /// Prints a line that a person wants and a script does not.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Prints a line of verbose output.
    pub fn detail(&mut self, text: &str) {
        if self.verbose {
            self.line(text);
        }
    }

    /// Prints a line that is not hidden by `quiet`.
    pub fn warn(&mut self, text: &str) {
        self.line(text);
    }

    /// Replaces the progress line, on a terminal, when the run has taken a while.
    pub fn progress(&mut self, text: impl FnOnce() -> String) {
        let since = self.shown.map_or(self.started + PROGRESS_AFTER, |shown| shown + PROGRESS_EVERY);
        if self.quiet || !self.stderr_is_terminal || Instant::now() < since {
            return;
        }
        self.write_queued();
        self.shown = Some(Instant::now());
        if self.queue.is_empty() {
            let line = format!("{CLEAR}{}", text());
            // What a stopped terminal does not accept is out of date when it goes on.
            let _ = self.stderr.write_now(line.as_bytes());
        }
    }

    /// Whether there is a person to ask.
    pub fn can_ask(&self) -> bool {
        self.stderr_is_terminal && io::stdin().is_terminal()
    }

    /// Asks a question; true for yes. Anything else, the end of input, and
    /// `is_over` before an answer are no.
    pub fn ask(&mut self, question: &str, is_over: impl Fn() -> bool) -> io::Result<bool> {
        let answer = self.read_answer(&format!("{question} [y/N] "), is_over)?;
        Ok(answer.is_some_and(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")))
    }

    /// Prints `prompt` and reads a line, which is trimmed. `None` at the end of input, as of a terminal that was closed,
    /// and where `is_over` before an answer.
    pub fn read_answer(&mut self, prompt: &str, is_over: impl Fn() -> bool) -> io::Result<Option<String>> {
        self.clear_progress();
        self.flush();
        // What was typed before the question was seen is no answer to it.
        let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
        self.stderr.write_all(prompt.as_bytes())?;
        if !answer_is_there(is_over)? {
            self.stderr.write_all(b"\n")?;
            return Ok(None);
        }
        let mut answer = String::new();
        let length = io::stdin().lock().read_line(&mut answer)?;
        Ok((length > 0).then(|| answer.trim().to_owned()))
    }

    /// Writes what is queued, and waits for as long as that takes.
    pub fn flush(&mut self) {
        // Where stderr is closed there is nobody to read it.
        let _ = self.stderr.write_all(&std::mem::take(&mut self.queue));
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let line = format!("{dropped} lines for stderr were dropped: it did not accept them in time\n");
            let _ = self.stderr.write_all(line.as_bytes());
        }
    }

    fn line(&mut self, text: &str) {
        self.clear_progress();
        let line = format!("{}\n", printable_lines(text));
        if self.queue.len() + line.len() > QUEUE && !self.queue.is_empty() {
            self.write_queued();
        }
        if self.queue.len() + line.len() > QUEUE && !self.queue.is_empty() {
            self.dropped += 1;
            return;
        }
        self.queue.extend_from_slice(line.as_bytes());
        self.write_queued();
    }

    fn clear_progress(&mut self) {
        if self.shown.take().is_some() {
            self.queue.extend_from_slice(CLEAR.as_bytes());
        }
    }

    /// Writes what stderr accepts without waiting.
    fn write_queued(&mut self) {
        while !self.queue.is_empty() {
            match self.stderr.write_now(&self.queue) {
                Ok(written) if written > 0 => drop(self.queue.drain(..written.min(self.queue.len()))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Closed, or a disk that is full: nobody can read it.
                Err(_) => self.queue.clear(),
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.clear_progress();
        self.flush();
    }
}

/// Waits for a line on standard input; false when `is_over` before. A read would
/// be restarted after a signal.
fn answer_is_there(is_over: impl Fn() -> bool) -> io::Result<bool> {
    let stdin = io::stdin();
    while !is_over() {
        let mut descriptors = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, PollTimeout::from(200u8)) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(false)
}

/// `part` of `whole` in percent, rounded to one digit. A part that is not nothing is never shown as nothing,
/// and one that is not everything never as everything.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".into();
    }
    let tenths = (u128::from(part) * 2000 + u128::from(whole)) / (2 * u128::from(whole));
    match tenths {
        0 if part > 0 => "<0.1 %".into(),
        1000 if part < whole => ">99.9 %".into(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::sync::mpsc;
    use std::thread;

    use nix::fcntl::OFlag;
    use nix::unistd::{pipe, pipe2};

    use super::*;

    #[test]
    fn a_share_is_rounded_to_the_nearest_tenth_of_a_percent() {
        assert_eq!(percent(1, 7), "14.3 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(2, 3), "66.7 %");
        assert_eq!(percent(1, 800), "0.1 %");
        assert_eq!(percent(11, 10), "110.0 %");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0 %");
    }

    #[test]
    fn a_share_that_is_not_nothing_or_not_everything_is_never_shown_as_that() {
        assert_eq!(percent(1, 1_000_000), "<0.1 %");
        assert_eq!(percent(999_999, 1_000_000), ">99.9 %");
        assert_eq!(percent(0, 10), "0.0 %");
        assert_eq!(percent(10, 10), "100.0 %");
        assert_eq!(percent(5, 0), "0 %");
    }

    #[test]
    fn lines_that_a_full_pipe_does_not_accept_are_written_in_order_at_the_end_and_what_was_dropped_is_counted() {
        let (reader, writer) = pipe().unwrap();
        let mut console = Console::on(Stderr::of_file(File::from(writer)), false, false, false);
        // More than the pipe and the queue hold; nobody reads yet.
        const LINES: usize = 4_000;
        for number in 0..LINES {
            console.warn(&format!("{number:>59}"));
        }
        let reading = thread::spawn(move || {
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text).unwrap();
            text
        });
        drop(console);
        let text = reading.join().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (last, kept) = lines.split_last().unwrap();
        assert!(kept.len() > 1_000);
        assert!(kept.iter().enumerate().all(|(number, line)| line.trim() == number.to_string()));
        let dropped = LINES - kept.len();
        assert!(last.starts_with(&format!("{dropped} lines")), "{last}");
    }

    #[test]
    fn a_full_pipe_that_was_inherited_without_waiting_loses_no_line() {
        let (reader, mut writer) =
            pipe2(OFlag::O_NONBLOCK).map(|(reader, writer)| (reader, File::from(writer))).unwrap();
        let mut filled = 0;
        while let Ok(written) = writer.write(&[b'-'; 4096]) {
            filled += written;
        }
        // As without /proc: the pipe cannot be opened again.
        let mut console = Console::on(Stderr::of_shared_file(writer), false, false, false);
        console.warn("the summary");
        let (start, started) = mpsc::channel();
        let reading = thread::spawn(move || {
            started.recv().unwrap();
            let mut text = Vec::new();
            let mut reader = Waiting(File::from(reader));
            reader.read_to_end(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        });
        let flushing = thread::spawn(move || drop(console));
        thread::sleep(Duration::from_millis(100));
        assert!(!flushing.is_finished(), "nobody reads yet");
        start.send(()).unwrap();
        flushing.join().unwrap();
        assert_eq!(&reading.join().unwrap()[filled..], "the summary\n");
    }

    /// Reads from a pipe with `O_NONBLOCK`, and waits.
    struct Waiting(File);

    impl Read for Waiting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
            self.0.read(buffer)
        }
    }

    #[test]
    fn progress_is_dropped_where_stderr_does_not_accept_it() {
        let (reader, writer) = pipe().unwrap();
        let mut console = Console::on(Stderr::of_file(File::from(writer)), false, false, true);
        console.started = Instant::now() - PROGRESS_AFTER;
        // Would wait for ever if it waited.
        for _ in 0..3 {
            console.shown = None;
            console.progress(|| "x".repeat(1024 * 1024));
        }
        drop(reader);
    }
}
