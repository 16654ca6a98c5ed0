//! Exit codes and usage errors.

use std::ops::Range;
use std::process::ExitCode;

use ctnl::text::underline;

/// The exit codes. 0 to 3 are the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, also when nothing matched.
    Done,
    /// 1: failed; nothing was changed.
    Failed,
    /// 2: usage error; nothing was changed.
    Usage,
    /// 3: partly done: interrupted, or some entries failed.
    Partly,
    /// 4: `ctnl doctor` found nothing worse than warnings.
    Warnings,
    /// 5: `ctnl doctor` found something critical.
    Critical,
    /// The exit code of the command that ran in the lab.
    Child(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partly => 3,
            Exit::Warnings => 4,
            Exit::Critical => 5,
            Exit::Child(code) => code,
        })
    }
}

/// A usage error, rendered with its caret and hint. Exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A usage error in the value of `flag`, with a caret under its bytes `at`: `text` is the error, `hint`
/// follows the caret.
pub fn usage_at(flag: &str, value: &str, at: Range<usize>, text: &str, hint: &str) -> anyhow::Error {
    usage(format!("{text}\n{}{hint}", underline(&format!("{flag} "), value, at)))
}

/// The byte range of the `nth` item (from 0) called `name` in a comma-separated list; the whole list if
/// there is none.
pub fn nth_item_span(list: &str, name: &str, nth: usize) -> Range<usize> {
    let mut start = 0;
    let items = list.split(',').map(|item| {
        let at = start..start + item.len();
        start = at.end + 1;
        (item.trim(), at)
    });
    items.filter(|(item, _)| *item == name).nth(nth).map_or(0..list.len(), |(_, at)| at)
}

/// A usage error without a caret.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_is_under_the_item_at_fault() {
        let value = "ä,src,dprot,src";
        let render = |name, nth| usage_at("--by", value, nth_item_span(value, name, nth), "wrong", "").to_string();
        assert_eq!(render("dprot", 0), "wrong\n  --by ä,src,dprot,src\n             ^^^^^");
        assert_eq!(render("src", 1), "wrong\n  --by ä,src,dprot,src\n                   ^^^");
        assert_eq!(render("no such", 0), "wrong\n  --by ä,src,dprot,src\n       ^^^^^^^^^^^^^^^");
    }
}
