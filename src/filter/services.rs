//! Names of ports.

use std::collections::BTreeMap;

/// The names of ports, from the text of `/etc/services`.
#[derive(Debug, Clone, Default)]
pub struct ServiceNames {
    /// The ports of each name or alias, ascending. Nearly always one.
    ports: BTreeMap<Box<str>, Vec<u16>>,
}

impl ServiceNames {
    /// No names.
    pub(super) const NONE: ServiceNames = ServiceNames { ports: BTreeMap::new() };

    /// Names from a text in the form of `/etc/services`. Lines of another form are skipped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut ports: BTreeMap<Box<str>, Vec<u16>> = BTreeMap::new();
        for line in text.lines() {
            for_each_name(line, |name, port| {
                let known = ports.entry(name.into()).or_default();
                if let Err(place) = known.binary_search(&port) {
                    known.insert(place, port);
                }
            });
        }
        ServiceNames { ports }
    }

    /// The ports with this name or alias, of any protocol, ascending.
    #[must_use]
    pub fn ports(&self, name: &str) -> &[u16] {
        self.ports.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Calls `add` with each name in a line `NAME PORT/PROTOCOL ALIAS … # COMMENT`.
fn for_each_name(line: &str, mut add: impl FnMut(&str, u16)) {
    #[cfg(test)]
    tests::LINES_PARSED.with(|lines| lines.set(lines.get() + 1));
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    let (Some(name), Some(number)) = (words.next(), words.next()) else { return };
    let Some(port) = number.split_once('/').and_then(|(port, _)| port.parse().ok()) else { return };
    std::iter::once(name).chain(words).for_each(|name| add(name, port));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::filter::{Context, Filter};

    thread_local! {
        pub(super) static LINES_PARSED: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn names_and_aliases_are_found_and_comments_are_not() {
        let names =
            ServiceNames::parse("# tcp\nhttp\t80/tcp\twww # webcache\ndomain 53/tcp\ndomain 53/udp\nbad\nx y/z\n");
        assert_eq!(names.ports("http"), [80]);
        assert_eq!(names.ports("www"), [80]);
        assert_eq!(names.ports("domain"), [53]);
        assert!(names.ports("webcache").is_empty() && names.ports("bad").is_empty() && names.ports("x").is_empty());
    }

    #[test]
    fn each_line_is_parsed_once_for_any_number_of_lookups() {
        let text: String = (0..600).map(|number| format!("service-{number} {number}/tcp\n")).collect();
        LINES_PARSED.set(0);
        let services = ServiceNames::parse(&text);
        let file: String = (0..3000).map(|number| format!("{number} service-{}\n", number % 600)).collect();
        let read_file = |_: &str| Ok(file.clone().into_bytes());
        let context = Context { services: &services, read_file: &read_file, ..Context::default() };
        let filter = Filter::parse("dport @ports", &context).unwrap();
        assert_eq!((filter.to_string(), LINES_PARSED.get()), ("dport <= 2999".to_owned(), 600));
    }
}
