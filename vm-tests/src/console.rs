//! The guest's console: the kernel's warnings in it.

/// Beginnings of lines (after the time) that a working kernel does not print.
const WARNINGS: &[&str] = &[
    "BUG:",
    "WARNING: ",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "kernel BUG at",
    "unable to handle",
    "Unable to handle",
    "Internal error",
    "divide error",
    "invalid opcode",
    "stack segment",
    "double fault",
    "INFO: task ",
    "INFO: rcu",
    "rcu: INFO",
    "rcu_sched",
    "rcu_preempt detected",
    "watchdog: BUG",
    "NMI watchdog: Watchdog detected",
    "INFO: lockdep",
    "INFO: possible",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "unreferenced object",
    "refcount_t:",
    "UBSAN:",
    "list_add corruption",
    "list_del corruption",
    "Out of memory:",
    "Call Trace:",
];

/// A warning of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelWarning<'a> {
    /// The case that ran.
    pub case: Option<&'a str>,
    pub line: &'a str,
    /// The line and those around it.
    pub context: String,
}

/// The guest writes this to the kernel's log when a case begins.
pub const CASE_BEGINS: &str = "vm-tests: begin ";

/// The first warning of each case in `console`.
pub fn kernel_warnings(console: &str) -> Vec<KernelWarning<'_>> {
    let lines: Vec<&str> = console.lines().collect();
    let mut case = None;
    let mut found: Vec<KernelWarning<'_>> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if let Some((_, name)) = line.split_once(CASE_BEGINS) {
            case = Some(name.trim());
        }
        if is_kernel_warning(line) && !found.iter().any(|warning| warning.case == case) {
            let around = lines.iter().skip(number.saturating_sub(5)).take(40);
            found.push(KernelWarning { case, line, context: around.map(|line| format!("{line}\n")).collect() });
        }
    }
    found
}

/// Only lines with the kernel's time, not those of a program.
fn is_kernel_warning(line: &str) -> bool {
    let Some(text) = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("] ")) else { return false };
    let text = text.1.trim_start();
    WARNINGS.iter().any(|warning| text.starts_with(warning)) || text.contains("blocked for more than")
}

/// The last lines of `console`.
pub fn tail(console: &str, count: usize) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_warning_belongs_to_the_case_that_ran() {
        let console = "[    1.0] vm-tests: begin flush\n[    1.2] x\n[    2.5] BUG: kernel NULL pointer dereference\n\
                       [    2.5] Oops: 0000\n[    3.0] vm-tests: begin events\n[    3.1] rcu: INFO: rcu_sched self-detected\n";
        let found = kernel_warnings(console);
        let cases: Vec<_> = found.iter().map(|warning| warning.case).collect();
        assert_eq!(cases, [Some("flush"), Some("events")]);
        assert!(found.iter().all(|warning| warning.context.contains("NULL pointer")));
    }

    #[test]
    fn program_output_and_harmless_messages_are_no_kernel_warnings() {
        let console = "BUG: printed by a test\n[    0.1] nf_conntrack: table full, dropping packet\n\
                       [    0.2] rcu: Hierarchical RCU implementation.\n\
                       [    0.3] NMI watchdog: Perf NMI watchdog permanently disabled\n";
        assert_eq!(kernel_warnings(console), []);
    }
}
