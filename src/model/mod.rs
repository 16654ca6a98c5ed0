//! Floor 1, the kernel's nouns as plain values: no I/O, no clock.
//!
//! A [`Flow`] is one conntrack entry. It has two [`Tuple`]s, `orig` and
//! `reply`, as in the kernel: who opened it, and what the answers look like.
//! Where both are each other's mirror there is no NAT.

mod decoder;
mod event;
mod expectation;
mod family;
mod flow;
mod label_names;
mod labels;
mod nat;
mod policies;
mod protocol;
mod protoinfo;
mod status;
mod text;
mod timeouts;
mod timer;
mod tuple;
mod tuple_text;
mod undecided;
mod zone;

pub use decoder::FlowDecoder;
pub use event::{Event, EventKind};
pub use expectation::{EXPECTATION_FLAGS, Expectation, ExpectationEvent, ExpectedNat};
pub use family::Family;
pub use flow::{Counters, Flow, SequenceAdjustment, Synproxy, UnknownAttributes};
pub use label_names::LabelNames;
pub use labels::Labels;
pub use nat::Nat;
pub use policies::Policies;
pub use protocol::{Protocol, protocol_from_name, protocol_name};
pub use protoinfo::{DccpInfo, ProtoInfo, SctpInfo, SctpState, TcpInfo, TcpState, tcp_flag};
pub(crate) use status::OFFLOADED;
pub use status::{STATUS_BITS, Status, StatusBit};
pub use text::HelperName;
pub use timeouts::Timeouts;
pub use timer::{NOT_IN_NETLINK, TIMERS, Timer, TimerRow};
pub use tuple::{L4, Tuple};
pub use tuple_text::{NamedEntry, NamedEntryError};
pub use undecided::Undecided;
pub use zone::Zone;
