//! apt's sources for another suite, made of those that the machine has: the same
//! the same keys, another suite.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// One place packages come from, as a `.sources` paragraph writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uris: String,
    suites: String,
    components: String,
    signed_by: Option<String>,
    /// Whether the machine takes it without a valid signature.
    is_trusted: bool,
}

impl Source {
    /// Whether it may have other releases of Debian: it has one, with kernels.
    fn has_debian(&self) -> bool {
        self.suites.split_whitespace().any(is_release) && self.components.split_whitespace().any(|word| word == "main")
    }

    /// Mirrors call it so. Others have suites of Debian's names too, and not all of them.
    fn is_called_debian(&self) -> bool {
        self.uris.split_whitespace().all(|uri| uri.trim_end_matches('/').ends_with("/debian"))
    }
}

/// A `.sources` file for `suite`, from the machine's own sources below `etc` (`/etc/apt`).
pub fn derived(etc: &Path, suite: &str) -> Result<String> {
    let found: Vec<Source> = files(etc).iter().flat_map(|(path, text)| read(path, text)).collect();
    let mut main: Vec<Source> = found.into_iter().filter(Source::has_debian).collect();
    if main.iter().any(Source::is_called_debian) {
        main.retain(Source::is_called_debian);
    }
    main.dedup_by(|a, b| a.uris == b.uris);
    if main.is_empty() {
        bail!("no source of a Debian release in {} (sources.list, sources.list.d)", etc.display());
    }
    Ok(main.iter().map(|source| paragraph(source, suite)).collect::<Vec<_>>().join("\n"))
}

fn paragraph(source: &Source, suite: &str) -> String {
    let signed_by = source.signed_by.as_ref().map(|keys| format!("Signed-By: {keys}\n")).unwrap_or_default();
    let trusted = if source.is_trusted { "Trusted: yes\n" } else { "" };
    format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n{signed_by}{trusted}", source.uris)
}

/// A suite that is a release itself, not its updates.
fn is_release(suite: &str) -> bool {
    const RELEASES: [&str; 10] =
        ["bullseye", "bookworm", "trixie", "forky", "duke", "sid", "stable", "oldstable", "testing", "unstable"];
    RELEASES.contains(&suite)
}

fn files(etc: &Path) -> Vec<(PathBuf, String)> {
    let parts = fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = parts.collect();
    paths.sort();
    paths.insert(0, etc.join("sources.list"));
    paths.into_iter().filter_map(|path| fs::read_to_string(&path).ok().map(|text| (path, text))).collect()
}

fn read(path: &Path, text: &str) -> Vec<Source> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("sources") => text.split("\n\n").filter_map(read_paragraph).collect(),
        Some("list") => text.lines().filter_map(read_line).collect(),
        _ => Vec::new(),
    }
}

/// A paragraph of the newer form. Keys may be written out in continuation lines.
fn read_paragraph(text: &str) -> Option<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            *value = format!("{value}\n{line}");
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    let is_off = field("enabled").is_some_and(|value| matches!(&*value, "no" | "false" | "0"));
    let is_binary = field("types").is_some_and(|types| types.split_whitespace().any(|word| word == "deb"));
    if is_off || !is_binary {
        return None;
    }
    Some(Source {
        uris: field("uris")?,
        suites: field("suites")?,
        components: field("components").unwrap_or_default(),
        signed_by: field("signed-by"),
        is_trusted: field("trusted").is_some_and(|value| value == "yes"),
    })
}

/// A line of the older form: `deb [signed-by=…] URI SUITE COMPONENT…`.
fn read_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let keys = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uris: words.next()?.to_owned(),
        suites: words.next()?.to_owned(),
        components: words.collect::<Vec<_>>().join(" "),
        is_trusted: options.split_whitespace().any(|option| option == "trusted=yes"),
        signed_by: keys.map(|keys| keys.replace(',', " ")),
    })
}
