//! What a command line requests, as plain values.

use std::ffi::OsString;
use std::net::IpAddr;

use ctnl::model::{Family, Status};

/// What the arguments request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// One command.
    Request(Box<Request>),
    /// `-R FILE` as the first two arguments; those after it are ignored. `-` is standard input.
    LoadFile(OsString),
}

/// The command, with its table where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// No command and no option: prints the usage.
    None,
    /// `-L`, of any table.
    List(Table),
    /// `-I`, of conntrack or expect: fails where the entry exists.
    Create(Table),
    /// `-A`, of conntrack: updates the entry where it exists.
    Add,
    /// `-U`, of conntrack.
    Update,
    /// `-D`, of conntrack or expect.
    Delete(Table),
    /// `-G`, of conntrack or expect.
    Get(Table),
    /// `-F`, of conntrack or expect.
    Flush(Table),
    /// `-E`, of conntrack or expect.
    Event(Table),
    /// `-C`, of conntrack or expect.
    Count(Table),
    /// `-S`, of conntrack or expect.
    Stats(Table),
    /// `-V`.
    Version,
    /// `-h`, with `-p PROTO` also of the protocol's options.
    Help,
}

/// The table of a command. All but `List` have only the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    Conntrack,
    Expect,
    Dying,
    Unconfirmed,
}

/// A command with its options. `None` is an option that was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub command: Command,
    /// Of `-f` and of every address: one of them, or none.
    pub family: Option<Family>,
    /// `-s` and `-d`.
    pub original: AddressPair,
    /// `-r` and `-q`.
    pub reply: AddressPair,
    /// `--tuple-src` and `--tuple-dst`.
    pub expected: AddressPair,
    /// `--mask-src` and `--mask-dst`, also from `/24` after an address of `original` or `expected`.
    pub mask: AddressPair,
    /// `-p`.
    pub protocol: Option<u8>,
    /// The options that `-p` adds.
    pub protocol_arguments: ProtocolArguments,
    /// `-t`, seconds.
    pub timeout: Option<u32>,
    /// `-u`.
    pub status: Option<StatusArgument>,
    /// `-z`.
    pub zero: bool,
    /// `-e`.
    pub event_mask: Option<EventMask>,
    /// `-m`.
    pub mark: Option<Mark>,
    /// `-c`.
    pub secmark: Option<u32>,
    /// `-i`, as conntrack(8) prints it: the number of `CTA_ID` in host byte order.
    pub id: Option<u32>,
    /// `-w`: both directions.
    pub zone: Option<u16>,
    /// `--orig-zone`.
    pub original_zone: Option<u16>,
    /// `--reply-zone`.
    pub reply_zone: Option<u16>,
    /// `-l`: names of connlabel.conf, all of which an entry must have. Empty where it was not given.
    pub labels: Vec<OsString>,
    /// `--label-add` or `--label-del`.
    pub label_change: Option<LabelChange>,
    /// `--labelmap`: the path of the connlabel.conf that names the labels.
    pub labelmap: Option<OsString>,
    /// `-n`.
    pub src_nat: Option<NatArgument>,
    /// `-g`.
    pub dst_nat: Option<NatArgument>,
    /// `-j`: never with one of the two above.
    pub any_nat: Option<NatArgument>,
    /// `-o`.
    pub output: OutputOptions,
    /// `-b`, bytes.
    pub buffer_size: Option<u32>,
    /// Lines for stderr about what was ignored.
    pub warnings: Vec<String>,
}

/// A source and a destination address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressPair {
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
}

/// A source and a destination port, or key of GRE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortPair {
    pub src: Option<u16>,
    pub dst: Option<u16>,
}

/// The options of the protocol of `-p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProtocolArguments {
    /// `--sport` and `--dport`, `--srckey` and `--dstkey`.
    pub original: PortPair,
    /// `--reply-port-src` and `--reply-port-dst`, `--reply-key-src` and `--reply-key-dst`.
    pub reply: PortPair,
    /// `--mask-port-src` and `--mask-port-dst`, `--mask-key-src` and `--mask-key-dst`.
    pub mask: PortPair,
    /// `--tuple-port-src` and `--tuple-port-dst`, `--tuple-key-src` and `--tuple-key-dst`.
    pub expected: PortPair,
    /// `--icmp-type` or `--icmpv6-type`.
    pub icmp_type: Option<u8>,
    /// `--icmp-code` or `--icmpv6-code`.
    pub icmp_code: Option<u8>,
    /// `--icmp-id` or `--icmpv6-id`.
    pub icmp_id: Option<u16>,
    /// `--state`: the kernel's number of a state of TCP, SCTP or DCCP.
    pub state: Option<u8>,
    /// `--role`: the kernel's number (`enum ct_dccp_roles`), 0 the client, 1 the server.
    pub dccp_role: Option<u8>,
    /// `--orig-vtag`.
    pub original_vtag: Option<u32>,
    /// `--reply-vtag`.
    pub reply_vtag: Option<u32>,
}

/// `-u`: bits that are set and, as a filter, bits that are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusArgument {
    pub set: Status,
    /// `!NAME` and `UNREPLIED`.
    pub unset: Status,
}

/// `-e`: the events that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventMask {
    pub new: bool,
    pub update: bool,
    pub destroy: bool,
}

/// `-m VALUE[/MASK]`. The mask is all ones where none was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub value: u32,
    pub mask: u32,
}

/// A change of labels. conntrack(8) refuses both kinds at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelChange {
    /// `--label-add`: names of connlabel.conf.
    Add(Vec<OsString>),
    /// `--label-del` with names.
    Delete(Vec<OsString>),
    /// `--label-del` without a name.
    DeleteAll,
}

/// `-n`, `-g` and `-j`, without a value or with ADDRESS or ADDRESS:PORT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatArgument {
    pub address: Option<IpAddr>,
    /// Never without an address.
    pub port: Option<u16>,
}

/// `-o`. `save` excludes all others but `userspace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputOptions {
    pub xml: bool,
    pub extended: bool,
    pub timestamp: bool,
    pub id: bool,
    pub ktimestamp: bool,
    pub labels: bool,
    pub userspace: bool,
    pub save: bool,
}

impl Request {
    /// No command and no option.
    pub(super) fn empty() -> Self {
        Request {
            command: Command::None,
            family: None,
            original: AddressPair::default(),
            reply: AddressPair::default(),
            expected: AddressPair::default(),
            mask: AddressPair::default(),
            protocol: None,
            protocol_arguments: ProtocolArguments::default(),
            timeout: None,
            status: None,
            zero: false,
            event_mask: None,
            mark: None,
            secmark: None,
            id: None,
            zone: None,
            original_zone: None,
            reply_zone: None,
            labels: Vec::new(),
            label_change: None,
            labelmap: None,
            src_nat: None,
            dst_nat: None,
            any_nat: None,
            output: OutputOptions::default(),
            buffer_size: None,
            warnings: Vec::new(),
        }
    }

    /// The family of the request to the kernel: where none was given, both for commands that read the table,
    /// IPv4 for others.
    pub fn effective_family(&self) -> Family {
        use Command::{Delete, Event, Flush, Get, List, Update};
        let reads = match self.command {
            List(table) | Delete(table) | Get(table) | Flush(table) | Event(table) => table != Table::Expect,
            Update => true,
            _ => false,
        };
        self.family.unwrap_or(if reads { Family::UNSPEC } else { Family::V4 })
    }
}
