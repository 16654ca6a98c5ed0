//! The command line of `ctnl tune` that sets a setting now and at boot.

use ctnl::model::TIMERS;

/// Settings that have an option of their own.
const OPTIONS: &[(&str, &str)] = &[
    ("nf_conntrack_max", "--max"),
    ("nf_conntrack_buckets", "--buckets"),
    ("nf_conntrack_expect_max", "--expect-max"),
];
const SWITCHES: &[(&str, &str)] =
    &[("nf_conntrack_acct", "--acct"), ("nf_conntrack_timestamp", "--timestamp"), ("nf_conntrack_events", "--events")];

/// `ctnl tune set … --persist` for settings such as `nf_conntrack_max`, and the lines of sysctl.d for those of them
/// that it does not know.
pub fn persist<'a>(settings: impl IntoIterator<Item = (&'a str, u64)>) -> (Option<String>, Vec<String>) {
    let (mut options, mut lines) = (String::new(), Vec::new());
    for (name, value) in settings {
        match option(name, value) {
            Some(option) => options = format!("{options} {option}"),
            None => lines.push(format!("net.netfilter.{name} = {value}")),
        }
    }
    ((!options.is_empty()).then(|| format!("ctnl tune set{options} --persist")), lines)
}

fn option(name: &str, value: u64) -> Option<String> {
    if let Some((_, option)) = OPTIONS.iter().find(|(other, _)| *other == name) {
        return Some(format!("{option} {value}"));
    }
    if let Some((_, option)) = SWITCHES.iter().find(|(other, _)| *other == name) {
        return Some(format!("{option} {}", ["off", "on", "auto"].get(usize::try_from(value).ok()?)?));
    }
    let row = TIMERS.iter().find(|row| row.sysctl == Some(name))?;
    Some(format!("--timeout {}={value}", row.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_its_option_and_what_has_none_its_line() {
        let settings = [
            ("nf_conntrack_max", 9),
            ("nf_conntrack_acct", 1),
            ("nf_conntrack_events", 2),
            ("nf_conntrack_tcp_timeout_established", 3600),
            ("nf_conntrack_tcp_loose", 0),
        ];
        let command = "ctnl tune set --max 9 --acct on --events auto --timeout tcp.established=3600 --persist";
        let lines = vec!["net.netfilter.nf_conntrack_tcp_loose = 0".to_owned()];
        assert_eq!(persist(settings), (Some(command.to_owned()), lines));
        assert_eq!(persist([]), (None, vec![]));
    }
}
