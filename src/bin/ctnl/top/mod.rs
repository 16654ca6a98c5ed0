//! `ctnl top`: the table now, by group, as it changes.
//!
//! Values: `view` is what is grouped by, `model` what a frame shows, `order` sorts rows, `history` has the last minutes,
//! `text` shortens figures. Frames: `sample` makes them from dumps and events, `live` does so on a thread, at the `pace`
//! that the dumps allow, `batch` prints them, `record` writes them to a file, and `replay` plays that. The screen: `screen` is its state, which `keys` change (`input` reads
//! them, `line` and `complete` edit a filter), `draw` shows it as far as the terminal can (`look`); `run` is the loop, and `terminal` the
//! only file that touches the terminal. `netns_argument` is how the command line of a delete names its namespace.

mod batch;
mod complete;
mod draw;
mod history;
mod input;
mod keys;
mod line;
mod live;
mod look;
#[cfg(test)]
mod made_up;
mod model;
mod netns_argument;
mod order;
mod pace;
mod record;
mod replay;
mod run;
mod sample;
mod screen;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod screen_tests;
mod terminal;
mod text;
mod view;

pub use batch::{json as frame_as_json, text as frame_as_text};
pub use history::History;
pub use live::Live;
pub use look::Look;
pub use model::Frame;
#[cfg(test)]
pub use model::FrameNetns;
pub use netns_argument::argument_of;
pub use order::{Column, SortOrder};
pub use pace::{Pace, processor_time, rest};
pub use record::{ROWS as RECORDED_ROWS, Recorder, Recording, cut_filter_note};
pub use replay::Replay;
pub use run::{Environment, Frames, run};
pub use sample::{Sampler, Wanted};
pub use screen::{Kill, Screen, Source};
pub use view::{ShownFilter, View};
