//! What commands tell at their end.

use ctnl::netlink::Connection;
use ctnl::table;

use crate::scan::Tally;
use crate::term::console::Console;

/// Entries of the table, for progress; 0 where the kernel does not say.
pub fn expected(connection: &mut Connection) -> u64 {
    table::count(connection).map_or(0, |occupancy| occupancy.entries.into())
}

/// Says how many entries are in doubt, and what would decide them.
pub fn tell_undecided(console: &mut Console, tally: &Tally) {
    for line in tally.undecided_lines() {
        console.note(&line);
    }
    if tally.moved > 0 {
        console.note(&format!(
            "{} matched, but had a packet between the two looks, or did not match at the first",
            tally.moved
        ));
    }
}
