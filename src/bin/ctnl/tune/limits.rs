//! What would hurt: each with its reason and the word that allows it, where one may.

use ctnl::model::Timer;
use ctnl::units::{Bytes, Seconds};

use super::setting::Setting;
use crate::host::table_memory::{TableMemory, chain_length};

/// Inserts begin to fail where a chain has 50 nodes (`MIN_CHAINLEN` in net/netfilter/nf_conntrack_core.c); a full table whose
/// mean is above this gets there.
const LONGEST_CHAIN: u64 = 32;
/// A longer mean chain is worth a note.
const LONG_CHAIN: u64 = 8;
/// Longer timeouts keep dead entries for ever.
const LONGEST_TIMEOUT: u64 = 10 * 86_400;
/// RFC 5382, REQ-5: the least for established TCP connections of a NAT.
const RFC_ESTABLISHED: u64 = 7_440;

/// Words that allow what is refused otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Words {
    /// `--beyond-memory`
    pub beyond_memory: bool,
    /// `--below-count`
    pub below_count: bool,
    /// `--unlimited`
    pub unlimited: bool,
    /// `--long-chains`
    pub long_chains: bool,
    /// `--any-timeout`
    pub any_timeout: bool,
}

/// The table as it is, and as it would be.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// `nf_conntrack_max` now.
    pub max_now: Option<u64>,
    /// `nf_conntrack_max` then.
    pub max: Option<u64>,
    /// `nf_conntrack_buckets` now.
    pub buckets_now: Option<u64>,
    /// `nf_conntrack_buckets` then.
    pub buckets: Option<u64>,
    /// Entries of the fullest namespace that can be read.
    pub entries: Option<u64>,
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What would happen.
    pub reason: String,
    /// The option that allows it.
    pub word: Option<&'static str>,
}

/// What is refused, and notes on what is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is refused.
    pub refusals: Vec<Refusal>,
    /// What may have consequences.
    pub notes: Vec<String>,
}

impl Verdict {
    fn refuse(&mut self, is_allowed: bool, word: &'static str, reason: String) {
        if is_allowed {
            self.notes.push(format!("{reason} (allowed by {word})"));
        } else {
            self.refusals.push(Refusal { reason, word: Some(word) });
        }
    }

    fn refuse_always(&mut self, reason: String) {
        self.refusals.push(Refusal { reason, word: None });
    }
}

/// Judges new values.
pub fn judge(values: &[(Setting, u64)], sizes: &Sizes, memory: &TableMemory, words: Words) -> Verdict {
    let mut verdict = Verdict::default();
    for (setting, value) in values {
        match (*setting, *value) {
            (Setting::Max, value) => judge_max(value, sizes, words, &mut verdict),
            (Setting::Buckets, 0) => {
                verdict.refuse_always(
                    "buckets 0: a hash table has at least one page of them, and the kernel refuses 0".into(),
                );
            }
            (Setting::ExpectMax, 0) => {
                verdict.refuse_always(
                    "expect_max 0: no helper could expect a connection any more (FTP, SIP, TFTP fail)".into(),
                );
            }
            (Setting::Timeout(timer), seconds) => judge_timeout(timer, seconds, words, &mut verdict),
            (Setting::Events, 0) => {
                verdict.notes.push("events off: entries that are created from now on send no events, for life".into());
            }
            _ => {}
        }
    }
    judge_sizes(sizes, memory, words, &mut verdict);
    verdict
}

fn judge_max(value: u64, sizes: &Sizes, words: Words, verdict: &mut Verdict) {
    if value == 0 {
        let reason = "max 0: no limit, so that a flood can take all memory, where the kernel takes it; newer kernels (7.3) \
                      refuse it";
        return verdict.refuse(words.unlimited, "--unlimited", reason.into());
    }
    if let Some(entries) = sizes.entries.filter(|entries| *entries > value) {
        let reason = format!(
            "max {value} is below the {entries} entries that are there: new connections would be dropped until as many \
             have ended"
        );
        verdict.refuse(words.below_count, "--below-count", reason);
    }
}

/// Sizes together, where one of them changes.
fn judge_sizes(sizes: &Sizes, memory: &TableMemory, words: Words, verdict: &mut Verdict) {
    let Some(buckets) = sizes.buckets.filter(|buckets| *buckets > 0) else { return };
    // Without a limit, and where it is not known, the hash table is memory all the same.
    let max = sizes.max.unwrap_or(0);
    let grows =
        sizes.max_now.is_none_or(|now| max > now && now > 0) || sizes.buckets_now.is_none_or(|now| buckets > now);
    let needed = memory.bytes_of_table(max, buckets);
    if let Some(most) = memory.most_bytes().filter(|most| grows && needed > *most) {
        let reason = format!(
            "a full table needs {} ({max} entries of {} bytes, measured: {}; {buckets} buckets), more than half of the \
             memory ({} of {})",
            Bytes(needed),
            memory.bytes_per_entry(),
            memory.source.name(),
            Bytes(most),
            Bytes(memory.total.unwrap_or(0)),
        );
        verdict.refuse(words.beyond_memory, "--beyond-memory", reason);
    } else if let Some(available) = memory.available.filter(|available| grows && needed > *available) {
        let available = Bytes(available);
        verdict.notes.push(format!("a full table needs {}, and {available} are available now", Bytes(needed)));
    }
    if max == 0 {
        return;
    }
    let is_changed = sizes.max != sizes.max_now || sizes.buckets != sizes.buckets_now;
    let chain = chain_length(max, buckets);
    if is_changed && chain > LONGEST_CHAIN {
        let reason = format!(
            "{max} entries in {buckets} buckets make chains of {chain}: each packet searches one, and the kernel refuses \
             entries whose chains reach 50"
        );
        verdict.refuse(words.long_chains, "--long-chains", reason);
    } else if is_changed && chain > LONG_CHAIN {
        verdict.notes.push(format!(
            "chains of {chain} in a full table: each packet searches one; with --buckets {max} they have 2"
        ));
    }
}

/// The shortest timeout that is no mistake: where a shorter one ends flows that live.
fn shortest(timer: Timer) -> u64 {
    match timer {
        Timer::TcpEstablished => 60,
        Timer::SctpEstablished | Timer::GreStream | Timer::UdpStream | Timer::Generic | Timer::DccpOpen => 10,
        Timer::TcpUnacknowledged | Timer::TcpMaxRetrans => 10,
        _ => 1,
    }
}

fn judge_timeout(timer: Timer, seconds: u64, words: Words, verdict: &mut Verdict) {
    let (name, shown) = (timer.name(), Seconds(seconds));
    if seconds == 0 {
        return verdict
            .refuse_always(format!("{name} 0: entries would end at once, and nothing of that kind would work"));
    }
    if seconds < shortest(timer) {
        let reason = format!("{name} {shown}: flows that live would lose their entries between two packets");
        verdict.refuse(words.any_timeout, "--any-timeout", reason);
    } else if seconds > LONGEST_TIMEOUT {
        let reason = format!("{name} {shown}: entries of dead flows would stay for longer than ten days");
        verdict.refuse(words.any_timeout, "--any-timeout", reason);
    } else if timer == Timer::TcpEstablished && seconds < RFC_ESTABLISHED {
        verdict.notes.push(format!(
            "{name} {shown}: a TCP connection that is silent for longer loses its entry, and behind NAT its connection \
             (RFC 5382 has 2h4m; Linux's keepalives begin after 2h)"
        ));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn memory() -> TableMemory {
        TableMemory { available: Some(200 << 20), ..TableMemory::made_up(1 << 30) }
    }

    fn sizes(max: u64, buckets: u64) -> Sizes {
        Sizes {
            max_now: Some(65_536),
            max: Some(max),
            buckets_now: Some(65_536),
            buckets: Some(buckets),
            entries: Some(40_000),
        }
    }

    fn refused(values: &[(Setting, u64)], sizes: &Sizes, words: Words) -> Vec<(Option<&'static str>, String)> {
        let verdict = judge(values, sizes, &memory(), words);
        verdict.refusals.into_iter().map(|refusal| (refusal.word, refusal.reason)).collect()
    }

    fn words_of(values: &[(Setting, u64)], sizes: &Sizes) -> Vec<Option<&'static str>> {
        refused(values, sizes, Words::default()).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn a_maximum_beyond_the_memory_is_refused_with_the_bytes_that_were_measured() {
        let values = [(Setting::Max, 2_000_000)];
        let found = refused(&values, &sizes(2_000_000, 1_048_576), Words::default());
        assert_eq!(found.len(), 1);
        assert!(found[0].0 == Some("--beyond-memory") && found[0].1.contains("384 bytes"), "{found:?}");
        let words = Words { beyond_memory: true, ..Words::default() };
        assert_eq!(refused(&values, &sizes(2_000_000, 1_048_576), words), []);
        assert_eq!(words_of(&[(Setting::Max, 1_000_000)], &sizes(1_000_000, 524_288)), []);
    }

    #[test]
    fn a_hash_table_beyond_the_memory_is_refused_also_where_there_is_no_maximum() {
        for max in [Some(0), None] {
            let sizes = Sizes { max, max_now: max, ..sizes(0, 500_000_000) };
            assert_eq!(words_of(&[(Setting::Buckets, 500_000_000)], &sizes), [Some("--beyond-memory")], "{max:?}");
        }
    }

    #[test]
    fn a_table_that_is_too_large_already_may_be_made_smaller() {
        let smaller = Sizes { max_now: Some(9_000_000), buckets_now: Some(524_288), ..sizes(8_000_000, 524_288) };
        assert_eq!(words_of(&[(Setting::Max, 8_000_000)], &smaller), []);
    }

    #[test]
    fn a_maximum_below_the_count_and_no_maximum_need_their_words() {
        assert_eq!(words_of(&[(Setting::Max, 30_000)], &sizes(30_000, 65_536)), [Some("--below-count")]);
        assert_eq!(words_of(&[(Setting::Max, 40_000)], &sizes(40_000, 65_536)), []);
        assert_eq!(words_of(&[(Setting::Max, 0)], &sizes(0, 65_536)), [Some("--unlimited")]);
        let words = Words { below_count: true, unlimited: true, ..Words::default() };
        assert_eq!(refused(&[(Setting::Max, 30_000), (Setting::Max, 0)], &sizes(30_000, 65_536), words), []);
    }

    #[test]
    fn no_buckets_no_expectations_and_no_timeout_have_no_word() {
        let values = [(Setting::Buckets, 0), (Setting::ExpectMax, 0), (Setting::Timeout(Timer::Udp), 0)];
        assert_eq!(words_of(&values, &sizes(65_536, 65_536)), [None, None, None]);
    }

    #[test]
    fn long_chains_are_refused_and_longer_ones_than_usual_noted() {
        assert_eq!(words_of(&[(Setting::Buckets, 1024)], &sizes(65_536, 1024)), [Some("--long-chains")]);
        let verdict = judge(&[(Setting::Buckets, 8192)], &sizes(65_536, 8192), &memory(), Words::default());
        assert!(verdict.refusals.is_empty() && verdict.notes[0].contains("chains of 16"), "{verdict:?}");
        // What is so already is not refused where something else is changed.
        let unchanged = Sizes { max_now: Some(65_536), buckets_now: Some(1024), ..sizes(65_536, 1024) };
        assert_eq!(words_of(&[(Setting::Acct, 1)], &unchanged), []);
    }

    #[test]
    fn absurd_timeouts_need_a_word_and_short_ones_of_tcp_a_note() {
        let established = Setting::Timeout(Timer::TcpEstablished);
        let same = sizes(65_536, 65_536);
        for seconds in [59, 864_001] {
            assert_eq!(words_of(&[(established, seconds)], &same), [Some("--any-timeout")], "{seconds}");
        }
        let verdict = judge(&[(established, 3600)], &same, &memory(), Words::default());
        assert!(verdict.refusals.is_empty() && verdict.notes[0].contains("RFC 5382"), "{verdict:?}");
        assert_eq!(judge(&[(established, 86_400)], &same, &memory(), Words::default()), Verdict::default());
    }
}
