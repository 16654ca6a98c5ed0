//! Text for people: the part of a line that is at fault, control characters that must not
//! reach a terminal, and the name that somebody may have meant.

mod caret;
mod control;
mod nearest;

pub use caret::{line_of, underline};
pub use control::{printable, printable_lines};
pub use nearest::nearest;
