//! Notes that several commands print after their output.

use crate::scan::Tally;
use crate::term::console::Console;

/// Prints how many entries are undecided, and what would decide them.
pub fn print_undecided(console: &mut Console, tally: &Tally) {
    for line in tally.undecided_lines() {
        console.note(&line);
    }
    if tally.unconfirmed > 0 {
        console.note(&format!(
            "{} not confirmed by --confirm-idle (active between the two samples, or no match at the first)",
            tally.unconfirmed
        ));
    }
}
