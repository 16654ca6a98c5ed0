//! Every case, and the machine that it needs.

use std::time::Duration;

/// A kind of virtual machine. The cases of one kind share a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// All modules, memory for half a million entries.
    Large,
    /// All modules, 128 MiB of memory.
    Small,
    /// No module of conntrack is loaded until a case does it.
    Bare,
    /// A disk with /etc, which survives a reboot, and the programs by which Debian applies it at each boot.
    Disk,
}

impl Machine {
    /// All kinds.
    pub const ALL: [Machine; 4] = [Machine::Large, Machine::Small, Machine::Bare, Machine::Disk];

    /// Its name on the guest's command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Machine::Large => "large",
            Machine::Small => "small",
            Machine::Bare => "bare",
            Machine::Disk => "disk",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Machine::ALL.into_iter().find(|machine| machine.name() == name)
    }

    /// Its memory in MiB.
    #[must_use]
    pub fn memory(self) -> u32 {
        match self {
            Machine::Large => 1536,
            Machine::Small => 128,
            Machine::Bare | Machine::Disk => 256,
        }
    }
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name on the command line and in the summary.
    pub name: &'static str,
    pub machine: Machine,
    /// The time limit, for an emulated processor on a busy machine.
    pub limit: Duration,
    /// What the case checks.
    pub about: &'static str,
}

const fn case(name: &'static str, machine: Machine, minutes: u64, about: &'static str) -> Case {
    Case { name, machine, limit: Duration::from_secs(60 * minutes), about }
}

/// All of them, in the order in which they run.
pub const CASES: &[Case] = &[
    case(
        "no-conntrack",
        Machine::Bare,
        2,
        "without any conntrack in the kernel, every command names the missing module",
    ),
    case("no-ctnetlink", Machine::Bare, 2, "without nf_conntrack_netlink, every command names the module to load"),
    case("no-proc", Machine::Bare, 2, "without /proc, everything works but lab and --all-netns, which name it"),
    case("no-capability", Machine::Bare, 2, "without CAP_NET_ADMIN, every command names the capability"),
    case("reboot", Machine::Disk, 4, "settings of 'ctnl tune' survive a reboot with --persist, and are lost without"),
    case("table-full-small", Machine::Small, 5, "a full table is freed in 128 MiB of memory"),
    case("table-full", Machine::Large, 5, "a full table is freed, and connections in use lose no byte"),
    case(
        "doctor",
        Machine::Large,
        5,
        "a full table is explained on the console alone, and freed by the commands that doctor prints",
    ),
    case("emergency", Machine::Large, 8, "half a million entries, half of them stale, under traffic"),
    case(
        "flush",
        Machine::Large,
        3,
        "a flush deletes the matching entries, in every zone and family, and no similar ones",
    ),
    case("events", Machine::Large, 3, "when the kernel sends events"),
    case("offload", Machine::Large, 3, "flows in a flowtable are in use, and deleted only when named"),
    case("policies", Machine::Large, 3, "a timeout policy makes idle times unknown"),
    case("namespaces", Machine::Large, 3, "each namespace has its count, and all have one maximum"),
    case("facts", Machine::Large, 2, "the differences between kernels that ARCHITECTURE.md lists"),
    case("kernel", Machine::Large, 15, "the tests of tests/kernel"),
    case("peers", Machine::Large, 15, "the tests of tests/peers, with Debian's conntrack(8)"),
];

/// The case of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn case_names_are_unique() {
        let names: HashSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
    }

    #[test]
    fn every_machine_is_found_by_its_name() {
        assert!(Machine::ALL.into_iter().all(|machine| Machine::named(machine.name()) == Some(machine)));
    }
}
