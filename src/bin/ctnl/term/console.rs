//! What a person sees beside the data: notes, warnings, progress and questions,
//! all on stderr.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ctnl::text::printable_lines;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};

/// Before this, a run is too short for a progress line.
const PROGRESS_AFTER: Duration = Duration::from_millis(500);
/// Time between two progress lines.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The person's side of the terminal.
#[derive(Debug)]
pub struct Console {
    quiet: bool,
    verbose: bool,
    stderr_is_terminal: bool,
    started: Instant,
    shown: Option<Instant>,
}

impl Console {
    /// A console that leaves out notes (`quiet`) or adds details (`verbose`).
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Console { quiet, verbose, stderr_is_terminal: io::stderr().is_terminal(), started: Instant::now(), shown: None }
    }

    /// A line that a person wants and a script does not.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// A line for those who asked for details.
    pub fn detail(&mut self, text: &str) {
        if self.verbose {
            self.line(text);
        }
    }

    /// A line that is shown also to those who asked for quiet.
    pub fn warn(&mut self, text: &str) {
        self.line(text);
    }

    /// Replaces the progress line, on a terminal, when the run has taken a while.
    pub fn progress(&mut self, text: impl FnOnce() -> String) {
        let since = self.shown.map_or(self.started + PROGRESS_AFTER, |shown| shown + PROGRESS_EVERY);
        if self.quiet || !self.stderr_is_terminal || Instant::now() < since {
            return;
        }
        self.shown = Some(Instant::now());
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[K{}", text());
        let _ = stderr.flush();
    }

    /// Whether there is a person to ask.
    pub fn can_ask(&self) -> bool {
        self.stderr_is_terminal && io::stdin().is_terminal()
    }

    /// Asks a question; true for yes. Anything else, the end of input, and
    /// `is_over` before an answer are no.
    pub fn ask(&mut self, question: &str, is_over: impl Fn() -> bool) -> io::Result<bool> {
        self.clear_progress();
        let mut stderr = io::stderr().lock();
        // What was typed before the question was seen is no answer to it.
        let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
        write!(stderr, "{question} [y/N] ")?;
        stderr.flush()?;
        if !answer_is_there(is_over)? {
            writeln!(stderr)?;
            return Ok(false);
        }
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    fn line(&mut self, text: &str) {
        self.clear_progress();
        // Where stderr is gone there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{}", printable_lines(text));
    }

    fn clear_progress(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// Waits for a line on standard input; false when it is over before. A read would
/// begin anew after a signal.
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

/// `part` of `whole` in percent, with one digit.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".into();
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    if part > 0 && tenths == 0 {
        return "<0.1 %".into();
    }
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_is_not_nothing_is_never_shown_as_nothing() {
        assert_eq!(percent(1, 1_000_000), "<0.1 %");
        assert_eq!(percent(0, 10), "0.0 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(5, 0), "0 %");
    }
}
