//! Columns: fields selected by name, and their values as bytes.

use std::io::Write as _;
use std::net::IpAddr;

use thiserror::Error;

use super::address;
use super::cursor::{Line, Scratch};
use super::escape;
use super::write::WriteEntries;
use crate::field::{Field, SecondsRange, Subject, Value, field};

/// The name of a column that is not a field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown column '{0}'")]
pub struct UnknownColumn(pub String);

/// The fields that are written, in order.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    fields: Vec<&'static Field>,
}

impl Columns {
    /// The fields of these names or aliases.
    ///
    /// # Errors
    /// The first name that is not in the registry of fields.
    pub(super) fn resolve<S: AsRef<str>>(names: &[S]) -> Result<Self, UnknownColumn> {
        let find = |name: &S| {
            field(name.as_ref()).filter(|field| field.column).ok_or_else(|| UnknownColumn(name.as_ref().to_owned()))
        };
        Ok(Columns { fields: names.iter().map(find).collect::<Result<_, _>>()? })
    }

    pub(super) fn fields(&self) -> &[&'static Field] {
        &self.fields
    }
}

impl From<Vec<&'static Field>> for Columns {
    fn from(fields: Vec<&'static Field>) -> Self {
        Columns { fields }
    }
}

/// Appends a value as text, with addresses as [`address::append_address`] writes them.
pub(super) fn append_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Address(address) => address::append_address(out, *address),
        Value::Addresses(addresses) => {
            for (i, address) in addresses.iter().enumerate() {
                out.extend_from_slice(if i == 0 { b"" } else { b"," });
                address::append_address(out, address);
            }
        }
        // Appending to a Vec cannot fail.
        value => drop(write!(out, "{value}")),
    }
}

/// Writes columns as one flat JSON object per line: numbers as numbers, several values as an array, bounds
/// as an object, the rest as strings. A value that the entry does not have has no key; an unknown value is
/// null.
#[derive(Debug, Clone)]
pub(super) struct JsonColumnsWriter {
    columns: Columns,
    keys: Vec<Vec<u8>>,
    scratch: Scratch,
    cell: Vec<u8>,
}

impl JsonColumnsWriter {
    pub(super) fn new(columns: Columns) -> Self {
        let key = |field: &&Field| {
            let mut key = vec![b','];
            escape::json_string(&mut key, field.name);
            key.push(b':');
            key
        };
        let keys = columns.fields.iter().map(key).collect();
        JsonColumnsWriter { columns, keys, scratch: Scratch::new(), cell: Vec::new() }
    }
}

impl WriteEntries for JsonColumnsWriter {
    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        let start = out.len();
        for (field, key) in self.columns.fields.iter().zip(&self.keys) {
            let value = (field.value)(subject);
            if value != Value::Absent {
                out.extend_from_slice(key);
                append_json(out, &value, &mut self.scratch, &mut self.cell);
            }
        }
        // The brace replaces the comma before the first key.
        match out.get_mut(start) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
        out.extend_from_slice(b"}\n");
    }
}

fn append_json(out: &mut Vec<u8>, value: &Value<'_>, scratch: &mut Scratch, cell: &mut Vec<u8>) {
    let mut line = scratch.cursor();
    match value {
        Value::Undecided(_) => line.put(b"null"),
        Value::Number(number) => line.decimal64(*number),
        Value::Seconds(bounds) => put_bounds(&mut line, bounds),
        Value::Address(address) => put_quoted(&mut line, *address),
        Value::Addresses(addresses) => put_list(&mut line, addresses.iter(), put_quoted),
        Value::Numbers(numbers) => put_list(&mut line, numbers.as_slice().iter().copied(), Line::port),
        Value::Labels(labels) => put_list(&mut line, labels.numbers().map(u16::from), Line::port),
        value => {
            cell.clear();
            append_value(cell, value);
            return escape::json_string(out, &String::from_utf8_lossy(cell));
        }
    }
    line.flush(out);
}

/// Appends bounds, in the same form as `idle` in the object without columns.
fn put_bounds(line: &mut Line<'_>, bounds: &SecondsRange) {
    line.put(b"{\"at_least\":");
    line.decimal(bounds.at_least);
    match bounds.at_most {
        Some(at_most) => {
            line.put(b",\"at_most\":");
            line.decimal(at_most);
        }
        None => {
            line.put(b",\"unknown\":\"");
            line.text(bounds.why.name().as_bytes());
            line.put(b"\"");
        }
    }
    line.put(b"}");
}

fn put_list<'a, T>(line: &mut Line<'a>, items: impl Iterator<Item = T>, put: impl Fn(&mut Line<'a>, T)) {
    line.put(b"[");
    let mut any = false;
    for item in items {
        put(line, item);
        line.put(b",");
        any = true;
    }
    if any {
        line.trim_space();
    }
    line.put(b"]");
}

fn put_quoted(line: &mut Line<'_>, address: IpAddr) {
    line.put(b"\"");
    line.address(&address);
    line.put(b"\"");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn an_unknown_column_is_named() {
        let error = Columns::resolve(&["src", "sorce"]).unwrap_err();
        assert_eq!(error.to_string(), "unknown column 'sorce'");
    }

    #[test]
    fn columns_become_a_flat_object() {
        let mut writer = JsonColumnsWriter::new(Columns::from(sample::columns()));
        let mut out = Vec::new();
        sample::each(|subject| writer.entry(&mut out, subject));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"src\":\"10.0.0.1\",\"sport\":1234,\"helper\":\"f\\\"t,p\\u001b\",\"age\":null}\n\
             {\"src\":\"2001:db8::1\",\"age\":null}\n"
        );
    }
}
