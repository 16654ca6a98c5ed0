//! The protocols of `-p`, and the options that each adds.

use ctnl::model::{DccpState, SctpState, TcpState};

use super::error::SyntaxError;
use super::getopt::{LongOption, Value};
use super::options::{TakenBy, Usage, Use, check};
use super::request::{Command, PortPair, ProtocolArguments};
use super::values;

/// What an option of a protocol sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    OriginalSrc,
    OriginalDst,
    ReplySrc,
    ReplyDst,
    MaskSrc,
    MaskDst,
    ExpectedSrc,
    ExpectedDst,
    State,
    DccpRole,
    OriginalVtag,
    ReplyVtag,
    IcmpType,
    IcmpCode,
    IcmpId,
}

use Field::{
    DccpRole, ExpectedDst, ExpectedSrc, IcmpCode, IcmpId, IcmpType, MaskDst, MaskSrc, OriginalDst, OriginalSrc,
    OriginalVtag, ReplyDst, ReplySrc, ReplyVtag, State,
};

/// An option of a protocol. Its first name is that of messages.
struct Row {
    field: Field,
    names: &'static [&'static str],
}

const fn row(field: Field, names: &'static [&'static str]) -> Row {
    Row { field, names }
}

/// A protocol with options of its own.
pub struct ProtocolRow {
    name: &'static str,
    number: u8,
    /// What conntrack(8) numbers its options from. It matters where `-p` is given twice.
    first_code: u8,
    rows: &'static [Row],
}

macro_rules! ports {
    ($($between:expr)?; $($after:expr),*) => {
        &[
            row(OriginalSrc, &["sport", "orig-port-src"]),
            row(OriginalDst, &["dport", "orig-port-dst"]),
            row(ReplySrc, &["reply-port-src"]),
            row(ReplyDst, &["reply-port-dst"]),
            row(MaskSrc, &["mask-port-src"]),
            row(MaskDst, &["mask-port-dst"]),
            $($between,)?
            row(ExpectedSrc, &["tuple-port-src"]),
            row(ExpectedDst, &["tuple-port-dst"]),
            $($after,)*
        ]
    };
}

const STATE: Row = row(State, &["state"]);

const PROTOCOLS: [ProtocolRow; 8] = [
    ProtocolRow { name: "tcp", number: 6, first_code: b'1', rows: ports![STATE;] },
    ProtocolRow { name: "udp", number: 17, first_code: b'1', rows: ports![;] },
    ProtocolRow { name: "udplite", number: 136, first_code: b'1', rows: ports![;] },
    ProtocolRow {
        name: "sctp",
        number: 132,
        first_code: 1,
        rows: ports![STATE; row(OriginalVtag, &["orig-vtag"]), row(ReplyVtag, &["reply-vtag"])],
    },
    ProtocolRow { name: "dccp", number: 33, first_code: 1, rows: ports![STATE; row(DccpRole, &["role"])] },
    ProtocolRow {
        name: "icmp",
        number: 1,
        first_code: b'1',
        rows: &[row(IcmpType, &["icmp-type"]), row(IcmpCode, &["icmp-code"]), row(IcmpId, &["icmp-id"])],
    },
    ProtocolRow {
        name: "icmpv6",
        number: 58,
        first_code: b'1',
        rows: &[row(IcmpType, &["icmpv6-type"]), row(IcmpCode, &["icmpv6-code"]), row(IcmpId, &["icmpv6-id"])],
    },
    ProtocolRow {
        name: "gre",
        number: GRE,
        first_code: b'1',
        rows: &[
            row(OriginalSrc, &["srckey", "orig-key-src"]),
            row(OriginalDst, &["dstkey", "orig-key-dst"]),
            row(ReplySrc, &["reply-key-src"]),
            row(ReplyDst, &["reply-key-dst"]),
            row(MaskSrc, &["mask-key-src"]),
            row(MaskDst, &["mask-key-dst"]),
            row(ExpectedSrc, &["tuple-key-src"]),
            row(ExpectedDst, &["tuple-key-dst"]),
        ],
    },
];

const GRE: u8 = 47;
const TCP: u8 = 6;
const SCTP: u8 = 132;

/// conntrack(8) has no name for the SCTP states above `SHUTDOWN_ACK_SENT`.
const SCTP_STATES: u8 = 8;

/// Resolves the names of protocols that conntrack(8) has no options for, as getprotobyname(3) does.
pub trait ProtocolNames {
    /// The number of a protocol, by name.
    fn number(&self, name: &[u8]) -> Option<u8>;
}

impl<F: Fn(&[u8]) -> Option<u8>> ProtocolNames for F {
    fn number(&self, name: &[u8]) -> Option<u8> {
        self(name)
    }
}

/// The protocol of `-p`.
#[derive(Clone, Copy)]
pub struct Protocol {
    pub number: u8,
    options: Option<&'static ProtocolRow>,
}

impl Protocol {
    /// By the name of one with options, by another name, or by number.
    pub fn parse(text: &[u8], names: &dyn ProtocolNames) -> Result<Self, SyntaxError> {
        if let Some(row) = PROTOCOLS.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(text)) {
            return Ok(Protocol { number: row.number, options: Some(row) });
        }
        if let Some(number) = names.number(text) {
            return Ok(Protocol { number, options: None });
        }
        let number = values::protocol_number(text)
            .ok_or_else(|| SyntaxError::usage(format!("unknown protocol '{}'", String::from_utf8_lossy(text))))?;
        Ok(Protocol { number, options: PROTOCOLS.iter().find(|row| row.number == number) })
    }

    /// The long options that it adds. `nth` counts the `-p` before: codes are apart from all others.
    pub fn long(self, nth: u16) -> Vec<LongOption> {
        let Some(protocol) = self.options else { return Vec::new() };
        let codes = (u16::from(protocol.first_code)..).map(|code| (nth + 1) * 256 + code);
        let rows = protocol.rows.iter().zip(codes);
        rows.flat_map(|(row, code)| row.names.iter().map(move |name| LongOption { name, value: Value::Required, code }))
            .collect()
    }

    /// Sets what the option of `code` stands for. Where `-p` was given twice, it is an option of this, the
    /// last one, or none: conntrack(8) then ignores it.
    pub fn set(self, code: u16, text: &[u8], arguments: &mut ProtocolArguments) -> Result<(), SyntaxError> {
        let Some(protocol) = self.options else { return Err(ignored()) };
        let at = (code % 256).checked_sub(u16::from(protocol.first_code)).map(usize::from);
        let row = at.and_then(|at| protocol.rows.get(at)).ok_or_else(ignored)?;
        set(row, protocol.number, text, arguments)
    }

    /// Checks the options against the command.
    pub fn check(self, command: Command, arguments: &ProtocolArguments) -> Result<(), SyntaxError> {
        let Some(protocol) = self.options else { return Ok(()) };
        check(
            command,
            protocol.rows.iter().map(|row| Usage {
                name: row.names.first().copied().unwrap_or_default(),
                given: is_given(row.field, arguments),
                taken_by: taken_by(row.field, protocol.number),
            }),
        )?;
        let paired = |row: &Row| taken_by(row.field, protocol.number).command(command) == Use::EitherPair;
        if !protocol.rows.iter().any(paired) || is_pair(arguments.original) || is_pair(arguments.reply) {
            return Ok(());
        }
        let names: Vec<&str> = protocol.rows.iter().filter_map(|row| row.names.first().copied()).take(4).collect();
        let [src, dst, reply_src, reply_dst] = names[..] else { return Ok(()) };
        Err(SyntaxError::usage(format!("this command needs --{src} and --{dst}, or --{reply_src} and --{reply_dst}")))
    }
}

fn ignored() -> SyntaxError {
    SyntaxError::stricter("an option of another protocol than that of the last --protonum")
}

fn is_pair(ports: PortPair) -> bool {
    ports.src.is_some() && ports.dst.is_some()
}

fn taken_by(field: Field, protocol: u8) -> TakenBy {
    let (optional, required, either_pair) = match field {
        OriginalSrc | OriginalDst => ("LUDE", "idg", "IAG"),
        ReplySrc | ReplyDst if protocol == GRE => ("LUDE", "idg", "IAG"),
        ReplySrc | ReplyDst => ("LUDE", "dg", "IAG"),
        MaskSrc | MaskDst | ExpectedSrc | ExpectedDst => ("", "i", ""),
        State => ("LUDEG", "IA", ""),
        DccpRole => ("", "IAi", ""),
        OriginalVtag | ReplyVtag => ("UG", "IAi", ""),
        IcmpType | IcmpCode => ("LUDE", "IAG", ""),
        IcmpId => ("LIUDEAG", "", ""),
    };
    TakenBy { optional, required, either_pair }
}

fn is_given(field: Field, arguments: &ProtocolArguments) -> bool {
    match field {
        OriginalSrc => arguments.original.src.is_some(),
        OriginalDst => arguments.original.dst.is_some(),
        ReplySrc => arguments.reply.src.is_some(),
        ReplyDst => arguments.reply.dst.is_some(),
        MaskSrc => arguments.mask.src.is_some(),
        MaskDst => arguments.mask.dst.is_some(),
        ExpectedSrc => arguments.expected.src.is_some(),
        ExpectedDst => arguments.expected.dst.is_some(),
        State => arguments.state.is_some(),
        DccpRole => arguments.dccp_role.is_some(),
        OriginalVtag => arguments.original_vtag.is_some(),
        ReplyVtag => arguments.reply_vtag.is_some(),
        IcmpType => arguments.icmp_type.is_some(),
        IcmpCode => arguments.icmp_code.is_some(),
        IcmpId => arguments.icmp_id.is_some(),
    }
}

fn set(row: &Row, protocol: u8, text: &[u8], arguments: &mut ProtocolArguments) -> Result<(), SyntaxError> {
    let name = row.names.first().copied().unwrap_or_default();
    let port = || if protocol == GRE { values::key(name, text) } else { values::decimal(name, text, u16::MAX) };
    match row.field {
        OriginalSrc => arguments.original.src = Some(port()?),
        OriginalDst => arguments.original.dst = Some(port()?),
        ReplySrc => arguments.reply.src = Some(port()?),
        ReplyDst => arguments.reply.dst = Some(port()?),
        MaskSrc => arguments.mask.src = Some(port()?),
        MaskDst => arguments.mask.dst = Some(port()?),
        ExpectedSrc => arguments.expected.src = Some(port()?),
        ExpectedDst => arguments.expected.dst = Some(port()?),
        State => arguments.state = Some(state(protocol, text)?),
        DccpRole => arguments.dccp_role = Some(dccp_role(text)?),
        OriginalVtag => arguments.original_vtag = Some(values::decimal(name, text, u32::MAX)?),
        ReplyVtag => arguments.reply_vtag = Some(values::decimal(name, text, u32::MAX)?),
        IcmpType => arguments.icmp_type = Some(values::decimal(name, text, u8::MAX)?),
        IcmpCode => arguments.icmp_code = Some(values::decimal(name, text, u8::MAX)?),
        IcmpId => arguments.icmp_id = Some(values::decimal(name, text, u16::MAX)?),
    }
    Ok(())
}

/// The number of a state of TCP. `LISTEN` is the former name of `SYN_SENT2`.
pub fn tcp_state(text: &[u8]) -> Option<u8> {
    if text == b"LISTEN" {
        return Some(TcpState::SynSent2.number());
    }
    let is_name = |state: &TcpState| state.name().is_some_and(|name| name.as_bytes() == text);
    TcpState::all().find(is_name).map(TcpState::number)
}

/// The number of a state.
fn state(protocol: u8, text: &[u8]) -> Result<u8, SyntaxError> {
    let is_name = |name: Option<&'static str>| name.is_some_and(|name| name.as_bytes() == text);
    let number = match protocol {
        TCP => tcp_state(text),
        SCTP => {
            let number = SctpState::all().find(|state| is_name(state.name())).map(SctpState::number);
            number.filter(|number| *number < SCTP_STATES)
        }
        _ => DccpState::all().find(|state| is_name(state.name())).map(DccpState::number),
    };
    number.ok_or_else(|| SyntaxError::usage(format!("unknown state '{}'", String::from_utf8_lossy(text))))
}

/// The beginning of `client` or `server`, without regard to case.
fn dccp_role(text: &[u8]) -> Result<u8, SyntaxError> {
    let message = format!("unknown role '{}': expected client or server", String::from_utf8_lossy(text));
    if text.is_empty() {
        return Err(SyntaxError::stricter(message));
    }
    let begins = |name: &&str| name.as_bytes().get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    let role = ["client", "server"].iter().zip(0..).find(|(name, _)| begins(name)).map(|(_, number)| number);
    role.ok_or_else(|| SyntaxError::usage(message))
}
