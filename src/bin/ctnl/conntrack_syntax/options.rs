//! The options of every command line, and which command takes which.

use std::sync::LazyLock;

use super::error::SyntaxError;
use super::getopt::{LongOption, Value};
use super::request::{Command, Table};

/// How a command takes an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Refused,
    Required,
    Optional,
    /// One of a pair: two options of one direction or the other are needed.
    EitherPair,
}

/// The commands that take an option, by their letters in [`letter_of`]; others refuse it.
#[derive(Debug, Clone, Copy)]
pub struct TakenBy {
    pub optional: &'static str,
    pub required: &'static str,
    pub either_pair: &'static str,
}

impl TakenBy {
    pub fn command(&self, command: Command) -> Use {
        let letter = letter_of(command);
        match () {
            () if self.required.contains(letter) => Use::Required,
            () if self.optional.contains(letter) => Use::Optional,
            () if self.either_pair.contains(letter) => Use::EitherPair,
            () => Use::Refused,
        }
    }
}

/// The letter of a command in the tables: of `-L` and the like, a small one for expectations.
fn letter_of(command: Command) -> char {
    let (letter, table) = match command {
        Command::None => ('-', Table::Conntrack),
        Command::List(table) => ('L', table),
        Command::Create(table) => ('I', table),
        Command::Add => ('A', Table::Conntrack),
        Command::Update => ('U', Table::Conntrack),
        Command::Delete(table) => ('D', table),
        Command::Get(table) => ('G', table),
        Command::Flush(table) => ('F', table),
        Command::Event(table) => ('E', table),
        Command::Count(table) => ('C', table),
        Command::Stats(table) => ('S', table),
        Command::Version => ('V', Table::Conntrack),
        Command::Help => ('H', Table::Conntrack),
    };
    if table == Table::Expect { letter.to_ascii_lowercase() } else { letter }
}

/// An option. Its first name is that of messages.
#[derive(Debug)]
pub struct OptionRow {
    pub letter: u8,
    names: &'static [&'static str],
    value: Value,
    taken_by: TakenBy,
}

const fn row(
    letter: u8,
    names: &'static [&'static str],
    value: Value,
    (optional, required, either_pair): (&'static str, &'static str, &'static str),
) -> OptionRow {
    OptionRow { letter, names, value, taken_by: TakenBy { optional, required, either_pair } }
}

use Value::{None as NoValue, Optional, Required};

/// Options that are not commands.
const OPTIONS: &[OptionRow] = &[
    row(b's', &["src", "orig-src"], Required, ("LUDE", "idg", "IAG")),
    row(b'd', &["dst", "orig-dst"], Required, ("LUDE", "idg", "IAG")),
    row(b'r', &["reply-src"], Required, ("LUDEidg", "", "IAG")),
    row(b'q', &["reply-dst"], Required, ("LUDEidg", "", "IAG")),
    row(b'p', &["protonum"], Required, ("LUDEH", "IAGidg", "")),
    row(b't', &["timeout"], Required, ("UD", "IAi", "")),
    row(b'u', &["status"], Required, ("LIUDAi", "", "")),
    row(b'z', &["zero"], NoValue, ("L", "", "")),
    row(b'e', &["event-mask"], Required, ("E", "", "")),
    row(b'[', &["tuple-src"], Required, ("", "i", "")),
    row(b']', &["tuple-dst"], Required, ("", "i", "")),
    row(b'{', &["mask-src"], Required, ("LUDE", "i", "")),
    row(b'}', &["mask-dst"], Required, ("LUDE", "i", "")),
    row(b'm', &["mark"], Required, ("LIUDEA", "", "")),
    row(b'i', &["id"], Required, ("UDG", "", "")),
    row(b'f', &["family"], Required, ("LUDFEl", "", "")),
    row(b'n', &["src-nat"], Optional, ("LIUDEA", "", "")),
    row(b'g', &["dst-nat"], Optional, ("LIUDEA", "", "")),
    row(b'o', &["output"], Required, ("LUDGEle", "", "")),
    row(b'c', &["secmark"], Required, ("LE", "", "")),
    row(b'b', &["buffer-size"], Required, ("E", "", "")),
    row(b'j', &["any-nat"], Optional, ("LE", "", "")),
    row(b'w', &["zone"], Required, ("LIDEA", "", "")),
    row(b'l', &["label"], Required, ("LUDGE", "", "")),
    row(b'<', &["label-add"], Required, ("IUA", "", "")),
    row(b'>', &["label-del"], Optional, ("U", "", "")),
    row(b'(', &["orig-zone"], Required, ("LIDEA", "", "")),
    row(b')', &["reply-zone"], Required, ("LIDEA", "", "")),
    row(b'M', &["labelmap"], Required, ("LUDE", "", "")),
];

/// `-a`: of old scripts; every command ignores it.
const NAT_RANGE: OptionRow = row(b'a', &["nat-range"], Required, ("", "", ""));

/// The commands. As letters they have no attached value, `-C` apart.
const COMMANDS: &[(u8, &str, Value, Value)] = &[
    (b'L', "dump", NoValue, Optional),
    (b'I', "create", NoValue, Optional),
    (b'A', "add", NoValue, Optional),
    (b'D', "delete", NoValue, Optional),
    (b'U', "update", NoValue, Optional),
    (b'G', "get", NoValue, Optional),
    (b'F', "flush", NoValue, Optional),
    (b'E', "event", NoValue, Optional),
    (b'C', "counter", Optional, Optional),
    (b'S', "stats", NoValue, NoValue),
    (b'V', "version", NoValue, NoValue),
    (b'h', "help", NoValue, NoValue),
];

/// Long options of a protocol, roughly.
const MOST_OF_A_PROTOCOL: usize = 32;

/// Whether the short option has a value; `None` where there is no such option.
pub fn short(letter: u8) -> Option<Value> {
    let command = COMMANDS.iter().find(|command| command.0 == letter).map(|command| command.2);
    let options = || OPTIONS.iter().chain([&NAT_RANGE]).find(|option| option.letter == letter).map(|row| row.value);
    command.or_else(options)
}

/// The long options, without those of protocols, and room for these. A file of `-R` has a million lines, and each of
/// them needs the list.
pub fn long() -> Vec<LongOption> {
    static LONG: LazyLock<Vec<LongOption>> = LazyLock::new(|| {
        let commands =
            COMMANDS.iter().map(|&(letter, name, _, value)| LongOption { name, value, code: u16::from(letter) });
        let options = OPTIONS.iter().chain([&NAT_RANGE]).flat_map(|row| {
            row.names.iter().map(|name| LongOption { name, value: row.value, code: u16::from(row.letter) })
        });
        commands.chain(options).collect()
    });
    let mut long = Vec::with_capacity(LONG.len() + MOST_OF_A_PROTOCOL);
    long.extend_from_slice(&LONG);
    long
}

/// The long name of a letter, for messages.
pub fn name(letter: u8) -> &'static str {
    let options = OPTIONS.iter().chain([&NAT_RANGE]);
    let command = || COMMANDS.iter().find(|command| command.0 == letter).map(|command| command.1);
    let names = options.filter(|row| row.letter == letter).find_map(|row| row.names.first().copied());
    names.or_else(command).unwrap_or_default()
}

/// Options that were given, with the commands that take them.
pub struct Usage<'a> {
    pub name: &'a str,
    pub given: bool,
    pub taken_by: TakenBy,
}

/// Refuses options that the command does not take, and its absence where it needs one.
pub fn check(command: Command, options: impl IntoIterator<Item = Usage<'static>>) -> Result<(), SyntaxError> {
    for option in options {
        match option.taken_by.command(command) {
            Use::Required if !option.given => {
                return Err(SyntaxError::usage(format!("this command needs --{}", option.name)));
            }
            Use::Refused if option.given => {
                return Err(SyntaxError::usage(format!("this command does not take --{}", option.name)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The options that are not of a protocol. `given` has their letters.
pub fn usages(given: &[u8]) -> impl Iterator<Item = Usage<'static>> {
    OPTIONS.iter().map(|row| Usage {
        name: row.names.first().copied().unwrap_or_default(),
        given: given.contains(&row.letter),
        taken_by: row.taken_by,
    })
}

/// Whether the command needs source and destination of one direction.
pub fn needs_addresses(command: Command) -> bool {
    OPTIONS.iter().any(|row| row.taken_by.command(command) == Use::EitherPair)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_and_no_name_stands_for_two_options() {
        let long = long();
        for (at, option) in long.iter().enumerate() {
            assert!(!long[at + 1..].iter().any(|other| other.name == option.name), "{}", option.name);
        }
        let letters = OPTIONS.iter().map(|row| row.letter).chain(COMMANDS.iter().map(|command| command.0));
        let mut letters: Vec<u8> = letters.collect();
        letters.sort_unstable();
        assert!(letters.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
