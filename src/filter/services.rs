//! Names of ports.

/// The names of ports, from the text of `/etc/services`.
#[derive(Debug, Clone, Default)]
pub struct ServiceNames {
    text: Box<str>,
}

impl ServiceNames {
    /// Names from a text in the form of `/etc/services`. Lines that are not
    /// understood name nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        ServiceNames { text: text.into() }
    }

    /// The ports that have this name or alias, in whichever protocol. Nearly
    /// always one.
    #[must_use]
    pub fn ports(&self, name: &str) -> Vec<u16> {
        let mut ports: Vec<u16> = self.text.lines().filter_map(|line| port_of(line, name)).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// `name port/protocol alias … # comment`
fn port_of(line: &str, name: &str) -> Option<u16> {
    let mut words = line.split('#').next()?.split_ascii_whitespace();
    let (first, number) = (words.next()?, words.next()?);
    let named = first == name || words.any(|alias| alias == name);
    if !named {
        return None;
    }
    number.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_found_and_comments_are_not() {
        let names =
            ServiceNames::parse("# tcp\nhttp\t80/tcp\twww # webcache\ndomain 53/tcp\ndomain 53/udp\nbad\nx y/z\n");
        assert_eq!(names.ports("http"), [80]);
        assert_eq!(names.ports("www"), [80]);
        assert_eq!(names.ports("domain"), [53]);
        assert!(names.ports("webcache").is_empty() && names.ports("bad").is_empty() && names.ports("x").is_empty());
    }
}
