//! Escapes text that did not come from this program (names of helpers and labels, security contexts) for
//! each format.

/// Appends `text` with control characters as `\xNN`: they could control the terminal or break the line. A
/// backslash is not escaped.
pub(super) fn for_terminal(out: &mut Vec<u8>, text: &str) {
    append(out, text, |out, character| match character {
        c if c.is_control() => {
            let mut utf8 = [0; 4];
            c.encode_utf8(&mut utf8).bytes().for_each(|byte| {
                out.extend_from_slice(b"\\x");
                hex(out, byte);
            });
            true
        }
        _ => false,
    });
}

/// Appends `text` as a JSON string, with its quotes.
pub(super) fn json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    append(out, text, |out, character| {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            // All control characters are below U+0100.
            c if c.is_control() => {
                out.extend_from_slice(b"\\u00");
                hex(out, u32::from(c) as u8);
            }
            _ => return false,
        }
        true
    });
    out.push(b'"');
}

/// Appends `text` as the content of an XML element. XML 1.0 cannot represent most control characters, so
/// they become `?`.
pub(super) fn xml_text(out: &mut Vec<u8>, text: &str) {
    append(out, text, |out, character| {
        match character {
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '&' => out.extend_from_slice(b"&amp;"),
            '\u{fffe}' | '\u{ffff}' => out.push(b'?'),
            c if c.is_control() => out.push(b'?'),
            _ => return false,
        }
        true
    });
}

/// Appends one cell of CSV, quoted if RFC 4180 requires it.
pub(super) fn csv_cell(out: &mut Vec<u8>, text: &[u8]) {
    if !text.iter().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for byte in text {
        out.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
    }
    out.push(b'"');
}

/// Copies `text`, except for characters for which `replace` returns true after writing their replacement.
fn append(out: &mut Vec<u8>, text: &str, mut replace: impl FnMut(&mut Vec<u8>, char) -> bool) {
    let mut utf8 = [0; 4];
    for character in text.chars() {
        if !replace(out, character) {
            out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        }
    }
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    out.extend([byte >> 4, byte & 0xf].map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(escape: fn(&mut Vec<u8>, &str), text: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped(for_terminal, "a\x1b[2Jé\u{9b}\n"), "a\\x1b[2Jé\\xc2\\x9b\\x0a");
        assert_eq!(escaped(json_string, "\x1b\"\\\u{9b}"), r#""\u001b\"\\\u009b""#);
        assert_eq!(escaped(xml_text, "<a&\x1b>"), "&lt;a&amp;?&gt;");
    }

    #[test]
    fn a_cell_with_a_comma_or_a_quote_is_quoted() {
        let cell = |text: &str| escaped(|out, text| csv_cell(out, text.as_bytes()), text);
        assert_eq!(cell("plain; text"), "plain; text");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_from_json_unchanged(text: String) {
            let read: String = serde_json::from_str(&escaped(json_string, &text)).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
