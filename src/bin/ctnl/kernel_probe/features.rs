//! What an entry can have on this kernel, and what can be changed of it.

use anyhow::Result;
use ctnl::model::L4;
use nix::errno::Errno;

use super::fact::{REFUSED, Value};
use super::made::{MARK, Made};
use super::probes::Probes;
use super::requests::{label, timeout};
use super::row::Row;

const YES: &str = "yes";
const NO: &str = "no";
const APPLIED: &str = "applied";
const REMOVED: &str = "removed";

fn yes_or_no(yes: bool) -> Value {
    Value::Word(if yes { YES } else { NO })
}

fn unknown(errno: Errno) -> Value {
    Value::Unknown(format!("the entry for it was refused: {errno:?}: {}", errno.desc()))
}

/// Whether an entry of a protocol has the ports with which it was created: without a tracker there is one
/// entry for each pair of hosts.
fn is_tracked(probes: &Probes, made: Made) -> Result<Value> {
    Ok(probes.stored(made, |flow| yes_or_no(matches!(flow.orig.l4, L4::Ports { .. })), unknown))
}

/// Whether entries that were created with a setting on show it; `setting` is whether it is on.
fn is_recorded(probes: &Probes, setting: &Result<bool, String>, shows: bool) -> Value {
    match setting {
        Ok(is_on) => probes.stored(Made::Plain, |_| yes_or_no(*is_on && shows), unknown),
        Err(why) => Value::Unknown(why.clone()),
    }
}

const TRACKED: &[(&str, &str)] = &[
    (YES, "each connection has its own entry"),
    (NO, "all connections of two hosts share one entry, which has no ports and the generic timeout"),
];

pub const ROWS: &[Row] = &[
    Row {
        name: "counters",
        title: "packets and bytes",
        probe: |probes| {
            let shows = probes.table.stored(Made::Plain).is_ok_and(|flow| flow.counters_orig.is_some());
            Ok(is_recorded(probes, &probes.counters, shows))
        },
        meanings: &[
            (YES, "entries that are created while nf_conntrack_acct is 1 count them"),
            (NO, "no entry counts them: terms such as 'bytes' are undecided"),
        ],
    },
    Row {
        name: "timestamps",
        title: "start time",
        probe: |probes| {
            let shows = probes.table.stored(Made::Plain).is_ok_and(|flow| flow.start.is_some());
            Ok(is_recorded(probes, &probes.timestamps, shows))
        },
        meanings: &[
            (YES, "entries that are created while nf_conntrack_timestamp is 1 have one"),
            (NO, "no entry has one (CONFIG_NF_CONNTRACK_TIMESTAMP): ages are unknown"),
        ],
    },
    Row {
        name: "marks",
        title: "marks",
        probe: |probes| Ok(probes.stored(Made::Marked, |flow| yes_or_no(flow.mark == Some(MARK)), unknown)),
        meanings: &[(YES, "entries have marks"), (NO, "no entry has a mark (CONFIG_NF_CONNTRACK_MARK)")],
    },
    Row {
        name: "zones",
        title: "zones",
        probe: |probes| {
            let refused = |errno| if errno == Errno::EOPNOTSUPP { Value::Word(NO) } else { unknown(errno) };
            Ok(probes.stored(Made::Zoned, |flow| yes_or_no(flow.zone_both.is_some()), refused))
        },
        meanings: &[(YES, "entries can be in zones"), (NO, "every entry is in zone 0 (CONFIG_NF_CONNTRACK_ZONES)")],
    },
    Row {
        name: "labels",
        title: "labels",
        // ENOSPC: the entry has no room for them, since no rule of the namespace used labels when it was
        // created (`nf_connlabels_replace` in net/netfilter/nf_conntrack_labels.c).
        probe: |probes| {
            Ok(match probes.table.update(Made::Plain, label)? {
                None | Some(Errno::ENOSPC) => Value::Word(YES),
                Some(Errno::EOPNOTSUPP) => Value::Word(NO),
                Some(errno) => Value::Refused(errno),
            })
        },
        meanings: &[
            (YES, "entries that are created while a rule uses labels can have some"),
            (NO, "no entry has a label (CONFIG_NF_CONNTRACK_LABELS)"),
            (REFUSED, "labels cannot be set"),
        ],
    },
    Row {
        name: "helpers_loaded",
        title: "helpers loaded",
        probe: |probes| Ok(loaded_helpers(probes)),
        meanings: &[("", "idle times of flows with a helper other than ftp, tftp, irc and sane are undecided")],
    },
    Row {
        name: "automatic_helpers",
        title: "automatic helpers",
        probe: |probes| Ok(probes.setting("nf_conntrack_helper", REMOVED)),
        meanings: &[
            ("0", "nf_conntrack_helper is 0: a rule has to assign each helper"),
            ("1", "nf_conntrack_helper is 1: ports assign helpers"),
            (REMOVED, "there is no nf_conntrack_helper: a rule has to assign each helper"),
        ],
    },
    Row {
        name: "sctp_tracked",
        title: "SCTP tracked",
        probe: |probes| is_tracked(probes, Made::Sctp),
        meanings: TRACKED,
    },
    Row {
        name: "dccp_tracked",
        title: "DCCP tracked",
        probe: |probes| is_tracked(probes, Made::Dccp),
        meanings: TRACKED,
    },
    Row {
        name: "udplite_tracked",
        title: "UDP-lite tracked",
        probe: |probes| is_tracked(probes, Made::UdpLite),
        meanings: TRACKED,
    },
    Row {
        name: "fixed_timeout_update",
        title: "change of a fixed timeout",
        probe: |probes| match probes.table.stored(Made::FixedTimeout) {
            Err(errno) => Ok(unknown(errno)),
            Ok(_) => Ok(match probes.table.update(Made::FixedTimeout, timeout)? {
                None => Value::Word(APPLIED),
                Some(errno) => Value::Refused(errno),
            }),
        },
        meanings: &[("", "ctnl leaves entries with FIXED_TIMEOUT as they are, on every kernel")],
    },
];

/// Those whose modules are there. None is tried: naming a helper in a request loads its module, for the
/// whole host (`ctnetlink_create_conntrack` in net/netfilter/nf_conntrack_netlink.c).
fn loaded_helpers(probes: &Probes) -> Value {
    const MODULES: [(&str, &str); 10] = [
        ("amanda", "nf_conntrack_amanda"),
        ("ftp", "nf_conntrack_ftp"),
        ("h323", "nf_conntrack_h323"),
        ("irc", "nf_conntrack_irc"),
        ("netbios-ns", "nf_conntrack_netbios_ns"),
        ("pptp", "nf_conntrack_pptp"),
        ("sane", "nf_conntrack_sane"),
        ("sip", "nf_conntrack_sip"),
        ("snmp", "nf_conntrack_snmp"),
        ("tftp", "nf_conntrack_tftp"),
    ];
    let modules = probes.host.path("/sys/module");
    if !modules.is_dir() {
        return Value::Unknown(format!("{} is missing", modules.display()));
    }
    let loaded = MODULES.iter().filter(|(_, module)| modules.join(module).exists());
    Value::Names(loaded.map(|(name, _)| (*name).to_owned()).collect())
}
