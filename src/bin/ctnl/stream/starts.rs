//! Messages about several namespaces at their start: one line for what is the same in many of them.

use std::collections::{BTreeMap, BTreeSet};

use ctnl::host::Host;
use ctnl::netlink::Netns;
use ctnl::table::Buffer;

use super::report::{WITHOUT_SYSCTLS, describe_buffer, deviations};
use crate::host::event_sysctls::Deviation;
use crate::host::procfs;
use crate::term::console::Console;

/// More namespaces than this are counted instead of named.
const MAX_NAMES: usize = 3;

/// What is reported of a namespace at its start.
#[derive(Debug)]
pub struct Start {
    name: String,
    /// The size of the receive buffer, and what limits it.
    buffer: String,
    /// The sysctls that are off, or why they cannot be read.
    sysctls: Result<Vec<Deviation>, String>,
}

impl Start {
    /// Reads what is reported of `netns`. Not for the thread that receives: it enters the namespace.
    pub fn read(host: &Host, netns: &Netns, name: String, buffer: Buffer) -> Self {
        let rmem_max = host.core().read("rmem_max").ok();
        let sysctls = if procfs::has_sysctls(host) {
            deviations(host, netns).map_err(|error| format!("cannot read the sysctls of conntrack: {error:#}"))
        } else {
            Err(WITHOUT_SYSCTLS.to_owned())
        };
        Start { name, buffer: describe_buffer(buffer, rmem_max), sysctls }
    }

    /// Its messages, in the order in which they are printed.
    fn texts(&self) -> Vec<String> {
        let sysctls = match &self.sysctls {
            Ok(deviations) => deviations.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.clone()],
        };
        [vec![self.buffer.clone()], sysctls].concat()
    }
}

/// Reports the namespaces that are followed from now on.
#[derive(Debug, Default)]
pub struct StartReport {
    /// The messages that were printed: of a later namespace only other ones are.
    reported: BTreeSet<String>,
}

impl StartReport {
    /// Prints a line with the names, one for each message that was not printed before, and each message of
    /// each namespace as a detail.
    pub fn print(&mut self, console: &mut Console, starts: &[Start]) {
        self.lines(starts).iter().for_each(|line| console.note(line));
        for start in starts {
            start.texts().iter().for_each(|text| console.detail(&format!("{}: {text}", start.name)));
        }
    }

    fn lines(&mut self, starts: &[Start]) -> Vec<String> {
        if starts.is_empty() {
            return Vec::new();
        }
        let all: Vec<&str> = starts.iter().map(|start| &*start.name).collect();
        let mut lines = vec![format!("following {}", names(&all))];
        let mut order = Vec::new();
        let mut owners = BTreeMap::<String, Vec<&str>>::new();
        for start in starts {
            for text in start.texts().into_iter().filter(|text| !self.reported.contains(text)) {
                if !owners.contains_key(&text) {
                    order.push(text.clone());
                }
                owners.entry(text).or_default().push(&start.name);
            }
        }
        let hint = hint(starts, &owners);
        for text in order {
            let owners = owners.get(&text).map_or(&[][..], Vec::as_slice);
            lines.push(format!("{}: {text}", names(owners)));
            self.reported.insert(text);
        }
        if let (Some(hint), Some(last)) = (hint, lines.last_mut()) {
            last.push_str(&hint);
        }
        lines
    }
}

/// The names, or their number.
fn names(of: &[&str]) -> String {
    if of.len() > MAX_NAMES { format!("{} network namespaces", of.len()) } else { of.join(", ") }
}

/// The command that sets the sysctls of which a message is printed. systemd-sysctl(8) applies
/// /etc/sysctl.d in its own namespace alone.
fn hint(starts: &[Start], printed: &BTreeMap<String, Vec<&str>>) -> Option<String> {
    let deviations = starts.iter().filter_map(|start| start.sysctls.as_ref().ok()).flatten();
    let settings: BTreeSet<String> = deviations
        .filter(|deviation| printed.contains_key(&deviation.to_string()))
        .filter_map(|deviation| Some(deviation.line()?.replace(' ', "")))
        .collect();
    let settings = settings.into_iter().collect::<Vec<_>>().join(" ");
    (!settings.is_empty()).then(|| format!("\n  hint: in each of them: sysctl -w {settings}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn start(name: &str, off: &[&'static str]) -> Start {
        let deviation = |name: &&'static str| Deviation { name, value: Some(0), wanted: 1, missing: "this and that" };
        let buffer = "receive buffer: 8 MiB, 13107 events".into();
        Start { name: name.into(), buffer, sysctls: Ok(off.iter().map(deviation).collect()) }
    }

    #[test]
    fn what_is_the_same_in_300_namespaces_is_one_line() {
        let starts: Vec<Start> = (0..300)
            .map(|number| {
                let both = &["nf_conntrack_acct", "nf_conntrack_timestamp"][..];
                start(&format!("ns{number}"), if number < 299 { both } else { &[] })
            })
            .collect();
        let expected = [
            "following 300 network namespaces",
            "300 network namespaces: receive buffer: 8 MiB, 13107 events",
            "299 network namespaces: net.netfilter.nf_conntrack_acct is 0: this and that",
            "299 network namespaces: net.netfilter.nf_conntrack_timestamp is 0: this and that\n  hint: in each of them: \
             sysctl -w net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1",
        ];
        assert_eq!(StartReport::default().lines(&starts), expected);
    }

    #[test]
    fn a_later_namespace_has_one_line_and_what_was_not_reported_before() {
        let mut report = StartReport::default();
        report.lines(&[start("host", &["nf_conntrack_acct"])]);
        assert_eq!(report.lines(&[start("blue", &["nf_conntrack_acct"])]), ["following blue"]);
        let lines = report.lines(&[start("red", &[]), start("green", &["nf_conntrack_acct", "nf_conntrack_events"])]);
        let events = "green: net.netfilter.nf_conntrack_events is 0: this and that\n  hint: in each of them: sysctl -w \
                      net.netfilter.nf_conntrack_events=1";
        assert_eq!(lines, ["following red, green", events]);
        assert_eq!(report.lines(&[]), [] as [&str; 0]);
    }
}
