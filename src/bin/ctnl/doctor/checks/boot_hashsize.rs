//! A hash size that the next boot changes, or that is not in force.

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::{BootEvidence, Evidence};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::{tune_command, whole_file};
use crate::host::boot::{
    Assignment, BUCKETS_WRITABLE, Effect, HASHSIZE, OldInitramfs, Reason, Stage, WithoutEffect, defaults,
};

pub const CHECK: Check = Check {
    name: "boot-hashsize",
    about: "whether the hash table has the size that the files of the host give it",
    explanation: "\
Compares the buckets of the hash table with `options nf_conntrack hashsize=` in modprobe.d, the kernel command line,
/etc/modules.d of OpenWrt, and what later scripts and sysctls set.

Options of a module count when it is loaded, and never again: a size that was written while the module was loaded is not
in force until it is unloaded, which iptables restart cannot do as long as another module uses it. A size that was
changed by hand and written nowhere is lost at the next boot. An initramfs has a copy of the options: it is not opened, but
where its configuration names nf_conntrack and it is older than the file with the option, that is a note. With too few buckets every lookup walks long chains, and
new entries fail (chain_toolong). `ctnl tune set --buckets N --persist` resizes the table at once and writes the option.",
    run,
};

const SYSCTL: &str = "nf_conntrack_buckets";

fn run(evidence: &Evidence) -> Outcome {
    let boot = &evidence.boot;
    let sysctl = evidence.sysctls.as_ref().ok().and_then(|sysctls| sysctls.number(SYSCTL));
    let now = sysctl.or(boot.module.hashsize);
    let mut findings = Vec::new();
    findings.extend(now.and_then(|now| compare(boot, now)));
    findings.extend(boot.boot.hashsize().as_ref().and_then(|set| refused(boot, set)));
    findings.extend(boot.boot.hashsize().as_ref().and_then(contradicted));
    findings.extend(read_only(boot));
    findings.extend(boot.boot.old_initramfs.as_ref().map(old_initramfs));
    findings.extend(boot.boot.without_effect.iter().filter(|line| line.assignment.key == HASHSIZE).filter_map(
        |line| {
            let is_in_force = boot.boot.buckets().is_some_and(|other| other.number() == line.assignment.number());
            (!is_in_force).then(|| without_effect(line))
        },
    ));
    match now {
        None if findings.is_empty() => {
            Outcome::CannotRun(format!("neither {SYSCTL} nor /sys/module/nf_conntrack/parameters/hashsize can be read"))
        }
        _ => Outcome::Findings(findings),
    }
}

fn compare(boot: &BootEvidence, now: u64) -> Option<Finding> {
    match boot.boot.buckets() {
        Some(set) => differs(boot, now, &set),
        None => lost(boot, now),
    }
}

/// The table has another size than a file gives it.
fn differs(boot: &BootEvidence, now: u64, set: &Assignment) -> Option<Finding> {
    let size = set.number()?;
    if defaults::round_up(size) == defaults::round_up(now) || is_written(boot, now) {
        return None;
    }
    let consequence = match set.stage {
        Stage::Module => "the option is not in force: it counts only when the module is loaded, which it was before",
        _ => "the next boot gives the table another size",
    };
    let title = format!("the hash table has {now} buckets, and {}:{} sets {size}", set.file, set.line);
    let mut finding = Finding::new(Severity::Warning, title, consequence)
        .evidence(format!("{SYSCTL} is {now}"))
        .evidence(set.to_string())
        .figure("now", now)
        .figure("at_boot", size)
        .figure("file", set.file.as_str())
        .figure("line", set.line);
    if let Some(users) = users(boot).filter(|_| set.stage == Stage::Module) {
        finding = finding.evidence(users);
    }
    // One command, since whoever runs both of them undoes the first; never the one that makes chains longer.
    let (command, other) = (tune_command::persist([(SYSCTL, size.max(now))]).0, size.min(now));
    let finding = command.into_iter().fold(finding, Finding::command);
    Some(finding.text(format!("or, for {other} buckets: ctnl tune set --buckets {other} --persist")))
}

/// What keeps the module loaded.
fn users(boot: &BootEvidence) -> Option<String> {
    let users = boot.module.users?;
    let holders = boot.module.holders.join(", ");
    Some(match holders.is_empty() {
        true => format!("the module has {users} users"),
        false => format!("the module cannot be unloaded: it has {users} users, among them {holders}"),
    })
}

/// Whether a program gives the table its size while the host runs. kube-proxy resizes it to a quarter of its maximum
/// where it is smaller.
fn is_written(boot: &BootEvidence, now: u64) -> bool {
    let is_now = |size: u64| defaults::round_up(size) == defaults::round_up(now);
    boot.boot.writers.iter().any(|writer| {
        let raises_max = writer.only_raises && writer.assignment.canonical() == "net.netfilter.nf_conntrack_max";
        match writer.assignment.number() {
            size if writer.assignment.key == HASHSIZE => size.is_none_or(is_now),
            Some(max) if raises_max => is_now(max / 4),
            _ => false,
        }
    })
}

/// The size was changed, and no file sets it.
fn lost(boot: &BootEvidence, now: u64) -> Option<Finding> {
    let known = boot.defaults(SYSCTL);
    if known.is_empty() || defaults::is_one_of(now, &known) || is_written(boot, now) {
        return None;
    }
    let default = known.first().copied().unwrap_or_default();
    let title = format!("the hash table has {now} buckets, and nothing sets them at boot");
    let finding =
        Finding::new(Severity::Warning, title, format!("the next boot brings back the kernel's default, {default}"))
            .evidence(format!("{SYSCTL} is {now}; the kernel's default with this memory is {default}"))
            .figure("now", now)
            .figure("default", default);
    Some(tune_command::persist([(SYSCTL, now)]).0.into_iter().fold(finding, Finding::command))
}

/// An option that the kernel refuses: one is enough, whatever the others say.
fn refused(boot: &BootEvidence, set: &Assignment) -> Option<Finding> {
    let options = [set].into_iter().chain(&set.overrides).filter(|line| line.stage == Stage::Module);
    let refused = options.into_iter().find(|line| boot.boot.effect(line) == Effect::Refused)?;
    let title = format!("the hash size '{}' is refused by the kernel", refused.value);
    let consequence = "loading nf_conntrack fails with it, so the rules that need it are not loaded either";
    let finding = Finding::new(Severity::Warning, title, consequence)
        .evidence(refused.to_string())
        .text(format!("{}, line {}: hashsize=N with a number of buckets", refused.file, refused.line));
    Some(finding)
}

/// An initramfs has a copy of modprobe.d.
fn old_initramfs(old: &OldInitramfs) -> Finding {
    let title = format!("{} is older than {}", old.image, old.newer.join(" and "));
    let consequence = "the initramfs loads nf_conntrack with the options that it had when it was made";
    let finding = Finding::new(Severity::Note, title, consequence).evidence(old.loads.to_string());
    finding.command(old.command).figure("image", old.image.as_str())
}

fn contradicted(set: &Assignment) -> Option<Finding> {
    let loser = set.overrides.iter().find(|line| {
        line.number().is_some_and(|number| set.number().is_some_and(|other| other != number))
            && line.stage == set.stage
            && line.file != "/proc/cmdline"
    })?;
    let title = format!("the hash size is set to {} and to {}", loser.value, set.value);
    let consequence = format!("the value {} is never in force: the other line is read later", loser.value);
    let finding = Finding::new(Severity::Warning, title, consequence)
        .evidence(format!("wins: {set}"))
        .evidence(format!("loses: {loser}"))
        .text(format!("remove {}:{} or {}:{}", loser.file, loser.line, set.file, set.line));
    Some(finding)
}

/// A sysctl that this kernel does not let anybody write.
fn read_only(boot: &BootEvidence) -> Option<Finding> {
    let (major, minor) = boot.boot.kernel.filter(|version| *version < BUCKETS_WRITABLE)?;
    let set = boot.boot.sysctl("net.netfilter.nf_conntrack_buckets")?;
    let title = format!("{}:{} sets nothing: {SYSCTL} cannot be written on Linux {major}.{minor}", set.file, set.line);
    let finding = Finding::new(Severity::Warning, title, "the hash table keeps the kernel's default size after a boot")
        .evidence(set.to_string())
        .text(format!("/etc/modprobe.d/ctnl.conf: options nf_conntrack hashsize={}", set.value));
    Some(finding)
}

fn without_effect(line: &WithoutEffect) -> Finding {
    let WithoutEffect { assignment: set, why, .. } = line;
    let title = format!("{}:{} sets no hash size", set.file, set.line);
    let finding = Finding::new(Severity::Warning, title, "the hash table keeps another size after a boot")
        .evidence(set.to_string())
        .evidence(why.to_string())
        .figure("file", set.file.as_str())
        .figure("line", set.line);
    let finding = match why {
        Reason::BuiltIn => finding.text(format!("on the kernel command line: nf_conntrack.hashsize={}", set.value)),
        _ => finding,
    };
    whole_file::mend(finding, line, SYSCTL)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::MadeUpHost;

    const FILE: &str = "/etc/modprobe.d/conntrack.conf";

    fn titles(host: &MadeUpHost) -> Vec<String> {
        host.findings(run).into_iter().map(|finding| finding.title).collect()
    }

    #[test]
    fn an_initramfs_that_loads_the_module_and_is_older_than_its_option_is_a_note() {
        let age = |host: &MadeUpHost, path: &str, seconds: u64| {
            let file = std::fs::File::open(host.host().path(path)).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(seconds)).unwrap();
        };
        let (image, option) = ("/boot/initrd.img-6.1.0-9", "/etc/modprobe.d/conntrack.conf");
        let mut host = MadeUpHost::systemd();
        host.file("/proc/sys/kernel/osrelease", "6.1.0-9\n").file(image, "");
        host.file("/etc/initramfs-tools/modules", "# nf_conntrack\n");
        age(&host, image, 500);
        assert_eq!(host.findings(run), [], "nothing shows that it has the module");
        host.file("/etc/initramfs-tools/modules", "# first\nnf_conntrack\n");
        let found = host.findings(run).remove(0);
        assert_eq!((found.severity, &*found.title), (Severity::Note, &*format!("{image} is older than {option}")));
        assert_eq!(found.evidence, ["/etc/initramfs-tools/modules:2: nf_conntrack"]);
        assert_eq!(found.fixes, [crate::doctor::finding::Fix::Command("update-initramfs -u".to_owned())]);
        age(&host, option, 1000);
        assert_eq!(host.findings(run), [], "it was made since");
        for (path, line, is_loaded) in [
            ("/etc/dracut.conf.d/a.conf", "add_drivers+=\" nf_nat nf_conntrack \"\n", true),
            ("/etc/dracut.conf.d/a.conf", "omit_drivers+=\" nf_conntrack \"\n", false),
            ("/etc/mkinitcpio.conf", "MODULES=(nf_conntrack)\n", true),
            ("/etc/mkinitcpio.conf", "MODULES=(nf_conntrack_ftp)\n", false),
        ] {
            let mut host = MadeUpHost::systemd();
            host.file("/boot/initramfs-linux.img", "").file(path, line);
            age(&host, "/boot/initramfs-linux.img", 500);
            assert_eq!(host.findings(run).len(), usize::from(is_loaded), "{line}");
        }
    }

    #[test]
    fn a_size_that_is_in_force_or_that_only_fills_its_last_page_is_healthy() {
        let mut host = MadeUpHost::systemd();
        assert_eq!(titles(&host), Vec::<String>::new());
        host.file(FILE, "options nf_conntrack hashsize=130600\n");
        assert_eq!(titles(&host), Vec::<String>::new());
    }

    #[test]
    fn an_option_that_is_not_in_force_is_found_with_what_holds_the_module() {
        let mut host = MadeUpHost::systemd();
        host.sysctl("nf_conntrack_buckets", 65_536);
        host.file("/sys/module/nf_conntrack/refcnt", "2\n");
        host.file("/sys/module/nf_conntrack/initstate", "live\n");
        host.file("/sys/module/nf_conntrack/holders/ip6table_nat/x", "");
        let found = host.findings(run);
        assert_eq!(
            found[0].title,
            "the hash table has 65536 buckets, and /etc/modprobe.d/conntrack.conf:1 sets 131072"
        );
        let held = "the module cannot be unloaded: it has 2 users, among them ip6table_nat";
        assert_eq!(found[0].evidence[2], held);
        assert_eq!(found[0].fixes[0], Fix::Command("ctnl tune set --buckets 131072 --persist".to_owned()));
    }

    #[test]
    fn a_size_that_was_changed_by_hand_is_lost_and_the_defaults_are_not() {
        let mut host = MadeUpHost::systemd();
        host.file(FILE, "# nothing\n").sysctl("nf_conntrack_buckets", 1_048_576);
        assert_eq!(titles(&host), ["the hash table has 1048576 buckets, and nothing sets them at boot"]);
        for size in [262_144, 65_536, 16_384] {
            assert_eq!(titles(host.sysctl("nf_conntrack_buckets", size)), Vec::<String>::new());
        }
    }

    #[test]
    fn a_size_that_the_kernel_refuses_or_that_is_read_nowhere_is_found() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/modprobe.d/z.conf", "options nf_conntrack hashsize=many\n");
        assert_eq!(titles(&host), ["the hash size 'many' is refused by the kernel"], "although another one is right");
        let mut host = MadeUpHost::systemd();
        host.file(FILE, "options nf_conntrack hashsize=many\n").sysctl("nf_conntrack_buckets", 262_144);
        assert_eq!(titles(&host), ["the hash size 'many' is refused by the kernel"]);
        let mut host = MadeUpHost::systemd();
        host.file(FILE, "").file("/etc/modprobe.d/conntrack", "options nf_conntrack hashsize=9\n");
        host.file("/etc/modprobe.d/old.conf", "options ip_conntrack hashsize=9\n")
            .sysctl("nf_conntrack_buckets", 262_144);
        let expected =
            ["/etc/modprobe.d/conntrack:1 sets no hash size", "/etc/modprobe.d/old.conf:1 sets no hash size"];
        assert_eq!(titles(&host), expected);
    }

    #[test]
    fn two_options_contradict_each_other() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/modprobe.d/a.conf", "options nf_conntrack hashsize=9\n");
        assert_eq!(titles(&host), ["the hash size is set to 9 and to 131072"]);
    }

    #[test]
    fn the_sysctl_cannot_be_written_on_an_old_kernel() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/sysctl.d/b.conf", "net.netfilter.nf_conntrack_buckets = 131072\n");
        assert_eq!(titles(&host), Vec::<String>::new());
        host.file("/proc/sys/kernel/osrelease", "3.10.0-1160.el7.x86_64\n");
        host.file("/lib/modules/3.10.0-1160.el7.x86_64/modules.builtin", "");
        let title = "/etc/sysctl.d/b.conf:1 sets nothing: nf_conntrack_buckets cannot be written on Linux 3.10";
        assert_eq!(titles(&host), [title]);
    }
}
