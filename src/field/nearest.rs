//! What somebody may have meant.

/// The candidate that differs least from `typed`, where that is little enough to
/// be a slip of the fingers.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Beyond this no word of ours is near, and the distance grows expensive.
    if typed.len() > 40 {
        return None;
    }
    let typed = typed.to_ascii_lowercase();
    let allowed = if typed.len() <= 3 { 1 } else { 2 };
    let measured = candidates.into_iter().map(|candidate| (distance(&typed, candidate), candidate));
    measured.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, from) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&row, j) + 1).min(at(&last, j + 1) + 1).min(at(&last, j) + usize::from(from != *to));
            if j > 0 && previous == Some(*to) && b.get(j - 1) == Some(&from) {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
        previous = Some(from);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let words = ["dport", "sport", "src"];
        assert_eq!(nearest("dprot", words), Some("dport"));
        assert_eq!(nearest("sorc", words), Some("src"));
        assert_eq!(nearest("tcp", words), None);
        assert_eq!(nearest(&"x".repeat(1000), words), None);
    }

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!((distance("abc", "abc"), distance("", "abc"), distance("acb", "abc")), (0, 3, 1));
    }
}
