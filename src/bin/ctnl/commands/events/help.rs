//! The examples and notes of `ctnl events --help`.

pub const EXAMPLES: &str = "\
Examples:
  ctnl events
      The table, then its new and ended entries, one JSON object per line (docs/events.md).
  ctnl events --flows tcp and dport 443
      Flow log: start, end, packets, bytes and NAT of each connection, at its end.
  ctnl events --destroy 'src 10.0.0.0/8 and bytes > 10M' -o csv
      Large connections of the internal network, when they end.
  ctnl events --update --no-seed mark 7 -o conntrack,timestamp,id
      The lines of conntrack(8): `conntrack -E -e UPDATES -o timestamp,id -m 7`.
  ctnl events --all-netns --reconcile 60s --stats-interval 60s
      All network namespaces of the host, compared with their tables every minute.
  ctnl events --flows=both --heartbeat 60s --field site=ams1
      NAT log: each mapping at once, and its end with totals; proof of life every minute.

Lost events are a record \"event\":\"gap\" with their exact number, at the place of the loss.
Then the table is dumped, and the difference is written as records with
\"synthetic\":\"resync\", so that applying new and destroy records always leads to the table.
This needs about 100 bytes of memory per reported entry; with `--no-seed --on-gap continue`
memory is constant.

An entry is reported if it matches when its event arrives. The end of a reported entry is
always reported; of one that ends without an event (nf_conntrack_events=2), when a dump
shows it (--reconcile).
Exit codes: 0 ended by SIGTERM, SIGINT or the reader; 1 failed, or the
namespace of --netns was deleted; 2 bad usage; 3 ended by a loss (--on-gap exit), or lines
could not be delivered.";
