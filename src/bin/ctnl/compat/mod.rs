//! conntrack(8)'s command line, 1.4.9, for scripts that have it: `ctnl conntrack …`, or any invocation as `conntrack`.
//!
//! `conntrack_syntax` parses it, apart from clap; the files here translate a request into what the commands of
//! ctnl are made of: its filter into that of ctnl (`criteria`), its entry into a flow (`entry`), its output into a
//! format (`output`). So the evaluator, the walk, the deletes with their recheck and the lines are those of
//! `list`, `flush` and `update`. Exit codes and the line on stderr are those of conntrack(8): `message`.
//! docs/compat.md lists the differences.

mod change;
mod create;
mod criteria;
mod entry;
mod events;
mod expectations;
mod labels;
mod load;
mod message;
mod output;
mod read;
mod usage;

use std::cell::LazyCell;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::Result;
use ctnl::host::Host;

use crate::conntrack_syntax::{self as syntax, Command, Invocation, Request, Table};
use crate::host::protocols::ProtocolNumbers;
use crate::term::exit::Exit;
use labels::Labels;

/// The name that scripts call.
const NAME: &str = "conntrack";

/// The arguments behind the name, if the process was called as `conntrack` or as `ctnl conntrack`; `ctnl help
/// conntrack` is `-h`.
pub fn arguments(all: &[OsString]) -> Option<Vec<OsString>> {
    let (program, rest) = all.split_first()?;
    if Path::new(program).file_name() == Some(OsStr::new(NAME)) {
        return Some(rest.to_vec());
    }
    match rest {
        [first, rest @ ..] if first == NAME => Some(rest.to_vec()),
        [first, second] if first == "help" && second == NAME => Some(vec!["-h".into()]),
        _ => None,
    }
}

/// Runs a command line and prints why it failed. The exit code is that of conntrack(8).
pub fn run(arguments: &[OsString], host: &Host) -> Exit {
    // Read only where `-p` has the name of a protocol without options of its own.
    let numbers = LazyCell::new(|| ProtocolNumbers::of(host));
    let names = |name: &[u8]| numbers.number(str::from_utf8(name).ok()?);
    let outcome = match syntax::parse(arguments, &names) {
        Ok(Invocation::LoadFile(path)) => load::run(&path, host),
        Ok(Invocation::Request(request)) => run_request(&request, host),
        Err(error) => return message::refuse(&error),
    };
    outcome.unwrap_or_else(|error| message::fail(&error))
}

fn run_request(request: &Request, host: &Host) -> Result<Exit> {
    message::warnings(request);
    match request.command {
        Command::None | Command::Help => usage::print(request),
        Command::Version => usage::print_version(),
        Command::List(Table::Expect) => expectations::list(request, host),
        Command::List(_) => read::list(request, host),
        Command::Get(Table::Expect) => expectations::get(request),
        Command::Get(_) => read::get(request, host),
        Command::Count(Table::Expect) => expectations::count(request),
        Command::Count(_) => read::count(),
        Command::Stats(Table::Expect) => expectations::stats(),
        Command::Stats(_) => read::stats(),
        Command::Create(Table::Expect) => expectations::create(request),
        Command::Create(_) | Command::Add => create::run(request, host),
        Command::Update => change::update(request, host),
        Command::Delete(Table::Expect) => expectations::delete(request),
        Command::Delete(_) => change::delete(request, host),
        Command::Flush(Table::Expect) => expectations::flush(request),
        Command::Flush(_) => change::flush(request, host),
        Command::Event(Table::Expect) => events::expectations(request, host),
        Command::Event(_) => events::flows(request, host),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_or_the_first_argument_chooses_the_command_line() {
        let behind = |words: &[&str]| {
            let all: Vec<OsString> = words.iter().map(OsString::from).collect();
            arguments(&all)
        };
        assert_eq!(behind(&["/usr/sbin/conntrack", "-L"]).unwrap(), ["-L"]);
        assert_eq!(behind(&["ctnl", "conntrack", "-L", "-o", "xml"]).unwrap(), ["-L", "-o", "xml"]);
        assert_eq!(behind(&["conntrack"]).unwrap(), Vec::<OsString>::new());
        assert_eq!(behind(&["ctnl", "help", "conntrack"]).unwrap(), ["-h"]);
        for other in [&["ctnl", "list", "conntrack"][..], &["ctnl"], &["conntrackd", "-C"], &[]] {
            assert_eq!(behind(other), None, "{other:?}");
        }
    }
}
