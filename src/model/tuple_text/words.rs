//! The words of a text.

use std::ops::Range;

/// A word and its bytes in the text.
pub(super) struct Word<'a> {
    pub text: &'a str,
    pub span: Range<usize>,
}

pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let starts = text.split_whitespace().map(|word| {
        // A word is a part of `text`.
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        Word { text: word, span: start..start + word.len() }
    });
    starts.collect()
}

/// Whether a word looks like the state of TCP, SCTP or DCCP.
pub(super) fn is_state(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'2'))
}
