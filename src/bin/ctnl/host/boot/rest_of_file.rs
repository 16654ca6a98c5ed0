//! What else a file has that does not count: a command that makes the file count makes all of it count.

use super::file_line::FileLine;
use super::tree::Tree;

/// Lines that are kept.
const MOST: usize = 10;
/// Characters of a line that are kept.
const MOST_CHARACTERS: usize = 100;
/// The folders whose files have `.conf` at the end of their names, each with those that stand in for one another.
const FAMILIES: [&str; 2] = ["/sysctl.d/", "/modprobe.d/"];

/// The rest of a file beside the lines that set something of conntrack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestOfFile {
    /// The first of the other lines; no comments.
    pub lines: Vec<FileLine>,
    /// How many there are.
    pub count: usize,
    /// The file that would be replaced, or would not be read any more, if `.conf` were appended to the name.
    pub hides: Option<String>,
}

impl RestOfFile {
    /// That of `file` beside the lines with the numbers `known`, where these do nothing else.
    pub fn of(tree: &Tree<'_>, file: &str, known: &[usize]) -> Self {
        let text = tree.text(file).unwrap_or_default();
        let is_known = |text: &str, number: usize| known.contains(&number) && does_one_thing(text);
        let others = text.lines().zip(1..).filter(|(text, number)| is_content(text) && !is_known(text, *number));
        let mut rest = RestOfFile { hides: hidden(tree, file), ..RestOfFile::default() };
        for (text, line) in others {
            rest.count += 1;
            if rest.lines.len() < MOST {
                rest.lines.push(FileLine {
                    file: file.to_owned(),
                    line,
                    what: text.trim().chars().take(MOST_CHARACTERS).collect(),
                });
            }
        }
        rest
    }
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with(['#', ';'])
}

/// Whether a line cannot be more than one assignment: it may be of a script, with other commands behind the first one.
fn does_one_thing(line: &str) -> bool {
    !line.contains([';', '&', '|', '`', '(', '{']) && line.matches('=').count() <= 1
}

/// A file of the name that the file would get, in its folder or in one for which that stands in.
fn hidden(tree: &Tree<'_>, file: &str) -> Option<String> {
    let (folder, name) = file.rsplit_once('/')?;
    let family = FAMILIES.iter().find(|family| format!("{folder}/").ends_with(**family));
    let parents = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];
    let folders = family.into_iter().flat_map(|family| parents.map(|parent| format!("{parent}{family}")));
    folders.chain([format!("{folder}/")]).map(|folder| format!("{folder}{name}.conf")).find(|path| tree.exists(path))
}
