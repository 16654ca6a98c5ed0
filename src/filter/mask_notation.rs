//! The notation of nft(8) and C for single bits, `mark & 0xff == 0xc9`, which is `mark 0xc9/0xff` here.

use crate::field::{ValueKind, field};

/// The term for the first such comparison in `text`, with `&` or with nft's `and`.
pub(super) fn as_term(text: &str) -> Option<String> {
    let words = words(text);
    words.windows(5).find_map(|window| {
        let [name, and, mask, op, value] = window else { return None };
        let field = field(&name.to_ascii_lowercase()).filter(|field| field.kind == ValueKind::Masked)?;
        let not = match *op {
            "=" | "==" => "",
            "!=" => "not ",
            _ => return None,
        };
        let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let is_masked = matches!(*and, "&" | "and") && is_number(mask) && is_number(value);
        is_masked.then(|| format!("{not}{} {value}/{mask}", field.name))
    })
}

/// Words and signs, without blanks and parentheses.
fn words(text: &str) -> Vec<&str> {
    let is_sign = |c: char| matches!(c, '&' | '=' | '!');
    let is_skipped = |c: char| c.is_whitespace() || matches!(c, '(' | ')');
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_skipped);
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_skipped(c) || is_sign(c) != is_sign(first)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        words.push(word);
        rest = behind.trim_start_matches(is_skipped);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::as_term;

    #[test]
    fn a_comparison_of_single_bits_is_recognised_in_each_notation() {
        for text in [
            "mark & 0xff == 0xc9",
            "tcp and mark & 0xff = 0xc9 and assured",
            "(mark & 0xff) == 0xc9",
            "mark&0xff==0xc9",
            "ct mark and 0xff == 0xc9",
        ] {
            assert_eq!(as_term(text).as_deref(), Some("mark 0xc9/0xff"), "{text}");
        }
        assert_eq!(as_term("mark & 1 != 1").as_deref(), Some("not mark 1/1"));
        for text in ["tcp & udp", "mark & 0xff", "mark && 1 == 1", "dport & 1 == 1", "mark & x == 1", "", "&"] {
            assert_eq!(as_term(text), None, "{text}");
        }
    }
}
