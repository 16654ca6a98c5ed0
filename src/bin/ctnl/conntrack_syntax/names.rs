//! Lists of names: `-u`, `-e`, `-o`, and the table of a command. A name may be cut short.

use ctnl::model::Status;

use super::error::SyntaxError;
use super::request::{EventMask, OutputOptions, StatusArgument, Table};

/// The hardware offload bit (`IPS_HW_OFFLOAD`) has no name in [`Status`].
const HW_OFFLOAD: Status = Status::from_bits_retain(1 << 15);

const STATUSES: [(&str, Status); 7] = [
    ("ASSURED", Status::Assured),
    ("SEEN_REPLY", Status::SeenReply),
    ("UNSET", Status::empty()),
    ("FIXED_TIMEOUT", Status::FixedTimeout),
    ("EXPECTED", Status::Expected),
    ("OFFLOAD", Status::Offload),
    ("HW_OFFLOAD", HW_OFFLOAD),
];

const UNREPLIED: &[u8] = b"UNREPLIED";

type OutputField = fn(&mut OutputOptions) -> &mut bool;

const OUTPUTS: [(&str, OutputField); 8] = [
    ("xml", |output| &mut output.xml),
    ("extended", |output| &mut output.extended),
    ("timestamp", |output| &mut output.timestamp),
    ("id", |output| &mut output.id),
    ("ktimestamp", |output| &mut output.ktimestamp),
    ("labels", |output| &mut output.labels),
    ("userspace", |output| &mut output.userspace),
    ("save", |output| &mut output.save),
];

const EVENTS: [(&str, EventMask); 4] = [
    ("ALL", EventMask { new: true, update: true, destroy: true }),
    ("NEW", EventMask { new: true, update: false, destroy: false }),
    ("UPDATES", EventMask { new: false, update: true, destroy: false }),
    ("DESTROY", EventMask { new: false, update: false, destroy: true }),
];

const TABLES: [(&str, Table); 4] = [
    ("expect", Table::Expect),
    ("conntrack", Table::Conntrack),
    ("dying", Table::Dying),
    ("unconfirmed", Table::Unconfirmed),
];

/// Former names of `-u`, which every list ignores with a warning: the name and the option in its place.
const IGNORED: [(&str, &str); 2] = [("SRC_NAT", "--src-nat"), ("DST_NAT", "--dst-nat")];

/// What an item of a list stands for.
enum Item<T> {
    Is(T),
    Ignored(String),
}

/// The first row whose name begins with `item`, without regard to case.
fn lookup<T: Copy>(item: &[u8], rows: &[(&str, T)]) -> Option<Item<T>> {
    let begins = |name: &str| name.as_bytes().get(..item.len()).is_some_and(|start| start.eq_ignore_ascii_case(item));
    if item.is_empty() {
        return None;
    }
    if let Some((name, option)) = IGNORED.iter().find(|(name, _)| begins(name)) {
        return Some(Item::Ignored(format!("ignoring {name}: use {option}")));
    }
    rows.iter().find(|(name, _)| begins(name)).map(|(_, value)| Item::Is(*value))
}

/// The items of a list, in order.
fn each<T: Copy>(
    option: &str,
    list: &[u8],
    rows: &[(&str, T)],
    warnings: &mut Vec<String>,
    mut found: impl FnMut(T),
) -> Result<(), SyntaxError> {
    for item in list.split(|byte| *byte == b',') {
        match lookup(item, rows).ok_or_else(|| bad_item(option, item, rows))? {
            Item::Is(value) => found(value),
            Item::Ignored(warning) => warnings.push(warning),
        }
    }
    Ok(())
}

fn bad_item<T>(option: &str, item: &[u8], rows: &[(&str, T)]) -> SyntaxError {
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let item = String::from_utf8_lossy(item);
    SyntaxError::usage(format!("invalid name '{item}' in --{option}: expected {}", names.join(", ")))
}

/// `-e`, added to the events of an earlier one.
pub fn events(list: &[u8], mask: &mut EventMask, warnings: &mut Vec<String>) -> Result<(), SyntaxError> {
    each("event-mask", list, &EVENTS, warnings, |events| {
        mask.new |= events.new;
        mask.update |= events.update;
        mask.destroy |= events.destroy;
    })
}

/// `-o`, added to an earlier one.
pub fn outputs(list: &[u8], output: &mut OutputOptions, warnings: &mut Vec<String>) -> Result<(), SyntaxError> {
    each("output", list, &OUTPUTS, warnings, |field| *field(output) = true)?;
    let beside_save =
        output.xml || output.extended || output.timestamp || output.id || output.ktimestamp || output.labels;
    if output.save && beside_save {
        return Err(SyntaxError::failed("--output save goes with no other output"));
    }
    Ok(())
}

/// `-u`, added to an earlier one.
pub fn statuses(list: &[u8], status: &mut StatusArgument, warnings: &mut Vec<String>) -> Result<(), SyntaxError> {
    for item in list.split(|byte| *byte == b',') {
        let (negated, name) = item.strip_prefix(b"!").map_or((false, item), |name| (true, name));
        if !negated && name.starts_with(UNREPLIED) {
            if name != UNREPLIED {
                return Err(SyntaxError { is_stricter: true, ..bad_item("status", item, &STATUSES) });
            }
            status.unset |= Status::SeenReply;
            continue;
        }
        match lookup(name, &STATUSES).ok_or_else(|| bad_item("status", item, &STATUSES))? {
            Item::Is(bit) if negated => status.unset |= bit,
            Item::Is(bit) => status.set |= bit,
            Item::Ignored(warning) => warnings.push(warning),
        }
    }
    Ok(())
}

/// The table that `name` begins. conntrack(8) takes an empty name for `expect`.
pub fn table(name: &[u8]) -> Result<Table, SyntaxError> {
    let shown = String::from_utf8_lossy(name);
    let message = format!("unknown table '{shown}': expected conntrack, expect, dying or unconfirmed");
    if name.is_empty() {
        return Err(SyntaxError::stricter(message));
    }
    let found = TABLES.iter().find(|(table, _)| table.as_bytes().starts_with(name));
    found.map(|(_, table)| *table).ok_or_else(|| SyntaxError::usage(message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn status(list: &str) -> Result<(Status, Status, usize), bool> {
        let (mut status, mut warnings) = (StatusArgument { set: Status::empty(), unset: Status::empty() }, Vec::new());
        let result = statuses(list.as_bytes(), &mut status, &mut warnings);
        result.map(|()| (status.set, status.unset, warnings.len())).map_err(|error| error.is_stricter)
    }

    #[test]
    fn a_status_is_set_or_with_an_exclamation_mark_unset() {
        let none = Status::empty();
        assert_eq!(status("ASSURED"), Ok((Status::Assured, none, 0)));
        assert_eq!(status("assu,!seen"), Ok((Status::Assured, Status::SeenReply, 0)));
        assert_eq!(status("UNREPLIED,EXPECTED"), Ok((Status::Expected, Status::SeenReply, 0)));
        assert_eq!(status("HW_OFFLOAD"), Ok((HW_OFFLOAD, none, 0)));
        assert_eq!(status("UN"), Ok((none, none, 0)));
        assert_eq!(status("SRC_NAT,d"), Ok((none, none, 2)));
    }

    #[test]
    fn a_name_that_is_no_status_is_refused() {
        for list in ["", ",", "ASSURED,", "!", "!,ASSURED", "!!ASSURED", "unreplied", "!UNREPLIED", "ASSUREDX"] {
            assert_eq!(status(list), Err(false), "{list}");
        }
        assert_eq!(status("UNREPLIEDX"), Err(true));
    }

    #[test]
    fn save_goes_with_no_other_output() {
        let read = |list: &str| {
            let mut output = OutputOptions::default();
            outputs(list.as_bytes(), &mut output, &mut Vec::new()).map(|()| output).map_err(|error| error.exit)
        };
        assert!(read("save,userspace").unwrap().save);
        assert!(read("XML,id").unwrap().id);
        assert!(!read("s").unwrap().save, "the beginning of SRC_NAT");
        assert_eq!(read("save,id"), Err(super::super::error::ErrorExit::Failed));
    }

    #[test]
    fn a_table_may_be_cut_short_and_not_be_empty() {
        assert_eq!(table(b"e").ok(), Some(Table::Expect));
        assert_eq!(table(b"dying").ok(), Some(Table::Dying));
        assert!(table(b"").is_err_and(|error| error.is_stricter));
        assert!(table(b"expects").is_err_and(|error| !error.is_stricter));
    }
}
