//! `ctnl doctor --root` on the trees of seven distributions: a healthy host of each, and the faults that articles
//! about a full table warn of, planted one by one.

mod faults;
mod tree;

use std::collections::BTreeSet;

use faults::{BOOT_CHECKS, Fault, faults};
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
        for check in BOOT_CHECKS.into_iter().chain(["buckets", "timeouts", "accounting"]) {
            assert!(passed.iter().any(|name| name == check), "{host}: {check}");
        }
    }
}

#[test]
fn every_planted_fault_is_found_by_its_check_with_its_evidence_and_a_remedy() {
    for Fault { host, name, edits, check, evidence } in faults(&HOSTS) {
        let tree = Tree::of(host);
        edits.iter().for_each(|edit| tree.edit(edit));
        let diagnosis = diagnose(&tree);
        assert!(diagnosis.has(check, evidence), "{host}, {name}: {:#}", diagnosis.document);
        // How bad an old message of the log is depends on the date of the test.
        if BOOT_CHECKS.contains(&check) {
            assert_eq!(diagnosis.code, Some(4), "{host}, {name}: {:#}", diagnosis.document);
        }
        for finding in diagnosis.findings() {
            // Those that judge the values themselves may find the planted ones wrong, too.
            let is_invented = BOOT_CHECKS.iter().any(|other| finding["check"] == *other) && finding["check"] != *check;
            assert!(!is_invented || check == "timeouts", "{host}, {name}: {finding:#}");
            assert_ne!(finding["fixes"].as_array().map(Vec::len), Some(0), "{host}, {name}: {finding:#}");
        }
    }
}

#[test]
fn the_first_command_of_a_finding_mends_it() {
    let mut tried = BTreeSet::new();
    for Fault { host, name, edits, check, .. } in faults(&HOSTS) {
        let tree = Tree::of(host);
        edits.iter().for_each(|edit| tree.edit(edit));
        let found = diagnose(&tree);
        for finding in
            found.findings().iter().filter(|finding| BOOT_CHECKS.contains(&check) && finding["check"] == *check)
        {
            let Some(command) = finding["fixes"][0]["command"].as_str() else { continue };
            // What resizes the table of a running kernel changes nothing in its files.
            if finding["title"].as_str().is_some_and(|title| title.starts_with("the hash table has 4096 ")) {
                continue;
            }
            tried.insert(command.split(' ').next().unwrap().to_owned());
            tree.run(command);
            let after = diagnose(&tree);
            // A line whose value another file puts in force is a note.
            let is_left = |other: &&serde_json::Value| {
                other["check"] == *check && other["title"] == finding["title"] && other["severity"] != "note"
            };
            assert_eq!(after.findings().iter().find(is_left), None, "{host}, {name}, {command}");
        }
    }
    let all = ["chmod", "ctnl", "echo", "ln", "mv", "printf", "sed"];
    assert_eq!(tried, all.map(str::to_owned).into());
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
