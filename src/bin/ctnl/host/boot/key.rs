//! Names of sysctls: their spellings, and those that the kernel had in former versions.

use super::tree::Tree;

/// The prefix of the sysctls of conntrack.
pub const CONNTRACK: &str = "net.netfilter.nf_conntrack_";
/// The old spelling of [`CONNTRACK`]. `CONFIG_NF_CONNTRACK_PROC_COMPAT` provided these names until Linux 4.9.
const OLD_CONNTRACK: &str = "net.ipv4.netfilter.ip_conntrack_";
/// A name of the module ip_conntrack, which was removed in Linux 2.6.22.
const OLD_MAX: &str = "net.ipv4.ip_conntrack_max";

/// The name of a sysctl with dots: separators may be dots or slashes.
pub fn dotted(key: &str) -> String {
    key.trim().trim_start_matches('/').replace('/', ".")
}

/// The name of the same setting that `net.netfilter.nf_conntrack_max` has: old names and aliases are translated.
pub fn canonical(key: &str) -> String {
    let key = dotted(key);
    if key == "net.nf_conntrack_max" || key == OLD_MAX {
        return format!("{CONNTRACK}max");
    }
    match key.strip_prefix(OLD_CONNTRACK) {
        Some(name) => format!("{CONNTRACK}{name}"),
        None => key,
    }
}

/// Whether `key` is an old name of a sysctl of conntrack.
pub fn is_old(key: &str) -> bool {
    let key = dotted(key);
    key == OLD_MAX || key.starts_with(OLD_CONNTRACK)
}

/// Whether the running kernel has the sysctl `key`.
pub fn exists(tree: &Tree<'_>, key: &str) -> bool {
    tree.exists(&format!("/proc/sys/{}", dotted(key).replace('.', "/")))
}

/// Whether `pattern` has characters of glob(7).
pub fn is_pattern(key: &str) -> bool {
    key.contains(['*', '?', '['])
}

/// Whether the glob(7) pattern `pattern` matches the whole of `name`. `*` and `?` match no dot, which separates
/// names of folders here.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    matches_chars(&pattern, &name)
}

fn matches_chars(pattern: &[char], name: &[char]) -> bool {
    // Positions to return to when what follows the last `*` does not match: it takes one character more then.
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(at), name.get(here)) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((at + 1, here));
                at += 1;
                continue;
            }
            (Some(_), Some(&letter)) => one(pattern.get(at..).unwrap_or_default(), letter),
            _ => None,
        };
        if let Some(length) = step {
            at += length;
            here += 1;
        } else if let Some((after, from)) = star
            && name.get(from).is_some_and(|&letter| letter != '.')
        {
            star = Some((after, from + 1));
            at = after;
            here = from + 1;
        } else {
            return false;
        }
    }
}

/// How many characters of `pattern` match `letter`; `None` if they do not.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (letter != '.').then_some(1),
        '[' => class(pattern, letter),
        &literal => (literal == letter).then_some(1),
    }
}

fn class(pattern: &[char], letter: char) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|&c| c == ']')? + 2;
    let inside = pattern.get(1..end)?;
    let (negated, inside) = match inside.first() {
        Some('!' | '^') => (true, inside.get(1..)?),
        _ => (false, inside),
    };
    let mut found = inside.contains(&letter);
    for range in inside.windows(3) {
        if let [from, '-', to] = range {
            found |= (*from..=*to).contains(&letter);
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_maximum_is_the_same_setting() {
        for key in [
            "net.netfilter.nf_conntrack_max",
            "net/netfilter/nf_conntrack_max",
            "/net/netfilter/nf_conntrack_max",
            " net.nf_conntrack_max ",
            "net.ipv4.ip_conntrack_max",
            "net/ipv4/netfilter/ip_conntrack_max",
        ] {
            assert_eq!(canonical(key), "net.netfilter.nf_conntrack_max", "{key}");
        }
        let timeout = canonical("net.ipv4.netfilter.ip_conntrack_tcp_timeout_established");
        assert_eq!(timeout, "net.netfilter.nf_conntrack_tcp_timeout_established");
        assert!(is_old("net/ipv4/ip_conntrack_max") && !is_old("net.nf_conntrack_max"));
    }

    #[test]
    fn a_pattern_matches_as_in_the_file_system() {
        for (pattern, name, matched) in [
            ("net.netfilter.nf_conntrack_tcp_timeout_*", "net.netfilter.nf_conntrack_tcp_timeout_close", true),
            ("net.*.nf_conntrack_max", "net.netfilter.nf_conntrack_max", true),
            ("net.*", "net.netfilter.nf_conntrack_max", false),
            ("net.netfilter.nf_conntrack_ma?", "net.netfilter.nf_conntrack_max", true),
            ("net.netfilter.nf_conntrack_ma[w-z]", "net.netfilter.nf_conntrack_max", true),
            ("net.netfilter.nf_conntrack_ma[!x]", "net.netfilter.nf_conntrack_max", false),
            ("*.*.*max*", "net.netfilter.nf_conntrack_max", true),
            ("net.netfilter.nf_conntrack_ma[", "net.netfilter.nf_conntrack_max", false),
            ("net.netfilter.nf_conntrack", "net.netfilter.nf_conntrack_max", false),
        ] {
            assert_eq!(matches(pattern, name), matched, "{pattern}");
        }
    }
}
