//! `ctnl top`: the table now, by group, as it changes.
//!
//! `view` is what is grouped by, `model` what a frame shows, `sample` makes frames from dumps and events, `order` sorts
//! rows, `history` has the last minutes, `text` shortens figures, `batch` prints frames.

#![allow(dead_code, reason = "the screen uses the rest")]

mod batch;
mod history;
#[cfg(test)]
mod made_up;
mod model;
mod order;
mod pace;
mod sample;
mod text;
mod view;

pub use batch::{json as frame_as_json, text as frame_as_text};
pub use history::History;
pub use model::Frame;
pub use order::{Column, SortOrder};
pub use pace::next_frame;
pub use sample::{Sampler, Wanted};
pub use view::{ShownFilter, View};
