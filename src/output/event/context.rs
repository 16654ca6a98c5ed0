//! What every line of a stream has in common.

use jiff::tz::TimeZone;

use crate::output::escape;

/// What stands on every line of a stream: in json and csv, the time also in the text of conntrack(8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineContext {
    /// The name of the stream, which identifies a line together with its sequence number. Lines of a
    /// writer without one have no name.
    pub stream: String,
    /// The name of the host, if it is known.
    pub host: Option<String>,
    /// Fields of the operator, in their order.
    pub fields: Vec<(String, String)>,
    /// Some: each line has its time as RFC 3339 in this zone, too.
    pub zone: Option<TimeZone>,
}

impl LineContext {
    /// The beginning of a JSON line, up to the sequence number. If the stream has a name, the number
    /// is written twice: first as the end of `line_id`.
    pub(super) fn json_beginning(&self) -> Vec<u8> {
        let mut text = b"{\"v\":1".to_vec();
        for (key, value) in [(&b",\"host\":"[..], self.host.as_deref()), (b",\"stream\":", self.stream())] {
            if let Some(value) = value {
                text.extend_from_slice(key);
                escape::json_string(&mut text, value);
            }
        }
        if let Some(stream) = self.stream() {
            text.extend_from_slice(b",\"line_id\":");
            escape::json_string(&mut text, stream);
            // The number follows inside the string.
            text.pop();
            text.push(b'-');
        } else {
            text.extend_from_slice(SEQ);
        }
        text
    }

    /// The end of a JSON line.
    pub(super) fn json_end(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (index, (key, value)) in self.fields.iter().enumerate() {
            text.extend_from_slice(if index == 0 { b",\"fields\":{" } else { b"," });
            escape::json_string(&mut text, key);
            text.push(b':');
            escape::json_string(&mut text, value);
        }
        text.extend_from_slice(if self.fields.is_empty() { b"}\n" } else { b"}}\n" });
        text
    }

    /// The names of the columns of csv, each followed by a comma.
    pub(super) fn csv_columns(&self) -> Vec<u8> {
        let mut names = b"stream,host,".to_vec();
        for (key, _) in &self.fields {
            csv_text(&mut names, &format!("fields.{key}"));
        }
        if self.zone.is_some() {
            names.extend_from_slice(b"time,");
        }
        names
    }

    /// The cells of these columns but the time, each followed by a comma.
    pub(super) fn csv_cells(&self) -> Vec<u8> {
        let mut cells = Vec::new();
        csv_text(&mut cells, &self.stream);
        csv_text(&mut cells, self.host.as_deref().unwrap_or_default());
        self.fields.iter().for_each(|(_, value)| csv_text(&mut cells, value));
        cells
    }

    /// The name of the stream, if it has one.
    pub(super) fn stream(&self) -> Option<&str> {
        Some(&*self.stream).filter(|stream| !stream.is_empty())
    }
}

/// The key of the sequence number in JSON.
pub(super) const SEQ: &[u8; 7] = b",\"seq\":";

/// Appends a cell of text and a comma. Control characters are escaped: they would break the line.
pub(super) fn csv_text(out: &mut Vec<u8>, text: &str) {
    if text.contains(char::is_control) {
        let mut escaped = Vec::new();
        escape::for_terminal(&mut escaped, text);
        escape::csv_cell(out, &escaped);
    } else {
        escape::csv_cell(out, text.as_bytes());
    }
    out.push(b',');
}
