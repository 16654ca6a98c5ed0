//! The checks, one file each. Adding one is its file and its row here.

mod accounting;
mod boot_hashsize;
mod boot_module;
mod boot_sysctls;
mod buckets;
mod busy_port;
mod counters;
mod entries;
mod fullness;
mod kernel_log;
mod module_unload;
mod nat_ports;
mod other_writers;
mod silent_flows;
mod stale_nat;
mod timeouts;
mod tracking_need;
mod unreplied;

use super::check::Check;

/// All checks, in the order in which findings of the same severity are shown.
pub const CHECKS: &[Check] = &[
    fullness::CHECK,
    counters::CHECK,
    kernel_log::CHECK,
    entries::CHECK,
    unreplied::CHECK,
    buckets::CHECK,
    timeouts::CHECK,
    boot_sysctls::CHECK,
    boot_hashsize::CHECK,
    boot_module::CHECK,
    module_unload::CHECK,
    other_writers::CHECK,
    nat_ports::CHECK,
    stale_nat::CHECK,
    busy_port::CHECK,
    tracking_need::CHECK,
    silent_flows::CHECK,
    accounting::CHECK,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_has_a_row_for_each_check_and_for_no_other() {
        let text = include_str!("../../../../../docs/doctor.md");
        let (_, checks) = text.split_once("\n## Checks\n").unwrap_or_default();
        let (checks, _) = checks.split_once("\n## ").unwrap_or_default();
        let rows = checks.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
        let rows: BTreeSet<_> = rows.filter_map(|row| row.split_once("` | ")).collect();
        assert_eq!(rows, CHECKS.iter().map(|check| (check.name, check.about)).collect());
    }

    #[test]
    fn every_check_has_a_name_of_its_own_and_says_what_it_looks_at() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        for Check { name, about, explanation, .. } in CHECKS {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            assert!(!about.is_empty() && !about.ends_with('.'), "{name}: {about}");
            assert!(explanation.len() > about.len() && explanation.ends_with('.'), "{name}: {explanation}");
        }
    }
}
