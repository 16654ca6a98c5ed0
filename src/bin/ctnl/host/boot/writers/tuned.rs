//! TuneD: the section `sysctl` of its active profile.

use super::super::assignment::{Assignment, Stage};
use super::super::key;
use super::super::tree::Tree;
use super::{Writer, is_conntrack};

const ACTIVE: &str = "/etc/tuned/active_profile";
const MAIN: &str = "/etc/tuned/tuned-main.conf";
/// The strongest first.
const FOLDERS: &[&str] = &["/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned"];
/// Profiles that one may include, one after the other.
const MAX_INCLUDES: usize = 20;

/// What the active profile writes. With `reapply_sysctl`, the default, TuneD applies the sysctl files again after its
/// profile, so that what they set stays.
pub fn find(tree: &Tree<'_>) -> Vec<Writer> {
    let Some(active) = tree.text(ACTIVE) else { return Vec::new() };
    let reapplies = !tree.text(MAIN).unwrap_or_default().lines().any(|line| {
        let line = line.replace(' ', "").to_ascii_lowercase();
        line == "reapply_sysctl=0" || line == "reapply_sysctl=false"
    });
    if reapplies {
        return Vec::new();
    }
    let mut writers = Vec::new();
    let mut profiles: Vec<String> = active.split_whitespace().map(str::to_owned).collect();
    let mut seen = Vec::new();
    while let Some(profile) = profiles.pop() {
        if seen.len() < MAX_INCLUDES && !seen.contains(&profile) {
            let (written, included) = of_profile(tree, &profile);
            writers.extend(written);
            profiles.extend(included);
            seen.push(profile);
        }
    }
    writers
}

/// What a profile writes itself, and the profiles that it includes.
fn of_profile(tree: &Tree<'_>, profile: &str) -> (Vec<Writer>, Vec<String>) {
    let paths = FOLDERS.iter().map(|folder| format!("{folder}/{profile}/tuned.conf"));
    let Some(path) = paths.into_iter().find_map(|path| tree.resolve(&path)) else { return Default::default() };
    let text = tree.text(&path).unwrap_or_default();
    let (mut writers, mut included) = (Vec::new(), Vec::new());
    let mut section = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else { continue };
        let (name, value) = (name.trim(), value.trim());
        if section == "[main]" && name == "include" {
            included.extend(value.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned));
        }
        let assignment = Assignment {
            key: key::dotted(name),
            // TuneD compares with the value in place: `>4096` sets 4096 where it is less.
            value: value.trim_start_matches(['>', '<', '=']).to_owned(),
            file: path.clone(),
            line: index + 1,
            stage: Stage::Service,
            overrides: Vec::new(),
        };
        if section == "[sysctl]" && is_conntrack(&assignment) {
            let only_raises = value.starts_with('>');
            writers.push(Writer { name: format!("TuneD (profile {profile})"), assignment, only_raises });
        }
    }
    (writers, included)
}
