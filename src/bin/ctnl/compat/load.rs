//! `-R`: run the lines of a file.
//!
//! All lines are parsed before the first one is run, so that a file with an error changes nothing; they are parsed
//! again when they are run, so that memory does not grow with the file. Consecutive creates are sent together.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, anyhow};
use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{BATCH, Outcome, create};

use super::create::Additions;
use super::{change, criteria, entry, message};
use crate::conntrack_syntax::{Command, ErrorExit, MAX_LINE, Request, SyntaxError, is_saved_line, parse_line};
use crate::host::protocols::ProtocolNumbers;
use crate::restore::unnamed;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;

/// Bytes of a pipe that are kept in memory. What is longer is kept in an unnamed file.
const IN_MEMORY: u64 = 4 << 20;
/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// Runs the lines of the file at `path`; `-` is standard input.
pub fn run(path: &OsStr, host: &Host) -> Result<Exit> {
    let mut lines = Lines { input: open(path)?, line: Vec::new(), number: 0, names: ProtocolNumbers::of(host) };
    while let Some(request) = lines.next(is_saved_line)? {
        request
            .and_then(|request| check(&request, host))
            .map_err(|error| lines.refused(&error, "nothing was changed"))?;
    }
    lines.start_over()?;
    // From here on, a signal has to wait for the end of a batch.
    let interrupt = Interrupt::listen()?;
    let mut creates = Creates::new(Connection::open(&Netns::Current)?, host);
    while let Some(request) = lines.next(|_| false)? {
        if interrupt.requested() {
            creates.send()?;
            return Err(anyhow!("interrupted before line {}", lines.number));
        }
        let request = request.map_err(|error| lines.refused(&error, "the file has changed since it was checked"))?;
        match request.command {
            Command::Create(_) | Command::Add => creates.add(&request, lines.number, host)?,
            _ => {
                creates.send()?;
                run_line(&request, &interrupt, host).with_context(|| format!("line {}", lines.number))?;
            }
        }
    }
    creates.send()?;
    Ok(Exit::Done)
}

/// Whether the line can be run, as far as it is known before the kernel is asked.
fn check(request: &Request, host: &Host) -> Result<()> {
    message::warnings(request);
    match request.command {
        Command::Create(_) | Command::Add => entry::flow(request, host).map(drop),
        Command::Update => criteria::filter(request, host).and(change::patch(request, host).map(drop)),
        _ => criteria::filter(request, host).map(drop),
    }
}

/// conntrack(8) does not count the entries of a file.
fn run_line(request: &Request, interrupt: &Interrupt, host: &Host) -> Result<()> {
    match request.command {
        Command::Update => change::update_matching(request, interrupt, host).map(drop),
        Command::Flush(_) => change::flush_table(request, interrupt, host),
        _ => change::delete_matching(request, interrupt, host).map(drop),
    }
}

/// The lines of a file, one in memory at a time.
struct Lines {
    input: Input,
    line: Vec<u8>,
    number: u64,
    names: ProtocolNumbers,
}

type Input = Box<dyn BufReadSeek>;

/// What can be read line by line, twice.
trait BufReadSeek: BufRead + Seek {}
impl<T: BufRead + Seek> BufReadSeek for T {}

impl Lines {
    /// The next line that is neither empty nor a comment, nor one that `skips`. `None` at the end of the file.
    fn next(&mut self, skips: impl Fn(&[u8]) -> bool) -> Result<Option<Result<Request>>> {
        loop {
            self.line.clear();
            self.number += 1;
            // A longer line is not read to its end.
            let mut input = (&mut self.input).take(MAX_LINE as u64 + 2);
            if input.read_until(b'\n', &mut self.line).context("read the file")? == 0 {
                return Ok(None);
            }
            if self.line.len() > MAX_LINE + 1 && !self.line.ends_with(b"\n") {
                return Ok(Some(Err(usage(format!("a line has more than {MAX_LINE} bytes")))));
            }
            if skips(&self.line) {
                continue;
            }
            let names = |name: &[u8]| self.names.number(str::from_utf8(name).ok()?);
            match parse_line(&self.line, &names) {
                Ok(None) => {}
                Ok(Some(request)) => return Ok(Some(Ok(request))),
                Err(error) => return Ok(Some(Err(error.into()))),
            }
        }
    }

    /// The error with the number of the line.
    fn refused(&self, error: &anyhow::Error, result: &str) -> anyhow::Error {
        let message = format!("line {}: {error:#}; {result}", self.number);
        match error.downcast_ref::<SyntaxError>() {
            Some(error) if error.exit == ErrorExit::Failed => anyhow!(message),
            _ => usage(message),
        }
    }

    fn start_over(&mut self) -> Result<()> {
        self.number = 0;
        self.input.rewind().context("read the file again")
    }
}

/// Opens a file, or keeps what a pipe contains: it is read twice.
fn open(path: &OsStr) -> Result<Input> {
    // Not /dev/stdin, which needs /proc.
    let opened = match path == "-" {
        true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        false => File::open(path),
    };
    let file = opened.map_err(|error| usage(format!("cannot open '{}': {error}", path.display())))?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file {
        // Standard input may have been read by others before.
        let mut reader = BufReader::with_capacity(READ, file);
        reader.rewind()?;
        return Ok(Box::new(reader));
    }
    keep(file)
}

fn keep(mut input: File) -> Result<Input> {
    let mut start = Vec::new();
    (&mut input).take(IN_MEMORY).read_to_end(&mut start).context("read the input")?;
    if (start.len() as u64) < IN_MEMORY {
        return Ok(Box::new(Cursor::new(start)));
    }
    let mut kept = unnamed(&std::env::temp_dir())?;
    kept.write_all(&start)?;
    io::copy(&mut input, &mut kept).context("read the input")?;
    kept.rewind()?;
    Ok(Box::new(BufReader::with_capacity(READ, kept)))
}

/// Entries to create, which are sent together.
struct Creates {
    connection: Connection,
    additions: Additions,
    flows: Vec<Flow>,
    command: Command,
    first_line: u64,
    last_line: u64,
}

impl Creates {
    fn new(connection: Connection, host: &Host) -> Self {
        let (flows, command) = (Vec::with_capacity(BATCH), Command::None);
        Creates { connection, additions: Additions::new(host), flows, command, first_line: 0, last_line: 0 }
    }

    fn add(&mut self, request: &Request, line: u64, host: &Host) -> Result<()> {
        if request.command != self.command || self.flows.len() >= BATCH {
            self.send()?;
        }
        if self.flows.is_empty() {
            (self.command, self.first_line) = (request.command, line);
        }
        self.flows.push(entry::flow(request, host)?);
        self.last_line = line;
        Ok(())
    }

    /// # Errors
    /// One of the entries was refused. Those behind it, in the same batch, have been sent as well.
    fn send(&mut self) -> Result<()> {
        let mut outcome = Outcome::default();
        let (connection, flows) = (&mut self.connection, &self.flows);
        let sent = match self.command {
            Command::Add => self.additions.send(connection, flows, &mut outcome),
            _ => create(connection, flows, &mut outcome),
        };
        self.flows.clear();
        sent.with_context(|| format!("lines {} to {}", self.first_line, self.last_line))?;
        super::create::check(&outcome, self.command)
            .with_context(|| format!("lines {} to {}", self.first_line, self.last_line))
    }
}
