//! Completion of a filter: fields, keywords, and the values of a field.

use ctnl::field::{FIELDS, Field, Tracker, ValueKind, field, keywords};

/// The word that ends at the cursor, and what it may become.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// Bytes before the word.
    pub start: usize,
    /// What it may become, sorted.
    pub candidates: Vec<String>,
}

const OPERATORS: [&str; 3] = ["and", "not", "or"];

/// Completes the word that ends `before`, the text up to the cursor. `known` are values of fields, of what is shown.
pub fn complete(before: &str, known: &[(&str, String)]) -> Completion {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '{' | '}' | ',' | '<' | '>' | '=' | '!');
    let start = before.rfind(is_end).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = before.get(start..).unwrap_or_default();
    let is_prefix = |candidate: &String| {
        candidate.len() > word.len() && candidate.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    let mut candidates: Vec<String> = match field_before(before.get(..start).unwrap_or_default()) {
        Some(field) => values(field, known),
        None => words(),
    };
    candidates.retain(is_prefix);
    candidates.sort_unstable();
    candidates.dedup();
    Completion { start, candidates }
}

/// The field whose value stands behind `text`.
fn field_before(text: &str) -> Option<&'static Field> {
    let list = text.trim_end();
    // Behind a comma stands another value of the same field.
    let is_separator = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '{' | '}' | '<' | '>' | '=' | '!');
    if let Some(values) = list.strip_suffix(',') {
        let before_values = values.rfind(is_separator)?;
        return field_before(values.get(..=before_values)?);
    }
    let word = list.trim_end_matches(['<', '>', '=', '!', '{']).trim_end();
    field(&word.rsplit(is_separator).next()?.to_ascii_lowercase())
}

fn words() -> Vec<String> {
    let fields = FIELDS.iter().map(|field| field.name);
    let keywords = keywords().map(|keyword| keyword.name);
    fields.chain(keywords).chain(OPERATORS).map(str::to_owned).collect()
}

fn values(field: &Field, known: &[(&str, String)]) -> Vec<String> {
    let mut values: Vec<String> =
        keywords().filter(|keyword| keyword.field == field.id).map(|keyword| keyword.name.to_owned()).collect();
    match field.kind {
        ValueKind::State => {
            let states = |tracker: Tracker| (0..=u8::MAX).filter_map(move |number| tracker.state_name(number));
            values.extend(Tracker::ALL.into_iter().flat_map(states).map(str::to_ascii_lowercase));
        }
        ValueKind::Nat => values.extend(["src", "dst", "any", "none"].map(str::to_owned)),
        _ => {}
    }
    values.extend(known.iter().filter(|(name, _)| *name == field.name).map(|(_, value)| value.clone()));
    values
}

/// The longest beginning that all of `candidates` have.
pub fn common_prefix(candidates: &[String]) -> String {
    let Some(first) = candidates.first() else { return String::new() };
    let shared = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let length = candidates.iter().map(|other| shared(first, other)).min().unwrap_or(0);
    first.chars().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(before: &str) -> Vec<String> {
        let known = [("src", "10.0.0.1".to_owned()), ("src", "10.0.0.20".to_owned()), ("dst", "10.9.9.9".to_owned())];
        complete(before, &known).candidates
    }

    #[test]
    fn fields_and_keywords_are_completed_at_the_start_of_a_term() {
        assert_eq!(candidates("dpo"), ["dport"]);
        assert_eq!(candidates("tcp and (dp"), ["dport"]);
        assert_eq!(candidates("unrep"), ["unreplied"]);
        assert!(candidates("").contains(&"state".to_owned()));
        assert_eq!(candidates("dport"), Vec::<String>::new(), "nothing is missing");
    }

    #[test]
    fn the_values_of_a_field_are_completed_behind_it() {
        assert_eq!(candidates("state est"), ["established"]);
        assert_eq!(candidates("tcp and state ESTAB"), ["established"]);
        assert_eq!(candidates("state time_wait,est"), ["established"]);
        assert_eq!(candidates("proto = sct"), ["sctp"]);
        assert_eq!(candidates("src 10.0.0."), ["10.0.0.1", "10.0.0.20"]);
        assert_eq!(candidates("not dst {10."), ["10.9.9.9"]);
        assert_eq!(candidates("nat s"), ["src"]);
    }

    #[test]
    fn a_word_of_any_characters_is_completed_or_not_and_nothing_panics() {
        for text in ["ä", "tcp é", "→", "state \u{3000}e", ",", "=,", "(((", "state ,,"] {
            let completion = complete(text, &[]);
            assert!(text.is_char_boundary(completion.start), "{text}");
        }
    }

    #[test]
    fn what_all_candidates_have_in_common_is_inserted() {
        let all = ["10.0.0.1", "10.0.0.20"].map(str::to_owned);
        assert_eq!(common_prefix(&all), "10.0.0.");
        assert_eq!(common_prefix(&[]), "");
    }
}
