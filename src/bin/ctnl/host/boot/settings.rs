//! All lines that set something at boot, in the order in which they are applied.

use std::collections::BTreeSet;

use super::applier::{Applier, Init};
use super::assignment::{Assignment, HASHSIZE, Stage};
use super::key;
use super::loading::Loading;
use super::modprobe::Modprobe;
use super::reason::Reason;
use super::rest_of_file::RestOfFile;
use super::scripts;
use super::sysctl_file::{self, Line};
use super::tree::Tree;

/// A line that looks as if it set something of conntrack at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithoutEffect {
    pub assignment: Assignment,
    pub why: Reason,
    /// What else its file has.
    pub rest: RestOfFile,
}

impl WithoutEffect {
    fn new(assignment: Assignment, why: Reason) -> Self {
        WithoutEffect { assignment, why, rest: RestOfFile::default() }
    }
}

/// The lines that set something, the first that is applied first.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    lines: Vec<Assignment>,
    /// Names that no pattern sets.
    excluded: Vec<String>,
}

impl Settings {
    pub fn read(
        tree: &Tree<'_>,
        init: Init,
        applier: &Applier,
        modprobe: &Modprobe,
        loading: &Loading,
    ) -> (Settings, Vec<WithoutEffect>) {
        let mut settings = Settings::default();
        let mut without_effect = Vec::new();
        let sizes: Vec<Assignment> = if init == Init::Procd { Vec::new() } else { modprobe.hashsizes().collect() };
        match loading {
            Loading::BuiltIn { .. } => without_effect
                .extend(sizes.into_iter().map(|assignment| WithoutEffect::new(assignment, Reason::BuiltIn))),
            _ => settings.lines.extend(sizes),
        }
        let ineffective = modprobe.without_effect.iter().cloned();
        without_effect.extend(ineffective.map(|(assignment, why)| WithoutEffect::new(assignment, why)));
        settings.lines.extend(scripts::parameters(tree, init));
        for file in applier.files(tree) {
            settings.add_file(tree, &file.path, Stage::Sysctl, &mut without_effect);
        }
        for (path, why) in applier.left_out(tree) {
            let lines = sysctl_file::parse(&path, &tree.text(&path).unwrap_or_default(), Stage::Sysctl);
            without_effect.extend(lines.into_iter().filter_map(|line| match line {
                Line::Set(assignment) if assignment.canonical().starts_with(key::CONNTRACK) => {
                    Some(WithoutEffect::new(assignment, why.clone()))
                }
                _ => None,
            }));
        }
        for later in scripts::later(tree, init) {
            match later {
                scripts::Later::Set(assignment) => settings.add(tree, assignment, &mut without_effect),
                scripts::Later::Files { files, stage } => {
                    let applied = files.unwrap_or_else(|| applier.files(tree).into_iter().map(|f| f.path).collect());
                    applied.iter().for_each(|file| settings.add_file(tree, file, stage, &mut without_effect));
                }
                scripts::Later::WithoutEffect(assignment, why) => {
                    without_effect.push(WithoutEffect::new(assignment, why));
                }
            }
        }
        without_effect.dedup();
        let rest_of = |line: &WithoutEffect| {
            let file = &line.assignment.file;
            let same = without_effect.iter().map(|other| &other.assignment).filter(|other| other.file == *file);
            RestOfFile::of(tree, file, &same.map(|other| other.line).collect::<Vec<_>>())
        };
        let rests: Vec<_> = without_effect.iter().map(rest_of).collect();
        without_effect.iter_mut().zip(rests).for_each(|(line, rest)| line.rest = rest);
        (settings, without_effect)
    }

    fn add_file(&mut self, tree: &Tree<'_>, path: &str, stage: Stage, without_effect: &mut Vec<WithoutEffect>) {
        for line in sysctl_file::parse(path, &tree.text(path).unwrap_or_default(), stage) {
            match line {
                Line::Set(assignment) => self.add(tree, assignment, without_effect),
                Line::Exclude(key) => self.excluded.push(key::canonical(&key)),
            }
        }
    }

    /// Adds a line, unless its name is one that this kernel does not have any more.
    fn add(&mut self, tree: &Tree<'_>, assignment: Assignment, without_effect: &mut Vec<WithoutEffect>) {
        if key::is_old(&assignment.key) && !key::exists(tree, &assignment.key) {
            let why = Reason::OldName { current: assignment.canonical() };
            let line = WithoutEffect::new(assignment, why);
            if !without_effect.contains(&line) {
                without_effect.push(line);
            }
        } else {
            self.lines.push(assignment);
        }
    }

    /// The line that decides on `name`, with those that it overrides. systemd-sysctl writes each key once, with the
    /// value of its last line; the other programs write every line, so that one which the kernel refuses changes
    /// nothing.
    pub fn decisive(&self, name: &str, writes_once: bool) -> Option<Assignment> {
        let explicit = |line: &&Assignment| line.canonical() == name;
        let is_explicit = self.lines.iter().any(|line| line.stage == Stage::Sysctl && explicit(&line));
        let by_pattern = |line: &&Assignment| {
            !is_explicit
                && line.stage == Stage::Sysctl
                && key::is_pattern(&line.key)
                && !self.excluded.iter().any(|excluded| key::matches(excluded, name))
                && key::matches(&line.canonical(), name)
        };
        let mut lines: Vec<&Assignment> = self.lines.iter().filter(|line| explicit(line) || by_pattern(line)).collect();
        lines.sort_by_key(|line| line.stage);
        let takes_effect = |line: &&Assignment| line.number().is_some() || line.is_computed();
        let last_stage = lines.iter().rposition(takes_effect).or(lines.len().checked_sub(1))?;
        let last_file = lines.iter().rposition(|line| line.stage == Stage::Sysctl);
        // The last line of the files is the one that systemd-sysctl writes, whether the kernel takes it or not.
        let wins = match last_file {
            Some(file) if writes_once && last_stage < file => file,
            _ => last_stage,
        };
        let mut winner = (*lines.get(wins)?).clone();
        for line in lines.iter().rev() {
            let known = winner.is_same_line(line) || winner.overrides.iter().any(|other| other.is_same_line(line));
            if !known {
                winner.overrides.push((*line).clone());
            }
        }
        Some(winner)
    }

    /// The names of all settings without those of patterns.
    pub fn names(&self) -> BTreeSet<String> {
        let lines = self.lines.iter().filter(|line| !key::is_pattern(&line.key) && line.key != HASHSIZE);
        lines.map(Assignment::canonical).collect()
    }
}
