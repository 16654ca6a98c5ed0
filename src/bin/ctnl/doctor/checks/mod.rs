//! The checks, one file each. Adding one is its file and its row here.

mod accounting;
mod boot_hashsize;
mod boot_module;
mod boot_sysctls;
mod buckets;
mod kernel_log;
mod module_unload;
mod other_writers;
mod timeouts;

use super::check::Check;

/// All checks, in the order in which findings of the same severity are shown.
pub const CHECKS: &[Check] = &[
    kernel_log::CHECK,
    buckets::CHECK,
    timeouts::CHECK,
    boot_sysctls::CHECK,
    boot_hashsize::CHECK,
    boot_module::CHECK,
    module_unload::CHECK,
    other_writers::CHECK,
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
