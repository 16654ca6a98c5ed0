//! Notes that several commands print after their output.

use ctnl::netlink::Connection;
use ctnl::table;

use crate::scan::Tally;
use crate::term::console::Console;

/// The number of entries in the table, for progress; 0 if it is unknown.
pub fn expected(connection: &mut Connection) -> u64 {
    table::count(connection).map_or(0, |occupancy| occupancy.entries.into())
}

/// Why a table may be empty: a rule that needs conntrack registers its hooks, in the namespace of the rule
/// (`nf_ct_netns_get` in net/netfilter/nf_conntrack_proto.c).
pub const NOTHING_TRACKED: &str =
    "nothing is tracked in a network namespace unless a rule of nftables or iptables there uses ct or NAT";

/// Prints why the table may be empty.
pub fn note_empty(console: &mut Console) {
    console.note(&format!("the table is empty\n  hint: {NOTHING_TRACKED}"));
}

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
