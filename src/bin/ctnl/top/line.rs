//! A line that is edited: a filter.

use super::complete::{common_prefix, complete};
use super::keys::Key;

/// Most characters of a filter that is typed.
const LONGEST: usize = 4096;

/// The line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    text: String,
    /// Characters before the cursor.
    cursor: usize,
    /// What the word before the cursor may become.
    pub candidates: Vec<String>,
    /// Why the text is not a filter, with the caret.
    pub error: Option<String>,
}

impl Line {
    /// A line with `text`, and the cursor at its end.
    pub fn new(text: &str) -> Self {
        Line { text: text.to_owned(), cursor: text.chars().count(), ..Line::default() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Characters before the cursor.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Edits the text; false for a key that does not.
    pub fn press(&mut self, key: Key, known: &[(&str, String)]) -> bool {
        let length = self.text.chars().count();
        match key {
            Key::Char(c) if !c.is_control() && length < LONGEST => {
                self.text.insert(self.byte(self.cursor), c);
                self.cursor += 1;
            }
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.byte(self.cursor));
            }
            Key::Delete if self.cursor < length => drop(self.text.remove(self.byte(self.cursor))),
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(length),
            Key::Home | Key::Ctrl('a') => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = length,
            Key::Ctrl('u') => {
                self.text.drain(..self.byte(self.cursor));
                self.cursor = 0;
            }
            Key::Tab => {
                self.complete(known);
                return true;
            }
            Key::Backspace | Key::Delete => {}
            _ => return false,
        }
        (self.candidates, self.error) = (Vec::new(), None);
        true
    }

    fn byte(&self, character: usize) -> usize {
        self.text.char_indices().nth(character).map_or(self.text.len(), |(at, _)| at)
    }

    fn complete(&mut self, known: &[(&str, String)]) {
        let end = self.byte(self.cursor);
        let completion = complete(self.text.get(..end).unwrap_or_default(), known);
        let replacement = match &completion.candidates[..] {
            [] => return,
            [only] => format!("{only} "),
            several => common_prefix(several),
        };
        let typed = self.text.get(completion.start..end).map_or(0, |word| word.chars().count());
        if replacement.chars().count() >= typed {
            self.text.replace_range(completion.start..end, &replacement);
            self.cursor = self.cursor - typed + replacement.chars().count();
        }
        self.candidates = if completion.candidates.len() > 1 { completion.candidates } else { Vec::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &mut Line, text: &str) {
        for c in text.chars() {
            line.press(Key::Char(c), &[]);
        }
    }

    #[test]
    fn characters_are_inserted_and_removed_at_the_cursor() {
        let mut line = Line::new("tcö");
        line.press(Key::Left, &[]);
        typed(&mut line, "p ");
        line.press(Key::Delete, &[]);
        assert_eq!((line.text(), line.cursor()), ("tcp ", 4));
        for key in [Key::Right, Key::Delete, Key::Backspace, Key::Home, Key::Backspace, Key::End] {
            assert!(line.press(key, &[]));
        }
        assert_eq!((line.text(), line.cursor()), ("tcp", 3));
        line.press(Key::Ctrl('u'), &[]);
        assert_eq!(line, Line::new(""));
        assert!(!line.press(Key::Enter, &[]) && !line.press(Key::Escape, &[]));
    }

    #[test]
    fn one_candidate_is_inserted_and_several_as_far_as_they_agree() {
        let mut line = Line::new("dpor 53");
        for _ in 0..3 {
            line.press(Key::Left, &[]);
        }
        line.press(Key::Tab, &[]);
        assert_eq!((line.text(), line.cursor()), ("dport  53", 6));
        let mut line = Line::new("state syn");
        line.press(Key::Tab, &[]);
        assert_eq!(line.text(), "state syn_");
        assert!(line.candidates.contains(&"syn_recv".to_owned()), "{line:?}");
        typed(&mut line, "r");
        assert!(line.candidates.is_empty());
        line.press(Key::Tab, &[]);
        assert_eq!(line.text(), "state syn_recv ");
    }

    #[test]
    fn an_error_stays_until_the_text_is_edited() {
        let mut line = Line::new("dprot 53");
        line.error = Some("unknown field".to_owned());
        assert!(!line.press(Key::Up, &[]) && line.error.is_some());
        typed(&mut line, " ");
        assert_eq!(line.error, None);
    }
}
