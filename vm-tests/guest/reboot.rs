//! What `ctnl tune` has set, after a reboot. /etc is on a disk; Debian's own programs apply it at each boot
//! (`disk`), before the case goes on.
//!
//! A step is a boot. The machine goes down without a sync, so that what was persisted has to be on the
//! disk when the command is done.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use vm_tests::report::REBOOT;

use crate::{cases, host};
use ctnl_test_support::harness::{Run, Test, TestNetns, tests};
use ctnl_test_support::net::PATH;

/// The steps, one for each boot.
const STEPS: &[&[Test]] = &[unsaved::TESTS, saved::TESTS, survived::TESTS];

/// The number of the next step.
const STEP: &str = "/etc/vm-tests/step";
/// The settings of a boot without any files.
const DEFAULTS: &str = "/etc/vm-tests/defaults";

const MAX: &str = "40000";
const BUCKETS: &str = "32768";

/// Runs the step of this boot. The exit code asks for a reboot if there is another one.
pub fn run() -> ExitCode {
    let step: usize = fs::read_to_string(STEP).map_or(0, |text| text.trim().parse().expect("a step"));
    let Some(tests) = STEPS.get(step) else { panic!("no step {step}") };
    // Before the step: a sync after it would write what `ctnl tune` has not.
    keep(STEP, &(step + 1).to_string());
    let conclusion = cases::run_tests(tests);
    if conclusion.has_failed() || step + 1 == STEPS.len() {
        return conclusion.exit_code();
    }
    ExitCode::from(REBOOT)
}

/// Writes a file of the case to the disk, and all that was written before.
fn keep(path: &str, text: &str) {
    fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
    fs::File::open(Path::new(path).parent().unwrap()).unwrap().sync_all().unwrap();
    fs::File::open("/etc").unwrap().sync_all().unwrap();
}

/// Runs a program in the first network namespace, which alone may set what all share, and load the module with
/// a `hashsize` (`nf_conntrack_set_hashsize` in net/netfilter/nf_conntrack_core.c).
fn succeed(program: &str, arguments: &[&str]) {
    host::in_first_namespace(|| {
        Run::of(Command::new(program).args(arguments).env_clear().env("PATH", PATH)).exits_with(0);
    });
}

/// Maximum and buckets, which all namespaces share.
fn settings() -> [String; 2] {
    ["nf_conntrack_max", "nf_conntrack_buckets"].map(|name| {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).expect("nf_conntrack is loaded");
        text.trim().to_owned()
    })
}

fn is_loaded() -> bool {
    fs::exists("/sys/module/nf_conntrack").unwrap()
}

/// `ctnl tune set` of the raised values.
fn tune(arguments: &[&str]) {
    let all = [&["tune", "set", "--max", MAX, "--buckets", BUCKETS, "--yes"][..], arguments].concat();
    succeed("ctnl", &all);
    assert_eq!(settings(), [MAX, BUCKETS]);
}

mod unsaved {
    use super::*;

    tests![raised_settings_are_in_force_at_once];

    fn raised_settings_are_in_force_at_once(_: &TestNetns) {
        assert!(!is_loaded(), "nothing loads the module at boot");
        succeed("modprobe", &["nf_conntrack_netlink"]);
        let defaults = settings();
        assert!(defaults.iter().all(|value| ![MAX, BUCKETS].contains(&&**value)), "{defaults:?}");
        keep(DEFAULTS, &defaults.join(" "));
        tune(&[]);
    }
}

mod saved {
    use super::*;

    tests![without_persist_the_settings_are_lost_at_the_reboot];

    fn without_persist_the_settings_are_lost_at_the_reboot(_: &TestNetns) {
        assert!(!is_loaded(), "nothing loads the module at boot");
        succeed("modprobe", &["nf_conntrack_netlink"]);
        assert_eq!(settings().join(" "), fs::read_to_string(DEFAULTS).unwrap());
        tune(&["--persist"]);
    }
}

mod survived {
    use super::*;

    tests![
        with_persist_the_settings_survive_the_reboot,
        procps_sets_them_too,
        the_options_of_the_module_are_those_of_modprobe_d,
    ];

    fn with_persist_the_settings_survive_the_reboot(_: &TestNetns) {
        assert!(is_loaded(), "systemd-modules-load has loaded it");
        assert_eq!(settings(), [MAX, BUCKETS], "as systemd-sysctl has set them");
        println!("note: maximum {MAX} and {BUCKETS} buckets after the reboot");
    }

    fn procps_sets_them_too(_: &TestNetns) {
        host::in_first_namespace(|| {
            host::write("/proc/sys/net/netfilter/nf_conntrack_max", 30_000).unwrap();
        });
        succeed("sysctl", &["--system"]);
        assert_eq!(settings(), [MAX, BUCKETS]);
    }

    /// Also where nothing applies the settings again.
    fn the_options_of_the_module_are_those_of_modprobe_d(_: &TestNetns) {
        succeed("modprobe", &["-r", "nf_conntrack_netlink", "nf_conntrack"]);
        assert!(!is_loaded());
        succeed("modprobe", &["nf_conntrack"]);
        assert_eq!(settings()[1], BUCKETS);
    }
}
