//! The numbers of protocols by name, from /etc/protocols.

use ctnl::host::Host;
use ctnl::model::protocol_from_name;

use super::files;

/// Names and numbers of the host; without the file, those that ctnl knows.
#[derive(Debug)]
pub struct ProtocolNumbers(Option<String>);

impl ProtocolNumbers {
    /// Those of `host`.
    pub fn of(host: &Host) -> Self {
        ProtocolNumbers(files::protocols(host))
    }

    /// The number of the protocol with this name or alias. As with getprotobyname(3), case counts.
    pub fn number(&self, name: &str) -> Option<u8> {
        let Some(text) = &self.0 else { return protocol_from_name(name).map(u8::from) };
        text.lines().find_map(|line| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (first, number) = (words.next()?, words.next()?);
            (first == name || words.any(|alias| alias == name)).then(|| number.parse().ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_has_a_name_and_aliases_and_comments_are_left_out() {
        let known = ProtocolNumbers(Some("# tcp 7 x\nigmp\t2\tIGMP # group management\nbad\nodd 300 odd\n".to_owned()));
        let number = |name| known.number(name);
        assert_eq!([number("igmp"), number("IGMP"), number("Igmp"), number("group")], [Some(2), Some(2), None, None]);
        assert_eq!([number("tcp"), number("odd"), number("bad"), number("")], [None; 4]);
        assert_eq!(ProtocolNumbers(None).number("tcp"), Some(6));
    }
}
