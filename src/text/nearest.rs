//! Suggestions for misspelled names.

use strsim::osa_distance;

/// Bytes of the longest word for which there are suggestions.
const LONGEST: usize = 40;

/// The candidate with the least edits (insert, delete, replace, swap of neighbours) from
/// `typed`, in any case of letters: at most 2, and 1 for a word of up to 3 bytes.
#[must_use]
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic in the length.
    if typed.len() > LONGEST {
        return None;
    }
    let typed = typed.to_ascii_lowercase();
    let allowed = if typed.len() <= 3 { 1 } else { 2 };
    let distances = candidates.into_iter().map(|candidate| (osa_distance(&typed, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_recognised_and_another_word_is_not() {
        let words = ["dport", "sport", "src"];
        assert_eq!(nearest("dprot", words), Some("dport"));
        assert_eq!(nearest("DPROT", words), Some("dport"));
        assert_eq!(nearest("sorc", words), Some("src"));
        assert_eq!(nearest("tcp", words), None);
        assert_eq!(nearest(&"x".repeat(1000), words), None);
    }

    #[test]
    fn a_short_word_has_at_most_one_edit() {
        assert_eq!(nearest("dst", ["src", "dsp"]), Some("dsp"));
        assert_eq!(nearest("abc", ["src"]), None);
    }
}
