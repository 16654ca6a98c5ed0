//! The tests of each case.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Conclusion};

use crate::bare::{no_capability, no_conntrack, no_ctnetlink, no_proc};
use crate::{doctor, emergency, events, facts, flush, full, namespaces, offload, policies, reboot};
use ctnl_test_support::harness::{self, Test};

/// The cases whose tests are in this program.
const GUEST_CASES: &[(&str, &[Test])] = &[
    ("no-conntrack", no_conntrack::TESTS),
    ("no-ctnetlink", no_ctnetlink::TESTS),
    ("no-proc", no_proc::TESTS),
    ("no-capability", no_capability::TESTS),
    ("table-full-small", full::small::TESTS),
    ("table-full", full::TESTS),
    ("doctor", doctor::TESTS),
    ("emergency", emergency::TESTS),
    ("flush", flush::TESTS),
    ("events", events::TESTS),
    ("offload", offload::TESTS),
    ("policies", policies::TESTS),
    ("namespaces", namespaces::TESTS),
    ("facts", facts::TESTS),
];

/// The cases that are other programs, and their arguments: tests of servers, of iptables, chromium and tmux, which do not depend on
/// the kernel, are skipped.
const PROGRAM_CASES: [(&str, &str, &[&str]); 2] = [
    ("kernel", "/usr/bin/kernel-tests", &[]),
    (
        "peers",
        "/usr/bin/peer-tests",
        &[
            "--skip",
            "service::",
            "--skip",
            "syslog::",
            "--skip",
            "nats::",
            "--skip",
            "kept::",
            "--skip",
            "pipeline::",
            "--skip",
            "doctor_iptables::",
            "--skip",
            "doctor_page::",
            "--skip",
            "top::",
        ],
    ),
];

/// Runs the case `name`.
pub fn run(name: &str) -> ExitCode {
    if let Some((_, program, arguments)) = PROGRAM_CASES.iter().find(|(case, ..)| *case == name) {
        let error = Command::new(program).args(*arguments).exec();
        eprintln!("{program}: {error}");
        return ExitCode::FAILURE;
    }
    if name == "reboot" {
        return reboot::run();
    }
    let Some((_, tests)) = GUEST_CASES.iter().find(|(case, _)| *case == name) else {
        eprintln!("no case '{name}'");
        return ExitCode::FAILURE;
    };
    run_tests(tests).exit_code()
}

/// One at a time: they share the machine's sysctls and its log.
pub fn run_tests(tests: &[Test]) -> Conclusion {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::default() };
    let trials = tests.iter().copied().map(harness::trial).collect();
    libtest_mimic::run(&arguments, trials)
}
