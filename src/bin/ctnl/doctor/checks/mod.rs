//! The checks, one file each. Adding one is its file and its row here.

mod accounting;

use super::check::Check;

/// All checks, in the order in which findings of the same severity are shown.
pub const CHECKS: &[Check] = &[accounting::CHECK];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

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
