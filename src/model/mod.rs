//! The kernel's objects as plain values: no I/O, no clock.
//!
//! A [`Flow`] is one conntrack entry. It has two [`Tuple`]s as in the kernel: `orig`, the
//! addresses and ports of its first packet, and `reply`, those of packets in the other direction.
//! Without NAT, `reply` is the [inverse](Tuple::inverse) of `orig`.
//!
//! ```
//! use ctnl::model::{Flow, L4, Nat, Protocol, Tuple};
//!
//! let orig = Tuple {
//!     src: "10.0.0.1".parse()?,
//!     dst: "192.0.2.1".parse()?,
//!     protocol: Protocol::Tcp,
//!     l4: L4::Ports { src: 40000, dst: 443 },
//!     ..Tuple::UNSPECIFIED
//! };
//! let flow = Flow::new(orig, orig.inverse());
//! assert_eq!(flow.reply.sport(), Some(443));
//! assert_eq!(Nat::of(&flow), Nat::default());
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

mod decoder;
mod event;
mod expectation;
mod flow;
mod flow_decode;
mod helper_name;
mod icmp_type_names;
mod label_names;
mod labels;
mod nat;
mod policies;
mod protocol;
mod protoinfo;
mod states;
mod status;
mod timeouts;
mod timer;
mod tuple;
mod tuple_decode;
mod tuple_template;
mod tuple_text;
mod undecided;
mod zone;

pub use decoder::FlowDecoder;
pub use event::{Event, EventKind};
pub use expectation::{EXPECTATION_FLAGS, Expectation, ExpectationEvent, ExpectedNat};
pub use flow::{Counters, Flow, SequenceAdjustment, Synproxy, UnknownAttributes};
pub use helper_name::HelperName;
pub use icmp_type_names::{ICMP_TYPE_NAMES, icmp_types, is_untracked_icmp_type};
pub use label_names::LabelNames;
pub use labels::Labels;
pub use nat::Nat;
pub use policies::Policies;
pub use protocol::{Protocol, protocol_from_name, protocol_name};
pub use protoinfo::{DccpInfo, ProtoInfo, SctpInfo, TcpInfo, tcp_flag};
pub use states::{DccpState, SctpState, TcpState};
pub(crate) use status::OFFLOADED;
pub use status::{STATUS_BITS, Status, StatusBit};
pub use timeouts::Timeouts;
pub use timer::{NOT_IN_NETLINK, TIMERS, Timer, TimerRow};
pub use tuple::{L4, Tuple};
pub use tuple_text::{NamedEntry, NamedEntryError};
pub use undecided::Undecided;
pub use zone::Zone;

pub use crate::wire::Family;
