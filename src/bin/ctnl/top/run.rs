//! The loop of the screen: keys and frames change the state, which is drawn.

use std::io;
use std::time::Duration;

use ctnl::clock::Clock;
use ctnl::units::Nanos;
use jiff::tz::TimeZone;

use super::draw::draw;
use super::live::{ENDED, Live, Request};
use super::look::Look;
use super::model::Frame;
use super::record::cut_filter_note;
use super::replay::Replay;
use super::sample::Wanted;
use super::screen::{Action, Kill, Screen, Source};
use super::terminal::{Input, Terminal};
use super::view::ShownFilter;
use crate::term::interrupt::Interrupt;

/// How long a key is waited for, before frames and signals are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What the screen needs of its caller.
pub struct Environment<'a> {
    /// Parses a filter; the error has its caret.
    pub parse: &'a dyn Fn(&str) -> Result<ShownFilter, String>,
    /// Deletes, with preview and question, on the terminal in its usual mode. `None`: nothing can be asked there.
    pub kill: Option<&'a dyn Fn(&Kill)>,
    /// Of a recording that is played.
    pub clock: &'a Clock,
    /// Requests the end.
    pub interrupt: &'a Interrupt,
    /// What the terminal can show.
    pub look: Look,
    /// Of the times.
    pub zone: &'a TimeZone,
}

/// Where the frames come from.
#[derive(Debug)]
pub enum Frames {
    /// The kernel.
    Live(Live),
    /// The recording of this name.
    Replay(Replay, String),
}

/// Runs the screen until `q` or a signal. Then the screen has why recording ended, if it did before.
///
/// # Errors
/// The terminal fails, or the table cannot be read any more.
pub fn run(screen: &mut Screen, frames: Frames, wanted: Wanted, environment: &Environment<'_>) -> io::Result<()> {
    let not_recorded = match &frames {
        Frames::Live(live) => Some(live.not_recorded()),
        Frames::Replay(..) => None,
    };
    let ran = run_until_end(screen, frames, wanted, environment);
    // The last frame may have been sampled meanwhile.
    screen.not_recorded = not_recorded.and_then(|why| why.get().cloned());
    ran
}

fn run_until_end(screen: &mut Screen, frames: Frames, wanted: Wanted, environment: &Environment<'_>) -> io::Result<()> {
    let mut running = Running { terminal: Terminal::enter()?, frames, wanted, environment };
    let mut is_changed = true;
    while !environment.interrupt.requested() {
        is_changed |= running.terminal.handle_stop()?;
        is_changed |= running.take_frames(screen)?;
        if is_changed {
            running.terminal.draw(|frame| draw(screen, environment.look, environment.zone, frame))?;
        }
        is_changed = match running.terminal.read(TICK)? {
            Input::Nothing => false,
            Input::Resized => {
                running.terminal.redraw()?;
                true
            }
            Input::Key(key) => match screen.press(key) {
                None => true,
                Some(Action::Quit) => return Ok(()),
                Some(action) => running.act(screen, action)?,
            },
        };
    }
    Ok(())
}

struct Running<'r> {
    terminal: Terminal,
    frames: Frames,
    /// What is sampled.
    wanted: Wanted,
    environment: &'r Environment<'r>,
}

impl Running<'_> {
    /// Shows the frames that have come. Whether there was one.
    fn take_frames(&mut self, screen: &mut Screen) -> io::Result<bool> {
        let mut is_changed = false;
        match &mut self.frames {
            Frames::Live(live) => {
                let left = live.due().map(|due| due.since(self.environment.clock.now().monotonic));
                // To whole seconds, rounded up: it is drawn when they change.
                let waits = left.map(|left| left.0.div_ceil(Nanos::PER_SECOND)).filter(|seconds| *seconds > 0);
                is_changed |= std::mem::replace(&mut screen.waits, waits) != waits;
                if screen.not_recorded.is_none() {
                    screen.not_recorded = live.not_recorded().get().cloned();
                    is_changed |= screen.not_recorded.is_some();
                }
                while let Some(next) = live.next() {
                    is_changed = true;
                    match next {
                        Ok(frame) => screen.show(frame),
                        Err(error) if error == ENDED => return Err(io::Error::other(error)),
                        Err(error) => screen.message = Some(error),
                    }
                }
            }
            Frames::Replay(replay, name) => {
                let next = replay.next(self.environment.clock.now().monotonic, screen.is_paused);
                is_changed = play(screen, replay, name, next);
            }
        }
        Ok(is_changed)
    }

    /// Does what a key asks for. True: something is drawn.
    fn act(&mut self, screen: &mut Screen, action: Action) -> io::Result<bool> {
        match action {
            Action::Quit => {}
            Action::Sample => self.sample(screen),
            Action::Parse(text) => self.filter(screen, &text),
            Action::Suspend => self.terminal.suspend()?,
            Action::Redraw => self.terminal.redraw()?,
            Action::Kill(kill) => self.kill(screen, &kill)?,
            Action::Seek { back, by } => {
                if let Frames::Replay(replay, name) = &mut self.frames {
                    let next = replay.seek(back, by, self.environment.clock.now().monotonic);
                    play(screen, replay, name, next);
                }
            }
        }
        Ok(true)
    }

    fn request(&self, wanted: Wanted, filter: Option<ShownFilter>) {
        if let Frames::Live(live) = &self.frames {
            live.request(Request { wanted, filter });
        }
    }

    /// Samples what the screen shows, if that is anything else than what is sampled.
    fn sample(&mut self, screen: &Screen) {
        let wanted = self.wanted(screen);
        if wanted != self.wanted {
            self.wanted = wanted.clone();
            self.request(wanted, None);
        }
    }

    fn filter(&mut self, screen: &mut Screen, text: &str) {
        match (self.environment.parse)(text) {
            Ok(filter) => {
                screen.set_filter(filter.text.clone());
                if screen.is_recorded {
                    screen.message = cut_filter_note(&filter.text);
                }
                self.wanted = self.wanted(screen);
                self.request(self.wanted.clone(), Some(filter));
            }
            Err(error) => {
                screen.refuse_filter(error);
                // The view may be another one already.
                self.sample(screen);
            }
        }
    }

    fn kill(&mut self, screen: &mut Screen, kill: &Kill) -> io::Result<()> {
        let Some(run) = self.environment.kill else {
            screen.message = Some("nothing can be asked: standard error is no terminal".to_owned());
            return Ok(());
        };
        self.terminal.outside_until_key(|| run(kill), self.environment.interrupt)?;
        self.request(self.wanted(screen), None);
        Ok(())
    }

    /// What the screen shows; all views where they are recorded.
    fn wanted(&self, screen: &Screen) -> Wanted {
        let views = if self.wanted.views.len() > 1 { self.wanted.views.clone() } else { vec![screen.view] };
        Wanted { views, order: screen.order, rows: self.wanted.rows, netns: screen.netns.clone() }
    }
}

/// Shows a frame of a recording, or why there is none. Whether something has changed.
fn play(screen: &mut Screen, replay: &Replay, name: &str, next: io::Result<Option<Frame>>) -> bool {
    let (place, frames) = replay.position();
    screen.source = Source::Recording(format!("{name} {place}/{frames}"));
    match next {
        Ok(None) => return false,
        Ok(Some(frame)) => screen.show(frame),
        Err(error) => screen.message = Some(format!("frame {place}: {error}")),
    }
    true
}
