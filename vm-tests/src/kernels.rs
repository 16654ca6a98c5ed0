//! The matrix file `KERNELS`.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// A line of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What it is called here: `6.12`.
    pub name: String,
    /// Debian's suite.
    pub suite: String,
    /// The package that depends on the newest kernel of the suite.
    pub package: String,
}

/// Reads the matrix.
pub fn read(path: &Path) -> Result<Vec<Kernel>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Kernel>> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| kernel(line).with_context(|| format!("line {number}: '{line}'"))).collect()
}

fn kernel(line: &str) -> Result<Kernel> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Ok([name, suite, package]) = <[String; 3]>::try_from(words) else {
        bail!("expected: NAME SUITE PACKAGE");
    };
    Ok(Kernel { name, suite, package })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_skipped() {
        let kernels = parse("# the matrix\n\n6.1  bookworm\tlinux-image-amd64\n").unwrap_or_default();
        let [kernel] = kernels.as_slice() else { unreachable!("{kernels:?}") };
        assert_eq!((&*kernel.name, &*kernel.suite, &*kernel.package), ("6.1", "bookworm", "linux-image-amd64"));
    }

    #[test]
    fn an_incomplete_line_is_named_in_the_error() {
        let error = parse("a b c\n6.1 bookworm").map_err(|error| format!("{error:#}"));
        assert_eq!(error, Err("line 2: '6.1 bookworm': expected: NAME SUITE PACKAGE".into()));
    }
}
