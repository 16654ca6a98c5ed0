//! Names of connection labels (`connlabel.conf`).

/// Names of label numbers.
#[doc(alias = "nfct_labelmap")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelNames {
    /// In the order of the file, without repeated numbers and names.
    rows: Vec<(u16, Box<str>)>,
}

/// `libnetfilter_conntrack` accepts numbers below this, although the kernel has 128 labels: the
/// name of a higher number is in use, too, and cannot be given to another one.
const NUMBERS: u64 = 1024;

impl LabelNames {
    /// Parses the text of a `connlabel.conf`: a number (decimal, `0x` or octal) and a name on
    /// each line.
    ///
    /// Lines that conntrack(8) ignores are ignored: comments, repeated numbers and names, names
    /// with characters other than ASCII letters, digits, spaces and `-`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names = LabelNames::default();
        for (number, name) in text.lines().filter_map(parse_line) {
            if names.rows.iter().all(|(n, known)| *n != number && **known != *name) {
                names.rows.push((number, name.into()));
            }
        }
        names
    }

    /// The name of a label.
    #[must_use]
    pub fn name(&self, number: u8) -> Option<&str> {
        self.rows.iter().find(|(n, _)| *n == u16::from(number)).map(|(_, name)| &**name)
    }

    /// The number of the label with this name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u8> {
        let row = self.rows.iter().find(|(_, known)| **known == *name)?;
        u8::try_from(row.0).ok().filter(|number| *number < 128)
    }

    /// All names, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &str)> {
        let rows = self.rows.iter().filter(|(number, _)| *number < 128);
        rows.filter_map(|(number, name)| Some((u8::try_from(*number).ok()?, &**name)))
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn parse_line(line: &str) -> Option<(u16, &str)> {
    if line.starts_with('#') {
        return None;
    }
    let (number, rest) = parse_number(line.trim_start())?;
    let name = rest.trim();
    let is_valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ' || byte == b'-');
    (!name.is_empty() && is_valid && number < NUMBERS).then(|| Some((u16::try_from(number).ok()?, name)))?
}

/// A number as parsed by C's `strtoul` with base 0, and the rest of the text.
fn parse_number(text: &str) -> Option<(u64, &str)> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (radix, digits) = match hex.filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit())) {
        Some(rest) => (16, rest),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at_checked(end)?;
    u64::from_str_radix(number, radix).ok().map(|number| (number, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_parsed_like_by_libnetfilter_conntrack() {
        // What its version 1.0.9 printed for an entry with these labels set.
        let names = LabelNames::parse(
            "#c\n0 zero\n1 one\n77 x-y\n0x10 hex\n010 oct\n3 bad_name\n4\tone\n127 last word  \n200 far\n6\n",
        );
        let all: Vec<_> = names.iter().collect();
        assert_eq!(all, [(0, "zero"), (1, "one"), (77, "x-y"), (16, "hex"), (8, "oct"), (127, "last word")]);
    }

    #[test]
    fn a_name_is_found_by_number_and_a_number_by_name() {
        let names = LabelNames::parse("5 voip\n200 far\n");
        assert_eq!(names.name(5), Some("voip"));
        assert_eq!(names.number("voip"), Some(5));
        assert_eq!(names.number("far"), None);
        assert_eq!(names.name(6), None);
    }

    #[test]
    fn malformed_lines_are_ignored() {
        assert!(LabelNames::parse("-1 a\n99999999999999999999999 b\n\n  \nx 5\n5 é\n1024 c\n").is_empty());
    }
}
