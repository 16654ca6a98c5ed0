//! Which files make the boot set the new values, and whether it really does, by the rules of its init system.

use ctnl::host::Host;

use super::change::{Change, FILES, MODPROBE_CONF, MODULES_LOAD_CONF, Place, SYSCTL_CONF};
use super::max_at_boot::MaxAtBoot;
use super::persist::{modprobe_conf, modules_load_conf, sysctl_conf};
use super::places::Places;
use super::setting::Setting;
use crate::host::boot::{Assignment, Boot, Effect, Init, Loading, PlannedFile};

/// The changes of files, and what they do not achieve.
#[derive(Debug, Default)]
pub struct BootPlan {
    /// The files.
    pub changes: Vec<Change>,
    /// Settings that the boot would set to something else, or not at all: each with the file and line that decides.
    pub overridden: Vec<String>,
    /// What is unknown, or was added.
    pub notes: Vec<String>,
    /// The maximum at boot, where the buckets are set and it is not.
    pub max: Option<MaxAtBoot>,
}

/// The files by which the boot of `host` sets the values that are `given`. `max_now` is the maximum now.
///
/// # Errors
/// A file exists and cannot be read.
pub fn plan(
    host: &Host,
    places: &mut dyn Places,
    given: &[(Setting, u64)],
    max_now: Option<u64>,
) -> Result<BootPlan, String> {
    let mut plan = BootPlan::default();
    let before = Boot::read(host);
    let mut existing = Vec::new();
    for path in FILES {
        let text = places.read(Place::File(path)).map_err(|error| format!("cannot read {path}: {error}"))?;
        existing.push((path, text));
    }
    let text = |path: &str| existing.iter().find(|(file, _)| *file == path).and_then(|(_, text)| text.as_deref());
    let with_max = with_max(given, max_now, &before);
    let by_module = files_of(&with_max, true, text, &before);
    let boot = Boot::read_with(host, &planned(&by_module));
    // Where modprobe.d is not read, or the module is built in, the sysctl has the same effect.
    let buckets = given.iter().find(|(setting, _)| *setting == Setting::Buckets);
    let is_loaded_with = buckets.is_none_or(|(_, value)| boot.hashsize().and_then(|set| set.number()) == Some(*value));
    let (values, files, boot) = if is_loaded_with {
        (with_max, by_module, boot)
    } else {
        plan.notes
            .push("buckets: the boot reads no hashsize= from modprobe.d here, so they are set as a sysctl".into());
        // The sysctl leaves the maximum as it is; a hashsize= of somebody else does not.
        let values = if before.hashsize_of_module().is_some() { with_max } else { given.to_vec() };
        let by_sysctl = files_of(&values, false, text, &before);
        let boot = Boot::read_with(host, &planned(&by_sysctl));
        (values, by_sysctl, boot)
    };
    let is_given = |wanted| given.iter().any(|(setting, _)| *setting == wanted);
    if let Some((_, max)) = values.iter().find(|(setting, _)| !is_given(*setting)) {
        plan.notes
            .push(format!("max {max} is written, too: a module that is loaded with hashsize= sets it to 8 x hashsize"));
    }
    for (setting, value) in &values {
        check(&boot, *setting, *value, &mut plan);
        let key = setting.key();
        let undone = boot.writers_of(&key).filter(|writer| writer.undoes(*value));
        plan.notes.extend(undone.map(|writer| format!("{setting}: {}", writer.describe())));
    }
    if buckets.is_some() && !is_given(Setting::Max) {
        plan.max = MaxAtBoot::of(&boot);
    }
    plan.notes.extend(boot.unreadable.iter().map(|left| format!("cannot read {}: {}", left.file, left.why)));
    plan.changes = files
        .into_iter()
        .map(|(path, new)| Change::of_file(path, text(path).map(str::to_owned), Some(new)))
        .filter(|change| change.from != change.to)
        .collect();
    if let Some(old) = boot.old_initramfs.filter(|_| plan.changes.iter().any(|change| change.path == MODPROBE_CONF)) {
        plan.notes.push(format!(
            "the initramfs {} loads nf_conntrack ({}) with a copy of its options: then run {}",
            old.image, old.loads, old.command
        ));
    }
    Ok(plan)
}

/// With `hashsize=` the module sets another maximum, so that of now is made to stay, unless the boot sets one.
fn with_max(values: &[(Setting, u64)], max_now: Option<u64>, before: &Boot) -> Vec<(Setting, u64)> {
    let mut values = values.to_vec();
    let has = |values: &[(Setting, u64)], wanted| values.iter().any(|(setting, _)| *setting == wanted);
    let is_set = before.sysctl(&Setting::Max.key()).is_some_and(|line| before.effect(&line) != Effect::Refused);
    if let Some(max) = max_now.filter(|_| has(&values, Setting::Buckets) && !has(&values, Setting::Max) && !is_set) {
        values.push((Setting::Max, max));
    }
    values
}

/// The new texts of the files.
fn files_of<'t>(
    values: &[(Setting, u64)],
    by_module: bool,
    text: impl Fn(&str) -> Option<&'t str>,
    before: &Boot,
) -> Vec<(&'static str, String)> {
    let buckets = values.iter().find(|(setting, _)| *setting == Setting::Buckets).filter(|_| by_module);
    let sysctls = values.iter().filter(|(setting, _)| buckets.is_none() || *setting != Setting::Buckets);
    let assignments: Vec<_> = sysctls.map(|(setting, value)| (setting.key(), *value)).collect();
    let mut files = Vec::new();
    if !assignments.is_empty() {
        files.push((SYSCTL_CONF, sysctl_conf(text(SYSCTL_CONF), &assignments)));
    }
    if let Some((_, buckets)) = buckets {
        files.push((MODPROBE_CONF, modprobe_conf(text(MODPROBE_CONF), *buckets)));
    }
    if !matches!(before.loading, Loading::BuiltIn { .. }) && reads_modules_load(before.init) {
        files.push((MODULES_LOAD_CONF, modules_load_conf(text(MODULES_LOAD_CONF))));
    }
    files
}

/// OpenWrt has /etc/modules.d, CentOS 6 /etc/sysconfig/modules.
fn reads_modules_load(init: Init) -> bool {
    !matches!(init, Init::Procd | Init::RedHatSysV)
}

fn planned(files: &[(&'static str, String)]) -> Vec<PlannedFile> {
    files.iter().map(|(path, text)| PlannedFile { path: (*path).to_owned(), text: Some(text.clone()) }).collect()
}

/// The line that decides on a setting.
pub fn deciding(boot: &Boot, setting: Setting) -> Option<Assignment> {
    if setting == Setting::Buckets { boot.buckets() } else { boot.sysctl(&setting.key()) }
}

/// The init system, for messages.
fn init_name(init: Init) -> &'static str {
    match init {
        Init::Systemd => "systemd",
        Init::RedHatSysV => "initscripts of CentOS 6",
        Init::DebianSysV => "sysvinit",
        Init::OpenRc => "OpenRC",
        Init::Procd => "procd of OpenWrt",
        Init::Unknown => "an unknown init system",
    }
}

fn check(boot: &Boot, setting: Setting, value: u64, plan: &mut BootPlan) {
    let Some(line) = deciding(boot, setting) else {
        plan.overridden.push(format!(
            "{setting}: the boot of this host ({}) reads none of the files for it",
            init_name(boot.init)
        ));
        return;
    };
    match boot.effect(&line) {
        _ if line.number() != Some(value) => plan.overridden.push(format!("{setting}: {line}")),
        Effect::Applied => {}
        Effect::Unknown => {
            let note = format!("{setting}: it is unknown whether nf_conntrack is loaded when {} is applied", line.file);
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
        }
        Effect::TooEarly => {
            let hint = match boot.init {
                Init::Procd => "; it is loaded by what is in /etc/modules.d",
                Init::RedHatSysV => "; /etc/sysconfig/modules/*.modules loads modules earlier",
                _ => "",
            };
            plan.overridden.push(format!("{setting}: nf_conntrack is loaded after {} is applied{hint}", line.file));
        }
        Effect::Refused => plan.overridden.push(format!("{setting}: the kernel refuses {line}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use ctnl::clock::Clock;
    use ctnl::model::Timer;
    use ctnl::netlink::Netns;
    use tempfile::TempDir;

    use super::super::places::HostPlaces;
    use super::*;

    /// A tree with these files.
    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        files.iter().for_each(|(path, text)| write(root.path(), path, text));
        root
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A tree on which systemd runs, of a kernel that has nf_conntrack as a module, or built in.
    fn systemd(built_in: bool, files: &[(&str, &str)]) -> TempDir {
        let root = tree(files);
        write(root.path(), "/usr/lib/systemd/systemd", "");
        fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
        symlink("../lib/systemd/systemd", root.path().join("usr/sbin/init")).unwrap();
        symlink("usr/lib", root.path().join("lib")).unwrap();
        let module = if built_in { "nf_conntrack" } else { "nf_other" };
        let list = format!("kernel/net/netfilter/{module}.ko\n");
        write(root.path(), "/usr/lib/modules/6.1.0/modules.builtin", &list);
        root
    }

    fn plan_on(root: &TempDir, values: &[(Setting, u64)]) -> BootPlan {
        let host = Host::at(root.path(), Clock::system());
        let mut places = HostPlaces::new(&host, Netns::Current);
        plan(&host, &mut places, values, Some(65_536)).unwrap()
    }

    fn file<'p>(plan: &'p BootPlan, path: &str) -> Option<&'p str> {
        plan.changes.iter().find(|change| change.path == path).and_then(|change| change.to.as_deref())
    }

    const SIZES: [(Setting, u64); 2] = [(Setting::Max, 262_144), (Setting::Buckets, 131_072)];

    #[test]
    fn on_systemd_three_files_set_the_values_and_load_the_module_before() {
        let plan = plan_on(&systemd(false, &[]), &SIZES);
        assert_eq!((plan.overridden.as_slice(), plan.notes.as_slice()), (&[][..], &[][..]));
        assert!(file(&plan, SYSCTL_CONF).unwrap().ends_with("\nnet.netfilter.nf_conntrack_max = 262144\n"));
        assert!(file(&plan, MODPROBE_CONF).unwrap().ends_with("\noptions nf_conntrack hashsize=131072\n"));
        assert!(file(&plan, MODULES_LOAD_CONF).unwrap().ends_with("\nnf_conntrack\n"));
    }

    #[test]
    fn a_line_that_wins_is_named_with_its_file() {
        let conf = ("/etc/sysctl.d/99-local.conf", "\nnet.nf_conntrack_max=1000\n");
        let plan = plan_on(&systemd(false, &[conf]), &SIZES);
        assert_eq!(plan.overridden, ["max: /etc/sysctl.d/99-local.conf:2: net.nf_conntrack_max = 1000"]);
        // One that sets the same does not hurt, and one that is applied before loses.
        let same = ("/etc/sysctl.d/99-local.conf", "net.netfilter.nf_conntrack_max = 262144\n");
        let earlier = ("/etc/sysctl.d/10-local.conf", "net.netfilter.nf_conntrack_max = 5\n");
        assert_eq!(plan_on(&systemd(false, &[same, earlier]), &SIZES).overridden, [] as [String; 0]);
        let modprobe = ("/etc/modprobe.d/zz.conf", "options nf_conntrack hashsize=7\n");
        let plan = plan_on(&systemd(false, &[modprobe]), &SIZES);
        let decided =
            plan.overridden.is_empty() && file(&plan, SYSCTL_CONF).unwrap().contains("nf_conntrack_buckets = 131072");
        assert!(decided, "the sysctl is applied after the module is loaded: {plan:?}");
    }

    #[test]
    fn of_a_module_that_is_built_in_the_buckets_are_a_sysctl() {
        let plan = plan_on(&systemd(true, &[]), &SIZES);
        assert_eq!(plan.overridden, [] as [String; 0]);
        assert!(file(&plan, SYSCTL_CONF).unwrap().contains("net.netfilter.nf_conntrack_buckets = 131072\n"));
        assert_eq!((file(&plan, MODPROBE_CONF), file(&plan, MODULES_LOAD_CONF)), (None, None));
    }

    #[test]
    fn buckets_alone_bring_the_maximum_of_now_with_them_unless_the_boot_sets_one() {
        let buckets = [(Setting::Buckets, 131_072)];
        let plan = plan_on(&systemd(false, &[]), &buckets);
        assert!(file(&plan, SYSCTL_CONF).unwrap().contains("net.netfilter.nf_conntrack_max = 65536\n"));
        let conf = ("/etc/sysctl.d/50-local.conf", "net.netfilter.nf_conntrack_max = 9999\n");
        assert_eq!(file(&plan_on(&systemd(false, &[conf]), &buckets), SYSCTL_CONF), None);
    }

    #[test]
    fn the_maximum_at_boot_is_shown_where_buckets_alone_are_set() {
        let buckets = [(Setting::Buckets, 131_072)];
        let max = |root: &TempDir, now| {
            let host = Host::at(root.path(), Clock::system());
            let plan = plan(&host, &mut HostPlaces::new(&host, Netns::Current), &buckets, now).unwrap();
            plan.max.map(|max| (max.value, max.why))
        };
        let of_file = |value: u64, file: &str| Some((Some(value), format!("{file} = {value}")));
        // Of an image the maximum now is unknown, and the module sets it to eight times the hash size.
        let (value, why) = max(&systemd(false, &[]), None).unwrap();
        assert_eq!(value, Some(1_048_576));
        assert!(why.contains("8 x hashsize") && why.contains("/etc/modprobe.d/ctnl.conf:2"), "{why}");
        let ours = of_file(65_536, "/etc/sysctl.d/90-ctnl.conf:2: net.netfilter.nf_conntrack_max");
        assert_eq!(max(&systemd(false, &[]), Some(65_536)), ours);
        let conf = ("/etc/sysctl.d/50-local.conf", "net.netfilter.nf_conntrack_max = 9999\n");
        let local = of_file(9999, "/etc/sysctl.d/50-local.conf:1: net.netfilter.nf_conntrack_max");
        assert_eq!(max(&systemd(false, &[conf]), Some(65_536)), local);
        // A line that the kernel refuses sets none.
        let refused = ("/etc/sysctl.d/50-local.conf", "net.netfilter.nf_conntrack_max = 1M\n");
        assert_eq!(max(&systemd(false, &[refused]), Some(65_536)), ours);
        assert_eq!(plan_on(&systemd(false, &[]), &SIZES).max, None);
    }

    #[test]
    fn buckets_that_are_a_sysctl_bring_no_maximum_with_them() {
        let plan = plan_on(&systemd(true, &[]), &[(Setting::Buckets, 131_072)]);
        assert!(!file(&plan, SYSCTL_CONF).unwrap().contains("nf_conntrack_max"), "{plan:?}");
        assert_eq!((plan.max, plan.notes.len()), (None, 1));
    }

    #[test]
    fn a_program_that_undoes_the_value_when_it_starts_is_named() {
        let root = systemd(false, &[("/proc/77/cmdline", "/usr/bin/kube-proxy\0")]);
        let close_wait = |seconds| plan_on(&root, &[(Setting::Timeout(Timer::TcpCloseWait), seconds)]).notes;
        assert_eq!(close_wait(60), ["tcp.close_wait: kube-proxy raises it to 3600 (/proc/77/cmdline:1)"]);
        assert_eq!(close_wait(7200), [] as [String; 0], "it only raises");
    }

    #[test]
    fn an_initramfs_that_loads_the_module_is_to_be_made_anew() {
        let files = [("/boot/initramfs-linux.img", ""), ("/etc/mkinitcpio.conf", "MODULES=(nf_conntrack)\n")];
        let plan = plan_on(&systemd(false, &files), &SIZES);
        assert!(matches!(&*plan.notes, [note] if note.ends_with("then run mkinitcpio -P")), "{plan:?}");
        let [sysctl, modprobe] = [SYSCTL_CONF, MODPROBE_CONF].map(|path| (path, file(&plan, path).unwrap()));
        let again = plan_on(&systemd(false, &[&files[..], &[sysctl, modprobe]].concat()), &SIZES);
        assert_eq!(again.notes, [] as [String; 0], "the option does not change");
    }

    #[test]
    fn openwrt_gets_the_files_that_it_reads_and_its_sysctl_conf_may_win() {
        let openwrt = [("/etc/openwrt_release", ""), ("/etc/modules.d/nf-conntrack", "nf_conntrack\n")];
        let plan = plan_on(&tree(&openwrt), &SIZES);
        assert_eq!(plan.overridden, [] as [String; 0]);
        assert_eq!((file(&plan, MODPROBE_CONF), file(&plan, MODULES_LOAD_CONF)), (None, None));
        assert!(file(&plan, SYSCTL_CONF).unwrap().contains("net.netfilter.nf_conntrack_buckets = 131072\n"));
        let conf = ("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max=16384\n");
        let plan = plan_on(&tree(&[&openwrt[..], &[conf]].concat()), &SIZES);
        assert_eq!(plan.overridden, ["max: /etc/sysctl.conf:1: net.netfilter.nf_conntrack_max = 16384"]);
    }

    #[test]
    fn lines_of_an_earlier_call_stay() {
        let ours = (SYSCTL_CONF, "# by hand\nnet.netfilter.nf_conntrack_acct = 1\n");
        let plan = plan_on(&systemd(false, &[ours]), &SIZES);
        let text = file(&plan, SYSCTL_CONF).unwrap();
        assert_eq!(text, "# by hand\nnet.netfilter.nf_conntrack_acct = 1\nnet.netfilter.nf_conntrack_max = 262144\n");
    }
}
