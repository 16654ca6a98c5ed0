//! The messages of the kernel about a full table, in the spellings of its versions.
//!
//! `__nf_conntrack_alloc` in net/netfilter/nf_conntrack_core.c writes `table full, dropping packet`, with a full stop in
//! older kernels, and in newer ones (seen on 6.18 and 7.3) `table full in netns N, dropping packet` for all namespaces but the
//! first, N being the inode number.
//! Some kernels have the name of the module twice, those of 2.4 and 2.6 have `ip_conntrack`, and the first of them
//! `maximum limit of N entries exceeded`. What the rate limit leaves out is counted in a message of its own
//! (`___ratelimit` in lib/ratelimit.c; `__printk_ratelimit` in older kernels).

/// What a message of the kernel is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A packet was dropped because the table is full.
    TableFull {
        /// The inode number of the network namespace, where the kernel writes it.
        netns: Option<u64>,
    },
    /// An expected connection was not recorded because the table of expectations is full
    /// (`nf_ct_expect_related_report` in net/netfilter/nf_conntrack_expect.c).
    ExpectationsFull,
    /// So many messages were left out by the rate limit, of this kind or of another.
    Suppressed(u64),
    /// The message before it came so many times again, by the syslog daemon.
    Repeated(u64),
}

/// Prefixes of a message of conntrack.
const MODULES: [&[u8]; 2] = [b"nf_conntrack:", b"ip_conntrack:"];
/// Prefixes of a count of messages that were left out.
const RATE_LIMITS: [&[u8]; 4] = [b"net_ratelimit:", b"__ratelimit:", b"printk:", b"printk_ratelimit:"];

/// Whether `word` begins a message that [`notice`] may recognise.
pub fn is_prefix(word: &[u8]) -> bool {
    MODULES.iter().chain(&RATE_LIMITS).any(|prefix| *prefix == word)
}

/// What `message`, without anything before it, is about; `None` for all other messages.
pub fn notice(message: &[u8]) -> Option<Notice> {
    let mut rest = message.trim_ascii_start();
    let mut is_conntrack = false;
    while let Some(behind) = without_any(rest, &MODULES) {
        (rest, is_conntrack) = (behind, true);
    }
    if is_conntrack {
        return of_conntrack(rest).or_else(|| suppressed(rest));
    }
    if let Some(rest) = without_any(rest, &RATE_LIMITS) {
        return suppressed(rest);
    }
    repeated(rest)
}

fn of_conntrack(message: &[u8]) -> Option<Notice> {
    if let Some(behind) = message.strip_prefix(b"table full") {
        let netns = behind.strip_prefix(b" in netns ").and_then(number).map(|(inode, _)| inode);
        return Some(Notice::TableFull { netns });
    }
    if message.starts_with(b"expectation table full") {
        return Some(Notice::ExpectationsFull);
    }
    let (_, behind) = number(message.strip_prefix(b"maximum limit of ")?)?;
    behind.starts_with(b" entries exceeded").then_some(Notice::TableFull { netns: None })
}

fn suppressed(message: &[u8]) -> Option<Notice> {
    let (count, behind) = number(message)?;
    let is_count = [&b" callbacks suppressed"[..], b" messages suppressed"].iter().any(|text| behind.starts_with(text));
    is_count.then_some(Notice::Suppressed(count))
}

/// `last message repeated 3 times`, of a syslog daemon that writes a message once.
fn repeated(message: &[u8]) -> Option<Notice> {
    let (count, behind) = number(message.strip_prefix(b"last message repeated ")?)?;
    behind.starts_with(b" time").then_some(Notice::Repeated(count))
}

/// `text` behind the first of `prefixes` that it begins with, and behind blanks.
fn without_any<'a>(text: &'a [u8], prefixes: &[&[u8]]) -> Option<&'a [u8]> {
    prefixes.iter().find_map(|prefix| text.strip_prefix(*prefix)).map(<[u8]>::trim_ascii_start)
}

/// The number that `text` begins with, and what is behind it.
pub fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, behind) = text.split_at_checked(length)?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(|number| (number, behind))
}

#[cfg(test)]
pub mod spellings {
    //! Every spelling, for the tests of this folder.

    /// Messages of a full table.
    pub const FULL: [&str; 9] = [
        "nf_conntrack: table full, dropping packet",
        "nf_conntrack: table full, dropping packet.",
        "nf_conntrack: nf_conntrack: table full, dropping packet",
        "nf_conntrack: table full in netns 4026532513, dropping packet",
        "nf_conntrack: nf_conntrack: table full in netns 4026532513, dropping packet",
        "ip_conntrack: table full, dropping packet",
        "ip_conntrack: table full, dropping packet.",
        "ip_conntrack: maximum limit of 65536 entries exceeded",
        "nf_conntrack: maximum limit of 4096 entries exceeded",
    ];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::spellings::FULL;
    use super::*;

    #[test]
    fn every_spelling_of_a_full_table_is_recognised() {
        for message in FULL {
            let netns = message.contains("netns").then_some(4_026_532_513);
            assert_eq!(notice(message.as_bytes()), Some(Notice::TableFull { netns }), "{message}");
        }
    }

    #[test]
    fn what_the_rate_limit_and_the_syslog_daemon_left_out_is_counted() {
        for (message, count) in [
            ("nf_conntrack: 17 callbacks suppressed", 17),
            ("net_ratelimit: 17 callbacks suppressed", 17),
            ("__ratelimit: 3 messages suppressed", 3),
            ("__ratelimit: 3 callbacks suppressed", 3),
            ("printk: 46 messages suppressed.", 46),
        ] {
            assert_eq!(notice(message.as_bytes()), Some(Notice::Suppressed(count)), "{message}");
        }
        assert_eq!(notice(b"last message repeated 2 times"), Some(Notice::Repeated(2)));
    }

    #[test]
    fn a_full_table_of_expectations_is_no_full_table_of_entries() {
        assert_eq!(notice(b"nf_conntrack: expectation table full"), Some(Notice::ExpectationsFull));
        assert_eq!(notice(b"nf_conntrack: nf_conntrack: expectation table full"), Some(Notice::ExpectationsFull));
    }

    #[test]
    fn other_messages_are_none_of_these() {
        for message in [
            "",
            "nf_conntrack:",
            "nf_conntrack: default automatic helper assignment has been turned off",
            "nf_conntrack version 0.5.0 (16384 buckets, 65536 max)",
            "table full, dropping packet",
            "neighbour: arp_cache: neighbor table overflow!",
            "net_ratelimit: callbacks suppressed",
            "net_ratelimit: 99999999999999999999999 callbacks suppressed",
            "nf_conntrack: maximum limit of many entries exceeded",
            "xt_hashlimit: 3 callbacks suppressed",
        ] {
            assert_eq!(notice(message.as_bytes()), None, "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_fault(message in proptest::collection::vec(any::<u8>(), 0..64), spelling in proptest::sample::select(&FULL[..])) {
            let _ = notice(&message);
            let mut behind = spelling.as_bytes().to_vec();
            behind.extend_from_slice(&message);
            let _ = notice(&behind);
            behind.truncate(message.len());
            let _ = notice(&behind);
        }
    }
}
