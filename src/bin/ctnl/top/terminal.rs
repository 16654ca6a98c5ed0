//! The terminal: raw mode and the alternate screen, which are left at every end: also at a panic, and while the process
//! is stopped.

use std::io::{self, BufWriter, Stdout, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::layout::{Position, Rect};
use ratatui::{Frame, TerminalOptions, Viewport};
use signal_hook::consts::{SIGCONT, SIGTSTP, SIGWINCH};
use signal_hook::low_level::emulate_default_handler;

use super::input::{Parsed, first_key};
use super::keys::Key;
use crate::term::interrupt::Interrupt;

/// The size where the terminal has none, as a serial console.
const DEFAULT: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };
/// How long the rest of a key's sequence is waited for.
const SEQUENCE: Duration = Duration::from_millis(50);
/// What is written at once.
const BUFFER: usize = 64 * 1024;

type Screen = ratatui::Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// The terminal of this process, in raw mode.
#[derive(Debug)]
pub struct Terminal {
    screen: Screen,
    stop: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
    resized: Arc<AtomicBool>,
    /// Bytes of keys that were read.
    pending: Vec<u8>,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// Another size.
    Resized,
    /// Nothing yet.
    Nothing,
}

impl Terminal {
    /// Enters raw mode and the alternate screen. From now on a panic leaves them before it is reported.
    ///
    /// # Errors
    /// The terminal refuses it.
    pub fn enter() -> io::Result<Self> {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            report(panic);
        }));
        let [stop, continued, resized] = [SIGTSTP, SIGCONT, SIGWINCH].map(|signal| {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&flag)).map(|_| flag)
        });
        let (stop, continued, resized) = (stop?, continued?, resized?);
        Ok(Terminal { screen: open()?, stop, continued, resized, pending: Vec::new() })
    }

    /// Draws. What has not changed is not written again.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.screen.draw(draw).map(drop)
    }

    /// The next draw writes everything, in the size that the terminal has now.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn redraw(&mut self) -> io::Result<()> {
        self.screen = open()?;
        Ok(())
    }

    /// Waits for a key, `timeout` at most.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn read(&mut self, timeout: Duration) -> io::Result<Input> {
        if self.resized.swap(false, Ordering::Relaxed) {
            return Ok(Input::Resized);
        }
        if let Some(key) = self.next_key(false) {
            return Ok(Input::Key(key));
        }
        // A sequence that has begun is not waited for as long.
        let timeout = if self.pending.is_empty() { timeout } else { timeout.min(SEQUENCE) };
        if wait(timeout)? {
            let mut bytes = [0; 256];
            let length = nix::unistd::read(stdin(), &mut bytes)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pending.extend_from_slice(bytes.get(..length).unwrap_or_default());
            return Ok(self.next_key(false).map_or(Input::Nothing, Input::Key));
        }
        Ok(self.next_key(true).map_or(Input::Nothing, Input::Key))
    }

    fn next_key(&mut self, is_over: bool) -> Option<Key> {
        while !self.pending.is_empty() {
            let (key, length) = match first_key(&self.pending, is_over) {
                Parsed::Key(key, length) => (Some(key), length),
                Parsed::Other(length) => (None, length.max(1)),
                Parsed::Incomplete => return None,
            };
            self.pending.drain(..length.min(self.pending.len()));
            if key.is_some() {
                return key;
            }
        }
        None
    }

    /// Leaves the screen for `work`, which may use the terminal in its usual mode.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn outside<T>(&mut self, work: impl FnOnce() -> T) -> io::Result<T> {
        leave();
        let result = work();
        self.screen = open()?;
        Ok(result)
    }

    /// As [`Terminal::outside`], and what `work` has printed stays until a key is pressed or a signal requests the end.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn outside_until_key(&mut self, work: impl FnOnce(), interrupt: &Interrupt) -> io::Result<()> {
        leave();
        work();
        enable_raw_mode()?;
        // Keys that were pressed before.
        let _ = tcflush(stdin(), FlushArg::TCIFLUSH);
        self.pending.clear();
        stdout().write_all(b"\r\nPress a key to return to the screen. ")?;
        stdout().flush()?;
        while !interrupt.requested() && !matches!(self.read(Duration::from_millis(100))?, Input::Key(_)) {}
        self.screen = open()?;
        Ok(())
    }

    /// Stops the process as Ctrl-Z does, and comes back when it goes on.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.outside(|| emulate_default_handler(SIGTSTP))??;
        self.continued.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Handles SIGTSTP and SIGCONT that came since. True where everything has to be drawn again.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn handle_stop(&mut self) -> io::Result<bool> {
        if self.stop.swap(false, Ordering::Relaxed) {
            self.suspend()?;
            return Ok(true);
        }
        // After SIGSTOP the shell has set its own modes.
        if self.continued.swap(false, Ordering::Relaxed) {
            self.outside(|| ())?;
            return Ok(true);
        }
        Ok(false)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
    }
}

/// Nothing here waits for an answer of the terminal, which a serial line may delay or lose: with a viewport that is not
/// fixed, ratatui requests the place of the cursor.
fn open() -> io::Result<Screen> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide, Clear(ClearType::All))?;
    let backend = CrosstermBackend::new(BufWriter::with_capacity(BUFFER, stdout()));
    let size = backend.size()?;
    let area = if size.width == 0 || size.height == 0 { DEFAULT } else { Rect::from((Position::ORIGIN, size)) };
    ratatui::Terminal::with_options(backend, TerminalOptions { viewport: Viewport::Fixed(area) })
}

/// Restores the terminal. Where it is gone there is nothing to restore.
fn leave() {
    let _ = execute!(stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// Waits for input, `timeout` at most. False where there is none, and at a signal.
fn wait(timeout: Duration) -> io::Result<bool> {
    let stdin = stdin();
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(0) | Err(Errno::EINTR) => Ok(false),
        Ok(_) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::fs::File;
    use std::io::{IsTerminal, Read};
    use std::process::Command;

    use nix::pty::openpty;
    use nix::sys::termios::{LocalFlags, tcgetattr};

    use super::*;

    /// Set in the process that panics, which is this test in another process.
    const PANICS: &str = "CTNL_TEST_PANIC";
    const NAME: &str = "top::terminal::tests::a_panic_restores_the_terminal_before_it_is_reported";

    /// Draws, and panics, here or in a thread, while the terminal is in raw mode.
    fn panic_on_screen(is_in_thread: bool) {
        let terminal = Terminal::enter();
        if let Ok(mut terminal) = terminal {
            assert!(stdin().is_terminal());
            terminal.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
            assert!(!tcgetattr(stdin()).unwrap().local_flags.contains(LocalFlags::ICANON), "not raw");
            if is_in_thread {
                let _ = std::thread::spawn(|| panic!("a panic of this test")).join();
                // Nothing restores it but the hook.
                std::process::exit(7);
            }
            panic!("a panic of this test");
        }
    }

    #[test]
    fn a_panic_restores_the_terminal_before_it_is_reported() {
        if let Some(place) = std::env::var_os(PANICS) {
            return panic_on_screen(place == "thread");
        }
        for (place, code) in [("here", 101), ("thread", 7)] {
            let pty = openpty(None, None).unwrap();
            let before = tcgetattr(&pty.slave).unwrap();
            let end = || pty.slave.try_clone().unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", NAME, "--nocapture", "--test-threads", "1"]).env(PANICS, place);
            let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
            let mut master = File::from(pty.master);
            let reader = std::thread::spawn(move || {
                let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
                // The end of the terminal, when all of its other ends are closed, is an error.
                while let Ok(length @ 1..) = master.read(&mut bytes) {
                    all.extend_from_slice(bytes.get(..length).unwrap_or_default());
                }
                String::from_utf8_lossy(&all).into_owned()
            });
            let status = child.wait().unwrap();
            assert!(tcgetattr(&pty.slave).unwrap() == before, "{place}: the terminal is in other modes");
            drop(command);
            drop(pty.slave);
            let shown = reader.join().unwrap();
            assert_eq!(status.code(), Some(code), "{place}: {shown:?}");
            let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{place}: no {text:?} in {shown:?}"));
            let order = ["\x1b[?1049h", "drawn", "\x1b[?25h", "\x1b[?1049l", "a panic of this test"].map(at);
            assert!(order.is_sorted(), "{place}: {shown:?}");
        }
    }
}
