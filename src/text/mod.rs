//! Text for people: a line with carets under an error, control characters that must not reach a
//! terminal, and suggestions for misspelled names.

mod caret;
mod control;
mod nearest;

pub use caret::{line_of, underline};
pub use control::{printable, printable_lines};
pub use nearest::nearest;
