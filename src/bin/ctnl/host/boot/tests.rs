use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use ctnl::clock::Clock;
use ctnl::host::Host;

use super::*;

const MAX: &str = "net.netfilter.nf_conntrack_max";

/// A tree of files in a temporary folder.
struct Root(tempfile::TempDir);

impl Root {
    /// A tree with these files, on which systemd runs and nf_conntrack is a module.
    fn systemd(files: &[(&str, &str)]) -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        root.write("/usr/lib/systemd/systemd", "");
        root.link("../lib/systemd/systemd", "/usr/sbin/init");
        root.link("usr/lib", "/lib");
        root.link("usr/sbin", "/sbin");
        root.write("/usr/lib/modules/6.1.0/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
        root.with(files)
    }

    fn bare(files: &[(&str, &str)]) -> Root {
        Root(tempfile::tempdir().unwrap()).with(files)
    }

    fn with(self, files: &[(&str, &str)]) -> Root {
        files.iter().for_each(|(path, text)| self.write(path, text));
        self
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    fn executable(self, path: &str) -> Root {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn host(&self) -> Host {
        Host::at(self.0.path(), Clock::system())
    }

    fn boot(&self) -> Boot {
        Boot::read(&self.host())
    }
}

/// The line that decides, then those that it overrides.
fn shown(assignment: Option<Assignment>) -> Vec<String> {
    let Some(assignment) = assignment else { return Vec::new() };
    [assignment.to_string()].into_iter().chain(assignment.overrides.iter().map(ToString::to_string)).collect()
}

fn max_of(root: &Root) -> Vec<String> {
    shown(root.boot().sysctl(MAX))
}

#[test]
fn files_are_sorted_by_name_over_all_folders_and_the_last_wins() {
    let root = Root::systemd(&[
        ("/etc/sysctl.d/10-a.conf", "net.netfilter.nf_conntrack_max = 1\n"),
        ("/usr/lib/sysctl.d/50-b.conf", "#\nnet.nf_conntrack_max = 2\n"),
        ("/run/sysctl.d/20-c.conf", "net/netfilter/nf_conntrack_max = 3\n"),
    ]);
    let expected = [
        "/usr/lib/sysctl.d/50-b.conf:2: net.nf_conntrack_max = 2",
        "/run/sysctl.d/20-c.conf:1: net.netfilter.nf_conntrack_max = 3",
        "/etc/sysctl.d/10-a.conf:1: net.netfilter.nf_conntrack_max = 1",
    ];
    assert_eq!(max_of(&root), expected);
}

#[test]
fn a_file_of_the_same_name_in_a_stronger_folder_stands_in_and_a_link_to_dev_null_masks() {
    let line = |value: u32| format!("{MAX} = {value}\n");
    let root = Root::systemd(&[("/usr/lib/sysctl.d/50.conf", &line(1)), ("/etc/sysctl.d/50.conf", "# nothing\n")]);
    assert_eq!(max_of(&root), Vec::<String>::new());
    let left_out = &root.boot().without_effect;
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].why, Reason::Masked { by: "/etc/sysctl.d/50.conf".into() });
    root.write("/usr/lib/sysctl.d/60.conf", &line(2));
    root.link("/dev/null", "/etc/sysctl.d/60.conf");
    assert_eq!(max_of(&root), Vec::<String>::new());
}

#[test]
fn systemd_reads_sysctl_conf_only_where_a_link_leads_to_it() {
    let root = Root::systemd(&[("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max=5\n")]);
    assert_eq!(max_of(&root), Vec::<String>::new());
    assert_eq!(root.boot().without_effect[0].why, Reason::NotRead { by: "systemd-sysctl" });
    root.link("../sysctl.conf", "/etc/sysctl.d/99-sysctl.conf");
    root.write("/etc/sysctl.d/90-ctnl.conf", "net.netfilter.nf_conntrack_max=6\n");
    let expected = [
        "/etc/sysctl.conf:1: net.netfilter.nf_conntrack_max = 5",
        "/etc/sysctl.d/90-ctnl.conf:1: net.netfilter.nf_conntrack_max = 6",
    ];
    assert_eq!(max_of(&root), expected);
    assert_eq!(root.boot().without_effect, []);
}

#[test]
fn a_file_without_its_suffix_is_not_read() {
    let root = Root::systemd(&[
        ("/etc/sysctl.d/90-max", "net.netfilter.nf_conntrack_max=5\n"),
        ("/etc/modprobe.d/conntrack", "options nf_conntrack hashsize=7\n"),
        ("/etc/modprobe.conf", "options nf_conntrack hashsize=8\n"),
        ("/etc/modprobe.d/old.conf", "options ip_conntrack hashsize=9\n"),
    ]);
    let boot = root.boot();
    assert_eq!((boot.sysctl(MAX), boot.hashsize()), (None, None));
    let why: Vec<_> = boot.without_effect.iter().map(|line| (line.assignment.value.as_str(), &line.why)).collect();
    let expected =
        [("7", &Reason::Suffix), ("8", &Reason::ModprobeConf), ("9", &Reason::OldModule), ("5", &Reason::Suffix)];
    assert_eq!(why, expected);
}

#[test]
fn an_explicit_line_is_stronger_than_a_pattern_and_an_excluded_name_is_set_by_none() {
    let established = "net.netfilter.nf_conntrack_tcp_timeout_established";
    let root = Root::systemd(&[
        ("/etc/sysctl.d/10.conf", &format!("{established} = 7200\n")),
        ("/etc/sysctl.d/20.conf", "net.netfilter.nf_conntrack_tcp_timeout_* = 60\n-net.netfilter.*_time_wait\n"),
    ]);
    let boot = root.boot();
    assert_eq!(boot.sysctl(established).unwrap().value, "7200");
    assert_eq!(boot.sysctl("net.netfilter.nf_conntrack_tcp_timeout_close").unwrap().value, "60");
    assert_eq!(boot.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait"), None);
}

#[test]
fn systemd_writes_the_last_line_even_where_the_kernel_refuses_it_and_procps_writes_all() {
    let files = [
        ("/etc/sysctl.d/10.conf", "net.netfilter.nf_conntrack_max = 1\n"),
        ("/etc/sysctl.d/20.conf", "net.netfilter.nf_conntrack_max = 1,000\n"),
    ];
    let boot = Root::systemd(&files).boot();
    let max = boot.sysctl(MAX).unwrap();
    assert_eq!((max.value.as_str(), boot.effect(&max)), ("1,000", Effect::Refused));
    let devuan = Root::bare(&files).with(&[("/etc/init.d/procps", "sysctl --system\n")]);
    assert_eq!(devuan.boot().init, Init::DebianSysV);
    assert_eq!(devuan.boot().sysctl(MAX).unwrap().value, "1");
}

#[test]
fn procps_reads_sysctl_conf_last() {
    let root = Root::bare(&[
        ("/etc/init.d/procps", "sysctl --system\n"),
        ("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 1\n"),
        ("/etc/sysctl.d/99-z.conf", "net.netfilter.nf_conntrack_max = 2\n"),
    ]);
    let expected = [
        "/etc/sysctl.conf:1: net.netfilter.nf_conntrack_max = 1",
        "/etc/sysctl.d/99-z.conf:1: net.netfilter.nf_conntrack_max = 2",
    ];
    assert_eq!(max_of(&root), expected);
}

#[test]
fn centos_6_applies_what_its_functions_apply_in_their_order() {
    let files = [
        ("/etc/rc.d/rc.sysinit", "sysctl -e -p /etc/sysctl.conf\n"),
        ("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 1\n"),
        ("/etc/sysctl.d/a", "net.netfilter.nf_conntrack_max = 2\n"),
    ];
    let old = Root::bare(&files);
    assert_eq!(max_of(&old), ["/etc/sysctl.conf:1: net.netfilter.nf_conntrack_max = 1"]);
    let functions = "\napply_sysctl() {\n  sysctl -e -p /etc/sysctl.conf\n  for file in /etc/sysctl.d/* ; do\n\
                     sysctl -e -p \"$file\"\n done\n}\n";
    let newer = old.with(&[("/etc/rc.d/init.d/functions", functions)]);
    assert_eq!(newer.boot().sysctl(MAX).unwrap().value, "2");
}

#[test]
fn openwrt_reads_sysctl_conf_after_its_folder_and_parameters_from_modules_d() {
    let root = Root::bare(&[
        ("/etc/openwrt_release", "DISTRIB_ID='OpenWrt'\n"),
        ("/etc/sysctl.d/11-nf-conntrack.conf", "net.netfilter.nf_conntrack_tcp_timeout_established=7440\n"),
        ("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max=65536\n"),
        ("/etc/modules.d/nf-conntrack", "nf_conntrack hashsize=16384\nnf_conntrack_rtcache\n"),
        ("/etc/rc.local", "sysctl -w net.netfilter.nf_conntrack_max=7\nexit 0\n"),
    ]);
    let boot = root.boot();
    assert_eq!(boot.init, Init::Procd);
    assert_eq!(boot.hashsize().unwrap().to_string(), "/etc/modules.d/nf-conntrack:1: nf_conntrack.hashsize = 16384");
    let Loading::Before(by) = &boot.loading else { panic!("{:?}", boot.loading) };
    assert_eq!(by.to_string(), "/etc/modules.d/nf-conntrack:1: loads nf_conntrack");
    let max = boot.sysctl(MAX).unwrap();
    assert_eq!((max.value.as_str(), max.stage, boot.effect(&max)), ("7", Stage::Script, Effect::Applied));
}

#[test]
fn busybox_of_alpine_runs_the_loop_of_the_script_and_procps_runs_system() {
    let script = "BSD_sysctl()\n{\n for conf in /etc/sysctl.conf /etc/sysctl.d/*.conf; do\n done\n}\n\n\
                  Linux_sysctl()\n{\n sysctl --system\n}\nstart() {\n sysctl -V && Linux_sysctl\n}\n";
    let root = Root::bare(&[("/sbin/openrc", ""), ("/etc/init.d/sysctl", script), ("/bin/busybox", "")]);
    root.link("/bin/busybox", "/sbin/sysctl");
    let paths = ["/etc/sysctl.conf", "/etc/sysctl.d/*.conf"].map(str::to_owned).to_vec();
    assert_eq!(root.boot().applier, Applier::Script(paths));
    fs::remove_file(root.path("/sbin/sysctl")).unwrap();
    root.write("/sbin/sysctl", "procps");
    assert_eq!(root.boot().applier, Applier::Procps);
}

#[test]
fn the_command_line_is_stronger_than_modprobe_d_and_a_later_script_than_both() {
    let root = Root::systemd(&[
        ("/etc/modprobe.d/a.conf", "options nf_conntrack hashsize=1\n# options nf_conntrack hashsize=0\n"),
        ("/etc/modprobe.d/b.conf", "options nf-conntrack \\\n  expect_hashsize=7 hashsize=2\n"),
        ("/proc/cmdline", "root=/dev/sda nf_conntrack.hashsize=3 quiet\n"),
    ]);
    let expected = [
        "/proc/cmdline:1: nf_conntrack.hashsize = 3",
        "/etc/modprobe.d/b.conf:1: nf_conntrack.hashsize = 2",
        "/etc/modprobe.d/a.conf:1: nf_conntrack.hashsize = 1",
    ];
    assert_eq!(shown(root.boot().hashsize()), expected);
    root.write("/etc/rc.local", "echo 4 > /sys/module/nf_conntrack/parameters/hashsize\n");
    assert_eq!(root.boot().hashsize().unwrap().value, "3");
    assert_eq!(root.boot().without_effect[0].why, Reason::NotExecutable);
    let root = root.executable("/etc/rc.local");
    assert_eq!(root.boot().hashsize().unwrap().value, "4");
    root.write("/usr/lib/tmpfiles.d/x.conf", "w /sys/module/nf_conntrack/parameters/hashsize - - - - 5\n");
    assert_eq!(root.boot().hashsize().unwrap().value, "4");
}

#[test]
fn options_of_a_built_in_module_have_no_effect() {
    let root = Root::systemd(&[
        ("/etc/modprobe.d/a.conf", "options nf_conntrack hashsize=1\n"),
        ("/etc/sysctl.d/a.conf", "net.netfilter.nf_conntrack_max=2\nnet.netfilter.nf_conntrack_buckets=3\n"),
        ("/lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/nf_conntrack.ko\n"),
    ]);
    let boot = root.boot();
    assert_eq!((boot.hashsize(), boot.buckets().unwrap().value.as_str()), (None, "3"));
    assert_eq!(boot.without_effect[0].why, Reason::BuiltIn);
    assert_eq!(boot.effect(&boot.sysctl(MAX).unwrap()), Effect::Applied);
}

#[test]
fn without_a_line_that_loads_the_module_the_sysctls_are_applied_too_early() {
    let root = Root::systemd(&[("/etc/sysctl.d/a.conf", "net.netfilter.nf_conntrack_max=2\n")]);
    root.link("/usr/lib/systemd/system/nftables.service", "/etc/systemd/system/sysinit.target.wants/nftables.service");
    let effect = || root.boot().effect(&root.boot().sysctl(MAX).unwrap());
    assert_eq!(effect(), Effect::TooEarly);
    let Loading::Later(services) = root.boot().loading else { panic!() };
    let starts = "starts nftables, whose rules load nf_conntrack";
    assert_eq!(services[0].to_string(), format!("/etc/systemd/system/sysinit.target.wants/nftables.service: {starts}"));
    root.write("/etc/modules-load.d/x.conf", "# nf_conntrack\nnf-nat\n");
    assert_eq!(effect(), Effect::Applied);
    root.write("/etc/modprobe.d/x.conf", "blacklist nf_nat\n");
    assert_eq!(effect(), Effect::TooEarly);
    let rule = "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", RUN+=\"/sbin/sysctl --system\"\n";
    root.write("/etc/udev/rules.d/91-conntrack.rules", rule);
    assert_eq!(effect(), Effect::Applied);
}

#[test]
fn an_old_name_sets_something_only_where_the_kernel_has_it() {
    let root = Root::systemd(&[
        ("/etc/modules-load.d/x.conf", "nf_conntrack\n"),
        ("/etc/sysctl.d/a.conf", "net.ipv4.netfilter.ip_conntrack_max=2\nnet.ipv4.ip_conntrack_max=3\n"),
    ]);
    assert_eq!(max_of(&root), Vec::<String>::new());
    let old = Reason::OldName { current: MAX.into() };
    assert!(root.boot().without_effect.iter().all(|line| line.why == old));
    root.write("/proc/sys/net/ipv4/netfilter/ip_conntrack_max", "2\n");
    assert_eq!(max_of(&root), ["/etc/sysctl.d/a.conf:1: net.ipv4.netfilter.ip_conntrack_max = 2"]);
}

#[test]
fn the_file_of_ufw_is_applied_after_the_others_where_ufw_is_enabled() {
    let root = Root::systemd(&[
        ("/etc/sysctl.d/a.conf", "net.netfilter.nf_conntrack_max=2\n"),
        ("/etc/ufw/ufw.conf", "ENABLED=no\n"),
        ("/etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n"),
        ("/etc/ufw/sysctl.conf", "net/netfilter/nf_conntrack_max=3\n"),
    ]);
    assert_eq!(root.boot().sysctl(MAX).unwrap().value, "2");
    root.write("/etc/ufw/ufw.conf", "ENABLED=yes\n");
    assert_eq!(root.boot().sysctl(MAX).unwrap().value, "3");
}

#[test]
fn a_planned_file_shows_what_the_next_boot_gives() {
    let root = Root::systemd(&[("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max=1\n")]);
    root.link("../sysctl.conf", "/etc/sysctl.d/99-sysctl.conf");
    let planned = |path: &str, text: &str| PlannedFile { path: path.into(), text: Some(text.into()) };
    let sysctls = planned("/etc/sysctl.d/90-ctnl.conf", "net.netfilter.nf_conntrack_max=9\n");
    let module = planned("/etc/modules-load.d/ctnl.conf", "nf_conntrack\n");
    let boot = Boot::read_with(&root.host(), &[sysctls, module]);
    let max = boot.sysctl(MAX).unwrap();
    assert_eq!((max.value.as_str(), max.file.as_str(), boot.effect(&max)), ("1", "/etc/sysctl.conf", Effect::Applied));
    assert_eq!(max.overrides[0].file, "/etc/sysctl.d/90-ctnl.conf");
    let edited = planned("/etc/sysctl.conf", "");
    let sysctls = planned("/etc/sysctl.d/90-ctnl.conf", "net.netfilter.nf_conntrack_max=9\n");
    assert_eq!(Boot::read_with(&root.host(), &[edited, sysctls]).sysctl(MAX).unwrap().value, "9");
}

#[test]
fn what_cannot_be_read_is_reported_and_conntracks_sysctls_are_listed_by_name() {
    let root = Root::systemd(&[("/etc/sysctl.d/a.conf", "net.netfilter.nf_conntrack_max=2\nnet.core.somaxconn=9\n")]);
    fs::create_dir(root.path("/etc/sysctl.d/b.conf")).unwrap();
    let boot = root.boot();
    assert_eq!(boot.unreadable, [Unreadable { file: "/etc/sysctl.d/b.conf".into(), why: "not a regular file".into() }]);
    let names: Vec<_> = boot.conntrack_sysctls().into_iter().map(|assignment| assignment.key).collect();
    assert_eq!(names, [MAX]);
}
