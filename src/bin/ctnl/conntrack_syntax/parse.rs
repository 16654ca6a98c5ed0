//! Arguments → request: the options in order, then what the command takes.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use ctnl::model::{Family, Status};

use super::error::SyntaxError;
use super::getopt::{Getopt, Given, LongOption};
use super::names;
use super::options::{self, check, needs_addresses, usages};
use super::protocols::{Protocol, ProtocolNames};
use super::request::{
    AddressPair, Command, EventMask, Invocation, LabelChange, NatArgument, Request, StatusArgument, Table,
};
use super::values::{self, Network};

/// The largest buffer that the kernel can be asked for: `SO_RCVBUF` takes an `int`.
const MAX_BUFFER_SIZE: u32 = i32::MAX as u32;

/// Parses the arguments, without the name of the program.
///
/// # Errors
/// What conntrack(8) refuses, and values of which it ignores a part (`is_stricter`).
pub fn parse(arguments: &[OsString], names: &dyn ProtocolNames) -> Result<Invocation, SyntaxError> {
    match arguments {
        [option, file, ..] if option == "-R" || option == "--load-file" => Ok(Invocation::LoadFile(file.clone())),
        arguments => {
            let request = parse_request(arguments.iter().map(OsString::as_os_str), names)?;
            Ok(Invocation::Request(Box::new(request)))
        }
    }
}

/// Parses one command.
pub fn parse_request<'a>(
    words: impl IntoIterator<Item = &'a OsStr>,
    names: &dyn ProtocolNames,
) -> Result<Request, SyntaxError> {
    let mut getopt = Getopt::new(words);
    let mut parser = Parser {
        request: Request::empty(),
        given: Vec::new(),
        long: options::long(),
        protocol: None,
        protocols: 0,
        has_attached: false,
        ignored: None,
        names,
    };
    while let Some(given) = getopt.next_option(options::short, &parser.long)? {
        parser.option(given, &mut getopt).map_err(|error| parser.marked(error))?;
    }
    parser.ignored = parser.ignored.or_else(|| getopt.operand().map(|word| word.to_string_lossy().into_owned()));
    parser.check().map_err(|error| parser.marked(error))?;
    Ok(parser.request)
}

struct Parser<'a> {
    request: Request,
    /// The letters of the options that were given.
    given: Vec<u8>,
    long: Vec<LongOption>,
    protocol: Option<Protocol>,
    /// How often `-p` was given.
    protocols: u16,
    /// An optional value was attached. conntrack(8) ignores it, so it may accept what follows.
    has_attached: bool,
    /// What conntrack(8) ignores: a word that is no option, or `--nat-range`.
    ignored: Option<String>,
    names: &'a dyn ProtocolNames,
}

impl Parser<'_> {
    fn option(&mut self, given: Given, getopt: &mut Getopt<'_>) -> Result<(), SyntaxError> {
        let Ok(letter) = u8::try_from(given.code) else { return self.protocol_option(&given) };
        match letter {
            b'L' | b'I' | b'A' | b'D' | b'U' | b'G' | b'F' | b'E' | b'C' | b'S' | b'V' | b'h' => {
                let table = self.optional(given, getopt);
                return self.command(letter, table.as_deref());
            }
            b'n' | b'g' | b'j' => {
                let nat = self.optional(given, getopt);
                self.nat(letter, nat.as_deref())?;
            }
            b'>' => {
                let names = self.optional(given, getopt);
                self.delete_labels(names.as_deref())?;
            }
            b'a' => {
                self.request.warnings.push("ignoring --nat-range: use --src-nat or --dst-nat".to_owned());
                self.ignored = Some("--nat-range".to_owned());
                return Ok(());
            }
            letter => self.valued(letter, given.value.unwrap_or_default().as_bytes())?,
        }
        self.given.push(letter);
        Ok(())
    }

    /// An option whose value, if it has one, is never left out.
    fn valued(&mut self, letter: u8, text: &[u8]) -> Result<(), SyntaxError> {
        let name = options::name(letter);
        let request = &mut self.request;
        match letter {
            b's' | b'd' | b'r' | b'q' | b'[' | b']' | b'{' | b'}' => self.address(letter, text)?,
            b'p' => self.protocol(text)?,
            b'f' => self.family(text)?,
            b'l' => request.labels.extend(split_names(text)),
            b'<' => self.add_labels(text)?,
            b'z' => request.zero = true,
            b't' => request.timeout = Some(values::decimal(name, text, u32::MAX)?),
            b'b' => request.buffer_size = Some(values::decimal(name, text, MAX_BUFFER_SIZE)?),
            b'm' => request.mark = Some(values::mark(text)?),
            b'c' => request.secmark = Some(values::checked(name, text, u32::MAX)?),
            b'i' => request.id = Some(values::checked(name, text, u32::MAX)?),
            b'w' => request.zone = Some(zone(name, text)?),
            b'(' => request.original_zone = Some(zone(name, text)?),
            b')' => request.reply_zone = Some(zone(name, text)?),
            b'o' => names::outputs(text, &mut request.output, &mut request.warnings)?,
            b'e' => {
                let mask = request.event_mask.get_or_insert_with(EventMask::default);
                names::events(text, mask, &mut request.warnings)?;
            }
            b'u' => {
                let none = StatusArgument { set: Status::empty(), unset: Status::empty() };
                names::statuses(text, request.status.get_or_insert(none), &mut request.warnings)?;
            }
            b'M' if request.labelmap.is_some() => {
                return Err(SyntaxError::usage("--labelmap is given twice"));
            }
            b'M' => request.labelmap = Some(OsString::from_vec(text.to_vec())),
            _ => return Err(SyntaxError::usage(format!("unknown option '-{}'", char::from(letter)))),
        }
        Ok(())
    }

    /// The attached value, or the next word.
    fn optional(&mut self, given: Given, getopt: &mut Getopt<'_>) -> Option<OsString> {
        self.has_attached |= given.value.is_some();
        given.value.or_else(|| getopt.optional_word())
    }

    /// An error, marked where conntrack(8) may accept the command line.
    fn marked(&self, error: SyntaxError) -> SyntaxError {
        SyntaxError { is_stricter: error.is_stricter || self.has_attached, ..error }
    }

    fn command(&mut self, letter: u8, table: Option<&OsStr>) -> Result<(), SyntaxError> {
        let table = table.map_or(Ok(Table::Conntrack), |name| names::table(name.as_bytes()))?;
        let command = match (letter, table) {
            (b'L', table) => Command::List(table),
            (_, Table::Dying | Table::Unconfirmed) => {
                return Err(SyntaxError::usage("the tables dying and unconfirmed can only be listed (-L)"));
            }
            (b'A' | b'U', Table::Expect) => {
                let name = options::name(letter);
                return Err(SyntaxError::usage(format!("--{name} does not work on expectations")));
            }
            (b'I', table) => Command::Create(table),
            (b'D', table) => Command::Delete(table),
            (b'G', table) => Command::Get(table),
            (b'F', table) => Command::Flush(table),
            (b'E', table) => Command::Event(table),
            (b'C', table) => Command::Count(table),
            (b'S', table) => Command::Stats(table),
            (b'A', _) => Command::Add,
            (b'U', _) => Command::Update,
            (b'V', _) => Command::Version,
            _ => Command::Help,
        };
        if self.request.command != Command::None {
            return Err(SyntaxError::usage("more than one command"));
        }
        self.request.command = command;
        Ok(())
    }

    fn address(&mut self, letter: u8, text: &[u8]) -> Result<(), SyntaxError> {
        let address = values::address(text)?;
        self.set_family(family_of(address))?;
        let request = &mut self.request;
        let (field, mask) = match letter {
            b's' => (&mut request.original.src, Some((b'{', &mut request.mask.src))),
            b'd' => (&mut request.original.dst, Some((b'}', &mut request.mask.dst))),
            b'[' => (&mut request.expected.src, Some((b'{', &mut request.mask.src))),
            b']' => (&mut request.expected.dst, Some((b'}', &mut request.mask.dst))),
            b'r' => (&mut request.reply.src, None),
            b'q' => (&mut request.reply.dst, None),
            b'{' => (&mut request.mask.src, None),
            _ => (&mut request.mask.dst, None),
        };
        let is_repeated = field.replace(address).is_some();
        let Some((mask_letter, mask)) = mask else { return refuse_prefix(letter, text) };
        let network = Network { address, prefix: values::prefix(text, address)? };
        match network.netmask() {
            Some(netmask) => {
                *mask = Some(netmask);
                self.given.push(mask_letter);
            }
            None if is_repeated && mask.is_some() => {
                let name = options::name(letter);
                return Err(SyntaxError::stricter(format!("--{name} is given twice, and one of them has a netmask")));
            }
            None => {}
        }
        Ok(())
    }

    fn set_family(&mut self, family: Family) -> Result<(), SyntaxError> {
        match *self.request.family.get_or_insert(family) {
            first if first == family => Ok(()),
            _ => Err(SyntaxError::usage("IPv4 and IPv6 in one command")),
        }
    }

    fn family(&mut self, text: &[u8]) -> Result<(), SyntaxError> {
        let refused = format!("unknown family '{}': expected ipv4 or ipv6", String::from_utf8_lossy(text));
        match text {
            b"ipv4" => self.set_family(Family::V4),
            b"ipv6" => self.set_family(Family::V6),
            [b'i', b'p', b'v', b'4' | b'6', ..] => Err(SyntaxError::stricter(refused)),
            _ => Err(SyntaxError::usage(refused)),
        }
    }

    fn protocol(&mut self, text: &[u8]) -> Result<(), SyntaxError> {
        let protocol = Protocol::parse(text, self.names)?;
        self.long.extend(protocol.long(self.protocols));
        self.protocols += 1;
        self.request.protocol = Some(protocol.number);
        self.protocol = Some(protocol);
        Ok(())
    }

    fn protocol_option(&mut self, given: &Given) -> Result<(), SyntaxError> {
        let text = given.value.as_deref().unwrap_or_default();
        let Some(protocol) = self.protocol else { return Ok(()) };
        protocol.set(given.code, text.as_bytes(), &mut self.request.protocol_arguments)
    }

    fn nat(&mut self, letter: u8, text: Option<&OsStr>) -> Result<(), SyntaxError> {
        let nat = text.map(|text| values::nat(options::name(letter), text.as_bytes())).transpose()?.unwrap_or_default();
        if let Some(address) = nat.address {
            self.set_family(family_of(address))?;
        }
        let field = match letter {
            b'n' => &mut self.request.src_nat,
            b'g' => &mut self.request.dst_nat,
            _ => &mut self.request.any_nat,
        };
        // An option without a value leaves that of an earlier one.
        let earlier = field.get_or_insert_default();
        if nat.address.is_some() {
            *earlier = NatArgument { port: nat.port.or(earlier.port), ..nat };
        }
        Ok(())
    }

    fn add_labels(&mut self, text: &[u8]) -> Result<(), SyntaxError> {
        match self.request.label_change.get_or_insert_with(|| LabelChange::Add(Vec::new())) {
            LabelChange::Add(names) => names.extend(split_names(text)),
            _ => return Err(both_label_changes()),
        }
        Ok(())
    }

    fn delete_labels(&mut self, names: Option<&OsStr>) -> Result<(), SyntaxError> {
        let names: Option<Vec<OsString>> = names.map(|text| split_names(text.as_bytes()).collect());
        let change = match (self.request.label_change.take(), names) {
            (Some(LabelChange::Add(_)), _) => return Err(both_label_changes()),
            (Some(LabelChange::Delete(earlier)), Some(names)) => LabelChange::Delete([earlier, names].concat()),
            (Some(LabelChange::Delete(earlier)), None) => LabelChange::Delete(earlier),
            (_, Some(names)) => LabelChange::Delete(names),
            (_, None) => LabelChange::DeleteAll,
        };
        self.request.label_change = Some(change);
        Ok(())
    }

    /// Checks the options against the command.
    fn check(&self) -> Result<(), SyntaxError> {
        let request = &self.request;
        let command = request.command;
        if request.any_nat.is_some() && (request.src_nat.is_some() || request.dst_nat.is_some()) {
            return Err(SyntaxError::usage("--any-nat excludes --src-nat and --dst-nat"));
        }
        // Without a command, conntrack(8) reads its table of options beyond the end.
        let is_stricter = command == Command::None;
        check(command, usages(&self.given)).map_err(|error| SyntaxError { is_stricter, ..error })?;
        if needs_addresses(command) && !is_pair(request.original) && !is_pair(request.reply) {
            return Err(SyntaxError::usage("this command needs --src and --dst, or --reply-src and --reply-dst"));
        }
        if let Some(protocol) = self.protocol
            && command != Command::Help
        {
            protocol.check(command, &request.protocol_arguments)?;
        }
        check_combinations(request, &self.given)?;
        check_status(request)?;
        self.check_ignored()
    }

    /// What conntrack(8) ignores may have been meant as a filter: more would be deleted or changed than was meant.
    fn check_ignored(&self) -> Result<(), SyntaxError> {
        let Request { command, zero, .. } = self.request;
        match (&self.ignored, command) {
            (Some(word), _) if zero => {
                Err(SyntaxError::stricter(format!("'{word}' selects nothing, and --zero resets all")))
            }
            (Some(word), Command::Delete(_) | Command::Update | Command::Flush(_)) => {
                Err(SyntaxError::stricter(format!("'{word}' selects nothing: expected options that do")))
            }
            _ => Ok(()),
        }
    }
}

/// A filter that every entry passes is an error: with `-D`, conntrack(8) deletes them all.
fn check_status(request: &Request) -> Result<(), SyntaxError> {
    let is_filter = matches!(request.command, Command::List(_) | Command::Delete(_) | Command::Event(_));
    match request.status {
        Some(status) if is_filter && status.set.is_empty() && status.unset.is_empty() => {
            Err(SyntaxError::stricter("--status has no bit that can be compared"))
        }
        // It would be ignored, and every entry be updated that the other options select.
        Some(status) if request.command == Command::Update && !status.unset.is_empty() => Err(SyntaxError::stricter(
            "--status sets bits with --update: none can be cleared, and it selects no entries",
        )),
        _ => Ok(()),
    }
}

/// What conntrack(8) checks when it runs the command, before it sends anything.
fn check_combinations(request: &Request, given: &[u8]) -> Result<(), SyntaxError> {
    const FILTERS: &[u8] = b"psdrqmcuiwl()";
    const NAT: &[u8] = b"ngj";
    let filters = match request.command {
        Command::List(Table::Conntrack) => {
            if request.zero && given.iter().any(|letter| FILTERS.contains(letter)) {
                return Err(SyntaxError::usage("--zero goes with no filter"));
            }
            if request.zero && given.iter().any(|letter| NAT.contains(letter)) {
                // conntrack(8) resets the counters of entries that it does not list.
                return Err(SyntaxError::stricter("--zero goes with no filter"));
            }
            true
        }
        Command::Update | Command::Delete(Table::Conntrack) | Command::Event(Table::Conntrack) => true,
        _ => false,
    };
    let pairs = [(request.mask.src, request.original.src, "src"), (request.mask.dst, request.original.dst, "dst")];
    match pairs.iter().find(|(mask, address, _)| mask.is_some() && address.is_none()) {
        Some((_, _, name)) if filters => Err(SyntaxError::usage(format!("--mask-{name} needs --{name}"))),
        _ => Ok(()),
    }
}

fn is_pair(addresses: AddressPair) -> bool {
    addresses.src.is_some() && addresses.dst.is_some()
}

fn refuse_prefix(letter: u8, text: &[u8]) -> Result<(), SyntaxError> {
    if !text.contains(&b'/') {
        return Ok(());
    }
    let (name, text) = (options::name(letter), String::from_utf8_lossy(text));
    Err(SyntaxError::usage(format!("--{name} takes no netmask: '{text}'")))
}

fn zone(name: &str, text: &[u8]) -> Result<u16, SyntaxError> {
    values::checked(name, text, u32::from(u16::MAX)).map(|zone| u16::try_from(zone).unwrap_or_default())
}

fn split_names(text: &[u8]) -> impl Iterator<Item = OsString> {
    text.split(|byte| *byte == b',').map(|name| OsString::from_vec(name.to_vec()))
}

fn both_label_changes() -> SyntaxError {
    SyntaxError::failed("--label-add excludes --label-del")
}

fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}
