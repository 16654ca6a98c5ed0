//! Rust sources as tokens, and the paths that they import.

use std::collections::HashMap;

/// The tokens of a source, without comments and string literals.
pub struct Code(Vec<String>);

impl Code {
    pub fn of(source: &str) -> Self {
        let bytes: Vec<char> = source.chars().collect();
        let mut words = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match rest {
                ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
                ['/', '*', ..] => block_comment(rest),
                ['r', '"' | '#', ..] if raw_string(rest) > 0 => raw_string(rest),
                ['"', ..] => quoted(rest, '"'),
                ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(rest, '\''),
                [':', ':', ..] => {
                    words.push("::".into());
                    2
                }
                [c, ..] if c.is_alphanumeric() || *c == '_' => {
                    let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                    let length = word.chars().count();
                    words.push(word);
                    length
                }
                [c, ..] => {
                    if !c.is_whitespace() {
                        words.push(c.to_string());
                    }
                    1
                }
                [] => 1,
            };
        }
        Code(words)
    }

    /// The top-level modules that the file at `path` imports from.
    pub fn imports(&self, path: &[&str]) -> Vec<String> {
        let mut modules = Vec::new();
        for (place, word) in self.0.iter().enumerate() {
            let starts = place == 0 || self.0[place - 1] != "::";
            if !starts || self.0.get(place + 1).is_none_or(|next| next != "::") {
                continue;
            }
            match word.as_str() {
                "crate" => modules.extend(self.heads(place + 2)),
                "super" => modules.extend(self.above(place, path)),
                _ => {}
            }
        }
        modules
    }

    /// The modules that `super::super::…` at `place` leads to, where it leaves the top-level module.
    fn above(&self, place: usize, path: &[&str]) -> Vec<String> {
        let mut levels = 0;
        let mut at = place;
        while self.0.get(at).is_some_and(|word| word == "super") {
            levels += 1;
            at += 2;
        }
        // An inline `mod tests` is one level deeper, so one `super` stays within the file.
        let inline = self.depth_of_inline_modules(place);
        if levels >= path.len() + inline { self.heads(at) } else { Vec::new() }
    }

    /// The number of `mod x { … }` that are open at `place`.
    fn depth_of_inline_modules(&self, place: usize) -> usize {
        let (mut braces, mut open) = (0, Vec::new());
        for at in 0..place {
            match self.0[at].as_str() {
                "{" => {
                    if at >= 2 && self.0[at - 2] == "mod" {
                        open.push(braces);
                    }
                    braces += 1;
                }
                "}" => {
                    braces -= 1;
                    if open.last() == Some(&braces) {
                        open.pop();
                    }
                }
                _ => {}
            }
        }
        open.len()
    }

    /// The first segment of the path, or of each path in `{ … }`, at `place`.
    fn heads(&self, place: usize) -> Vec<String> {
        if self.0.get(place).is_none_or(|word| word != "{") {
            return self.0.get(place).cloned().into_iter().collect();
        }
        let (mut depth, mut heads) = (0, Vec::new());
        for (at, word) in self.0.iter().enumerate().skip(place) {
            match word.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ if depth == 1 && matches!(self.0[at - 1].as_str(), "{" | ",") => heads.push(word.clone()),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }

    /// The modules of the crate `name` that are named in a path.
    pub fn modules_of(&self, name: &str) -> Vec<&str> {
        let paths = self.0.windows(3).filter(|words| words[0] == name && words[1] == "::");
        paths.map(|words| words[2].as_str()).collect()
    }

    /// Whether the words of `path` follow each other in a path.
    pub fn has_path(&self, path: [&str; 2]) -> bool {
        self.0.windows(3).any(|words| words[0] == path[0] && words[1] == "::" && words[2] == path[1])
    }

    /// Whether a path begins with this crate.
    pub fn names_crate(&self, name: &str) -> bool {
        self.0.iter().enumerate().any(|(place, word)| {
            let before = place.checked_sub(1).map_or("", |before| &self.0[before]);
            let after = self.0.get(place + 1).map_or("", String::as_str);
            word == name && before != "::" && (after == "::" || before == "use")
        })
    }

    /// The files of `folder` that this file imports from, which is in it or in a folder `depth` levels below:
    /// through `super::` or the folder's own path, by module or by an item that the folder's `mod.rs`
    /// re-exports. `items` has the module of each of these items.
    pub fn siblings(
        &self,
        folder: &[&str],
        depth: usize,
        items: &HashMap<String, String>,
        modules: &[String],
    ) -> Vec<String> {
        let mut found = Vec::new();
        for place in 0..self.0.len() {
            let Some(at) = self.end_of_prefix(place, folder, depth) else { continue };
            for head in self.heads(at) {
                let module = if modules.contains(&head) { Some(&head) } else { items.get(&head) };
                found.extend(module.cloned());
            }
        }
        found
    }

    /// The place after `super::` (from a file `depth` levels below `folder`) or after `crate::folder::`, where
    /// one of both begins at `place`.
    fn end_of_prefix(&self, place: usize, folder: &[&str], depth: usize) -> Option<usize> {
        if place > 0 && self.0[place - 1] == "::" {
            return None;
        }
        let path: Vec<&str> = ["crate"].iter().chain(folder).copied().collect();
        if self.0[place] == "super" && self.0.get(place + 1).is_some_and(|next| next == "::") {
            let above = self.depth_of_inline_modules(place) + depth;
            let supers = (0..=above).all(|level| self.0.get(place + 2 * level).is_some_and(|word| word == "super"));
            return supers.then_some(place + 2 * (above + 1));
        }
        let matches = path.iter().enumerate().all(|(nth, segment)| {
            self.0.get(place + 2 * nth).is_some_and(|word| word == segment)
                && self.0.get(place + 2 * nth + 1).is_some_and(|next| next == "::")
        });
        matches.then_some(place + 2 * path.len())
    }

    /// The items that a `mod.rs` imports from its own files: the name and the module of each.
    pub fn reexports(&self, modules: &[String]) -> HashMap<String, String> {
        let mut items = HashMap::new();
        for (place, word) in self.0.iter().enumerate() {
            let starts = place > 0 && matches!(self.0[place - 1].as_str(), "use" | "self");
            let after_self = place > 1 && self.0[place - 2] == "self" && self.0[place - 1] == "::";
            if !(starts || after_self) || !modules.contains(word) || self.0.get(place + 1).is_none_or(|n| n != "::") {
                continue;
            }
            for name in self.heads(place + 2) {
                items.insert(name, word.clone());
            }
        }
        items
    }

    /// This source without what is compiled for tests alone: everything from its `mod tests` on.
    pub fn without_tests(mut self) -> Self {
        let tests = self.0.windows(4).position(|words| words == ["test", ")", "]", "mod"]);
        let allowed = self.0.windows(2).position(|words| words == ["mod", "tests"]);
        if let Some(end) = tests.into_iter().chain(allowed).min() {
            self.0.truncate(end);
        }
        self
    }
}

fn block_comment(rest: &[char]) -> usize {
    let end = rest.windows(2).position(|pair| pair == ['*', '/']);
    end.map_or(rest.len(), |end| end + 2)
}

/// Length of `r"…"` or `r#"…"#`; 0 for something else (`r#type`).
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &rest[hashes + 2..];
    body.windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| at + 2 * hashes + 3)
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}
