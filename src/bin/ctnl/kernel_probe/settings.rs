//! Settings as a new namespace has them, counters, and files.

use ctnl::table::COUNTERS;

use super::fact::Value;
use super::row::Row;

const ABSENT: &str = "absent";
const COUNTED: &str = "counted";
const NOT_COUNTED: &str = "not_counted";
const ALL_NAMESPACES: &str = "all_namespaces";
const EACH_NAMESPACE: &str = "each_namespace";
const YES: &str = "yes";
const NO: &str = "no";

pub const ROWS: &[Row] = &[
    Row {
        name: "events_default",
        title: "nf_conntrack_events",
        probe: |probes| Ok(probes.setting("nf_conntrack_events", ABSENT)),
        meanings: &[
            ("0", "entries that are created now send no events until it is 1"),
            ("1", "every entry sends events"),
            (
                "2",
                "an entry that was created while nobody was subscribed never sends an event: 'ctnl events' compares \
                 the table now and then",
            ),
            (ABSENT, "no entry sends events (CONFIG_NF_CONNTRACK_EVENTS): 'ctnl events' sees the entries of its dumps"),
        ],
    },
    Row {
        name: "sctp_established_timeout",
        title: "SCTP's established timeout",
        probe: |probes| Ok(probes.setting("nf_conntrack_sctp_timeout_established", ABSENT)),
        meanings: &[(ABSENT, "SCTP has no timeouts of its own"), ("", "seconds; ctnl reads it for idle times")],
    },
    Row {
        name: "chain_toolong",
        title: "counter chain_toolong",
        probe: |probes| {
            let cpus = probes.table.stats()?;
            let counter = COUNTERS.iter().find(|counter| counter.name == "chaintoolong");
            let is_counted = counter.is_some_and(|counter| cpus.iter().any(|cpu| cpu.counters.get(counter).is_some()));
            Ok(Value::Word(if is_counted { COUNTED } else { NOT_COUNTED }))
        },
        meanings: &[
            (COUNTED, "entries that are not inserted because of a long hash chain are counted"),
            (NOT_COUNTED, "the kernel does not report it: 'ctnl stats' leaves it out"),
        ],
    },
    Row {
        name: "max_scope",
        title: "nf_conntrack_max is of",
        // It is the mode of the file that says so (`nf_conntrack_standalone_init_sysctl` in
        // net/netfilter/nf_conntrack_standalone.c); a write would change it for the host.
        probe: |probes| {
            Ok(match probes.netns.may_write("nf_conntrack_max") {
                Ok(Some(true)) => Value::Word(EACH_NAMESPACE),
                Ok(Some(false)) => Value::Word(ALL_NAMESPACES),
                Ok(None) => Value::Word(ABSENT),
                Err(error) => Value::Unknown(format!("{error:#}")),
            })
        },
        meanings: &[
            (
                ALL_NAMESPACES,
                "one maximum, set in the first namespace, with which the count of each is compared; whether 0 is \
                 accepted is not probed: it would change the host",
            ),
            (EACH_NAMESPACE, "each namespace can set its own"),
        ],
    },
    Row {
        name: "procfs_file",
        title: "/proc/net/nf_conntrack",
        probe: |probes| {
            let net = probes.host.proc().join("thread-self/net");
            Ok(match net.is_dir() {
                true => Value::Word(if net.join("nf_conntrack").exists() { YES } else { NO }),
                false => Value::Unknown(format!("{} is missing", net.display())),
            })
        },
        meanings: &[
            (YES, "tools that read it work; ctnl does not need it"),
            (NO, "tools that read it find nothing (CONFIG_NF_CONNTRACK_PROCFS); ctnl does not need it"),
        ],
    },
];
