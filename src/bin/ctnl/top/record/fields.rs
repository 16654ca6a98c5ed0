//! The fields of flows, as bytes: the number of fields, and of each its name, and for each flow 0, or the length of its text + 1
//! and the text. The values of a field stand behind each other, since they are alike: so they are deflated better.

use super::super::model::Row;
use super::bytes::{Reader, put_number, put_text};

/// Fields of a flow, at most. More are damage, so that a file does not take memory without bounds: each has its name.
const MOST_FIELDS: u64 = 128;
/// Bytes of a name, at most.
const LONGEST_NAME: u64 = 64;

/// Appends the fields of `rows`.
pub fn put_fields(bytes: &mut Vec<u8>, rows: &[Row]) {
    let names = names(rows);
    put_number(bytes, names.len() as u64);
    for name in names {
        put_text(bytes, name);
        for row in rows {
            match row.fields.iter().find(|(other, _)| other == name) {
                None => bytes.push(0),
                Some((_, text)) => {
                    put_number(bytes, text.len() as u64 + 1);
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

/// The names of all fields, in an order that is that of each row.
fn names(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        let mut next = 0;
        for (name, _) in &row.fields {
            match names.iter().position(|other| other == name) {
                Some(place) => next = place + 1,
                None => {
                    names.insert(next.min(names.len()), name);
                    next += 1;
                }
            }
        }
    }
    names
}

/// Reads the fields of `rows`.
pub fn read_fields(reader: &mut Reader<'_>, rows: &mut [Row]) -> Option<()> {
    let count = reader.number().filter(|count| *count <= MOST_FIELDS)?;
    // There is one part of them.
    if rows.iter().any(|row| !row.fields.is_empty()) {
        return None;
    }
    for _ in 0..count {
        let length = reader.number().filter(|length| *length <= LONGEST_NAME)?;
        let name = reader.text_of(length)?;
        for row in &mut *rows {
            if let Some(length) = reader.number()?.checked_sub(1) {
                row.fields.push((name.clone(), reader.text_of(length)?));
            }
        }
    }
    Some(())
}
