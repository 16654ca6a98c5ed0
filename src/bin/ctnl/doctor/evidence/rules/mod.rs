//! The rules of the firewall in one network namespace, as far as they concern conntrack.
//!
//! The kernel has no interface for rules but those of nf_tables and ip_tables themselves, so the programs that print
//! them are run: `nft`, `iptables-save` and `ip6tables-save`, also the `-nft` and `-legacy` variants. They are run by
//! their path, never through a shell, with fixed arguments, an empty environment but for `PATH`, in `/`, with limits
//! of time and output. They are not run where the kernel certainly has no such rules, since a listing loads the module
//! of its tables. What could not be read is in [`Rules::unread`]: a program that is missing, fails, or prints what is
//! not understood is never taken for "no rules".

mod iptables;
mod model;
mod nft;
mod program;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::Instant;

use ctnl::host::Host;

pub use model::{NatKind, NatRule, Rules, Use};
pub use users::hidden_users;

use nft::{References, TableName};
use program::{Incomplete, Limit, Program, TIME_LIMIT};

/// A family: its name in nf_tables, the table of names of ip_tables, and the programs that print the rules.
const FAMILIES: [(&str, &str, [&str; 3]); 2] = [
    ("ip", "ip_tables_names", ["iptables-save", "iptables-nft-save", "iptables-legacy-save"]),
    ("ip6", "ip6_tables_names", ["ip6tables-save", "ip6tables-nft-save", "ip6tables-legacy-save"]),
];

/// Reads the rules of the namespace of the calling thread, until `is_interrupted` is true. `path` is `PATH`.
pub fn read(host: &Host, path: &str, is_interrupted: &(dyn Fn() -> bool + Sync)) -> Rules {
    let mut reader = Reader {
        host,
        path,
        limit: Limit { end: Instant::now() + TIME_LIMIT, is_interrupted },
        has_nft_tables: may_have_nf_tables(host),
        covered: BTreeMap::new(),
        rules: Rules::default(),
    };
    for (family, names, programs) in FAMILIES {
        reader.iptables(family, names, programs);
    }
    if reader.has_nft_tables {
        reader.nft();
    }
    reader.rules
}

struct Reader<'h> {
    host: &'h Host,
    path: &'h str,
    limit: Limit<'h>,
    has_nft_tables: bool,
    /// The tables of nf_tables that iptables-save has printed, with the number of rules.
    covered: BTreeMap<TableName, u64>,
    rules: Rules,
}

impl Reader<'_> {
    fn iptables(&mut self, family: &str, names: &str, programs: [&'static str; 3]) {
        let mut missing = self.legacy_tables(names);
        let mut files = BTreeSet::new();
        for name in programs {
            let is_needless = (name.contains("-nft-") && !self.has_nft_tables)
                || (name.contains("-legacy-") && missing.is_empty())
                || (!self.has_nft_tables && missing.is_empty());
            let program = Program::find(self.host, self.path, name).filter(|program| files.insert(program.file()));
            if let Some(program) = program.filter(|_| !is_needless) {
                self.save(family, &program, &mut missing);
            }
        }
        if !missing.is_empty() {
            let tables: Vec<_> = missing.into_iter().collect();
            let [_, _, legacy] = programs;
            let tables = tables.join(", ");
            self.rules
                .add_unread(format!("the older tables of {names} ({tables}) are not read: is {legacy} installed?"));
        }
    }

    /// The tables of ip_tables, which nf_tables does not know. There is no file where the module is not loaded.
    fn legacy_tables(&mut self, names: &str) -> BTreeSet<String> {
        let path = self.host.proc().join("thread-self/net").join(names);
        match fs::read_to_string(&path) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                self.rules.add_unread(format!("/proc/net/{names} cannot be read: {error}"));
                BTreeSet::new()
            }
        }
    }

    fn save(&mut self, family: &str, program: &Program, missing: &mut BTreeSet<String>) {
        let rules = &mut self.rules;
        let mut tables = iptables::Tables::default();
        let result = program.run(&[], self.limit, |output| {
            tables = iptables::read(program.name(), output, rules)?;
            Ok(())
        });
        if let Err(Incomplete(why)) = result {
            return rules.add_unread(why);
        }
        for (name, rules) in tables.rules {
            if tables.is_nft {
                self.covered.insert((family.to_owned(), name), rules);
            } else {
                missing.remove(&name);
            }
        }
    }

    fn nft(&mut self) {
        let Some(nft) = Program::find(self.host, self.path, "nft") else {
            return self.rules.add_unread("nft is not installed: rules of nf_tables are not read");
        };
        let mut result = self.ruleset(&nft, &["-j", "-t", "list", "ruleset"]);
        // nft before 0.9.1 has no -t, which leaves out the elements of sets.
        if let Err((Incomplete(why), _)) = &result
            && why.contains("invalid option")
        {
            result = self.ruleset(&nft, &["-j", "list", "ruleset"]);
        }
        // iptables-save prints what iptables can make, and nothing else that is in a table of that name.
        if let Ok((References { left_out, .. }, _)) = &result {
            let covered = self.covered.len();
            self.covered.retain(|table, printed| left_out.get(table).is_none_or(|rules| rules == printed));
            if self.covered.len() < covered {
                result = self.ruleset(&nft, &["-j", "-t", "list", "ruleset"]);
            }
        }
        match result {
            Ok((references, rules)) => {
                self.rules = rules;
                self.resolve(&nft, &references);
            }
            Err((Incomplete(why), rules)) => {
                self.rules = rules;
                self.rules.add_unread(why);
            }
        }
    }

    /// The rules so far and those of nft: also where it fails, as far as they were read.
    fn ruleset(&self, nft: &Program, arguments: &[&str]) -> Result<(References, Rules), (Incomplete, Rules)> {
        let (mut rules, mut references) = (self.rules.clone(), References::default());
        let result = nft.run(arguments, self.limit, |output| {
            references = nft::read(output, &self.covered, &mut rules)?;
            Ok(())
        });
        match result {
            Ok(()) => Ok((references, rules)),
            Err(why) => Err((why, rules)),
        }
    }

    fn resolve(&mut self, nft: &Program, references: &References) {
        for (at, family, table, name) in &references.maps {
            let Some(rule) = self.rules.nat.get_mut(*at) else { continue };
            let arguments = ["-j", "list", "map", family, table, name];
            if let Err(Incomplete(why)) = nft.run(&arguments, self.limit, |output| nft::read_map(output, rule)) {
                rule.is_complete = false;
                self.rules.add_unread(format!("map {name} of {family} {table}: {why}"));
            }
        }
        if references.opaque > 0 {
            let count = references.opaque;
            self.rules
                .add_unread(format!("{count} rules that iptables made are not printed by nft: install iptables-save"));
        }
    }
}

/// Whether the kernel may have nf_tables: not where it is neither a loaded module nor built in. Listing the rules would
/// load it.
fn may_have_nf_tables(host: &Host) -> bool {
    let Ok(modules) = fs::read_to_string(host.proc().join("modules")) else { return true };
    let is_loaded = modules.lines().any(|line| line.starts_with("nf_tables "));
    let release = host.kernel().read_text("osrelease").unwrap_or_default();
    let built_in = fs::read_to_string(host.path(&format!("/lib/modules/{}/modules.builtin", release.trim())));
    is_loaded || built_in.map_or(true, |list| list.contains("/nf_tables.ko"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use ctnl::clock::Clock;

    use super::*;

    /// A host with installed programs: their names, and their texts as scripts.
    fn host(root: &Path, files: &[(&str, &str)]) -> Host {
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Host::at(root, Clock::system())
    }

    const NO_RULES: &str = "#!/bin/sh\necho '{\"nftables\": []}'\n";

    #[test]
    fn a_missing_or_failing_program_is_not_taken_for_no_rules() {
        let root = tempfile::tempdir().unwrap();
        let rules = read(&host(root.path(), &[]), "", &|| false);
        assert_eq!(rules.unread, ["nft is not installed: rules of nf_tables are not read"]);
        let fails = "#!/bin/sh\necho 'Operation not permitted (you must be root)' >&2\nexit 1\n";
        let rules = read(&host(root.path(), &[("usr/sbin/nft", fails)]), "", &|| false);
        assert_eq!(rules.unread, ["nft failed (exit status: 1): Operation not permitted (you must be root)"]);
        let rules = read(&host(root.path(), &[("usr/sbin/nft", NO_RULES)]), "", &|| false);
        assert_eq!(rules, Rules::default());
    }

    #[test]
    fn older_tables_that_no_program_prints_are_named_and_one_that_prints_them_is_run() {
        let root = tempfile::tempdir().unwrap();
        let names = ("proc/thread-self/net/ip_tables_names", "nat\nfilter\n");
        let rules = read(&host(root.path(), &[("sbin/nft", NO_RULES), names]), "", &|| false);
        let why = "the older tables of ip_tables_names (filter, nat) are not read: is iptables-legacy-save installed?";
        assert_eq!(rules.unread, [why]);
        let save = "#!/bin/sh\necho '*nat'; echo '-A POSTROUTING -j MASQUERADE'; echo COMMIT; echo '*filter'\n";
        let rules = read(&host(root.path(), &[("sbin/iptables-legacy-save", save)]), "", &|| false);
        assert_eq!((rules.unread.len(), rules.count), (0, 1));
        assert!(rules.uses.contains_key(&Use::Nat));
    }

    #[test]
    fn no_program_is_run_where_the_kernel_has_no_such_rules() {
        let root = tempfile::tempdir().unwrap();
        let fails = "#!/bin/sh\nexit 1\n";
        let files = [
            ("sbin/nft", fails),
            ("sbin/iptables-save", fails),
            ("proc/modules", "nf_conntrack 1 0 - Live 0x0\n"),
            ("proc/sys/kernel/osrelease", "4.18.0\n"),
            ("lib/modules/4.18.0/modules.builtin", "kernel/net/netfilter/nf_conntrack.ko\n"),
        ];
        assert_eq!(read(&host(root.path(), &files), "", &|| false), Rules::default());
        let loaded = ("proc/modules", "nf_tables 1 0 - Live 0x0\n");
        assert_eq!(read(&host(root.path(), &[loaded]), "", &|| false).unread.len(), 2);
    }

    #[test]
    fn a_table_of_which_iptables_save_prints_a_part_is_read_from_nft() {
        let root = tempfile::tempdir().unwrap();
        let save = "#!/bin/sh\necho '# Generated by iptables-save v1.8.9 (nf_tables) on x'; echo '*nat'; echo COMMIT\n";
        let nft = "#!/bin/sh\necho '{\"nftables\": [{\"rule\": {\"family\": \"ip\", \"table\": \"nat\", \
                   \"expr\": [{\"masquerade\": null}]}}]}'\n";
        let rules = read(&host(root.path(), &[("sbin/nft", nft), ("sbin/iptables-save", save)]), "", &|| false);
        assert_eq!((rules.count, rules.nat.len(), rules.unread.len()), (1, 1, 0), "{rules:?}");
    }

    #[test]
    fn an_nft_without_the_option_for_short_lists_is_run_without_it() {
        let root = tempfile::tempdir().unwrap();
        let old = "#!/bin/sh\nif [ \"$2\" = -t ]; then echo \"nft: invalid option -- 't'\" >&2; exit 1; fi\n\
                   echo '{\"nftables\": [{\"rule\": {\"expr\": [{\"notrack\": null}]}}]}'\n";
        let rules = read(&host(root.path(), &[("sbin/nft", old)]), "", &|| false);
        assert_eq!((rules.unread.len(), rules.count), (0, 1), "{rules:?}");
    }
}
