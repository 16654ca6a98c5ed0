//! `ctnl doctor --root` on the trees of seven distributions: a healthy host of each, and the faults that articles
//! about a full table warn of, planted one by one.

mod faults;
mod tree;

use std::collections::BTreeSet;

use faults::{Fault, faults};
use tree::Tree;

use crate::program::{Folder, words};

/// The distributions: the names of the files in tests/data/hosts.
const HOSTS: [&str; 7] = ["centos-6", "centos-7", "debian-12", "ubuntu-24.04", "rhel-9", "openwrt", "kubernetes"];

/// What `ctnl doctor --json` prints.
struct Diagnosis {
    code: Option<i32>,
    document: serde_json::Value,
}

fn diagnose(tree: &Tree) -> Diagnosis {
    let folder = Folder::new();
    let run = folder.ctnl(&words(&["doctor", "--json", "--root", tree.path()]));
    let document = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.explain()));
    Diagnosis { code: run.code, document }
}

impl Diagnosis {
    fn findings(&self) -> &[serde_json::Value] {
        self.document["findings"].as_array().expect("findings")
    }

    /// Whether `check` found something whose text has `evidence`.
    fn has(&self, check: &str, evidence: &str) -> bool {
        self.findings().iter().any(|finding| finding["check"] == check && finding.to_string().contains(evidence))
    }
}

#[test]
fn nothing_is_found_on_a_healthy_host_of_any_distribution() {
    for host in HOSTS {
        let diagnosis = diagnose(&Tree::of(host));
        assert_eq!(diagnosis.findings(), &[] as &[serde_json::Value], "{host}");
        assert_eq!(diagnosis.code, Some(0), "{host}");
        // A check that could not run has found nothing either: these can run on a tree.
        let passed = diagnosis.document["passed"].as_array().expect("passed");
        for check in ["boot-sysctls", "boot-hashsize", "boot-module", "module-unload", "other-writers", "accounting"] {
            assert!(passed.iter().any(|name| name == check), "{host}: {check}");
        }
    }
}

#[test]
fn every_planted_fault_is_found_by_its_check_with_its_evidence_and_a_remedy() {
    for Fault { host, name, edits, check, evidence } in &faults(&HOSTS) {
        let tree = Tree::of(host);
        edits.iter().for_each(|edit| tree.edit(edit));
        let diagnosis = diagnose(&tree);
        assert!(diagnosis.has(check, evidence), "{host}, {name}: {:#}", diagnosis.document);
        assert_eq!(diagnosis.code, Some(4), "{host}, {name}: {:#}", diagnosis.document);
        for finding in diagnosis.findings() {
            assert_ne!(finding["fixes"].as_array().map(Vec::len), Some(0), "{host}, {name}: {finding:#}");
        }
    }
}

#[test]
fn a_planted_fault_is_found_by_no_check_that_it_does_not_concern() {
    for Fault { host, name, edits, check, .. } in &faults(&HOSTS) {
        let tree = Tree::of(host);
        edits.iter().for_each(|edit| tree.edit(edit));
        let diagnosis = diagnose(&tree);
        let others: BTreeSet<_> = diagnosis.findings().iter().map(|finding| finding["check"].to_string()).collect();
        assert_eq!(others, BTreeSet::from([format!("\"{check}\"")]), "{host}, {name}: {:#}", diagnosis.document);
    }
}

#[test]
fn each_distribution_has_faults_and_a_fault_has_a_name_of_its_own() {
    let all = faults(&HOSTS);
    for host in HOSTS {
        let names: Vec<_> = all.iter().filter(|fault| fault.host == host).map(|fault| fault.name).collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert!(names.len() >= 5 && unique.len() == names.len(), "{host}: {names:?}");
    }
    assert!(all.iter().all(|fault| HOSTS.contains(&fault.host)));
}
