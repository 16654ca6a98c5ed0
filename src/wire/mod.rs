//! Netlink messages as bytes: the numbers of the kernel's headers ([`uapi`]), views of
//! received messages ([`Messages`], [`Attributes`]) and requests to send ([`Batch`]).
//!
//! Reading does not allocate. An unknown number is carried, never an error; a malformed
//! message is a [`DecodeError`] with the attribute and the offset.
//!
//! ```
//! use ctnl::wire::{Batch, Family, Header, Messages, uapi};
//!
//! let mut batch = Batch::new();
//! let header = Header {
//!     subsystem: uapi::nfnl_subsys::CTNETLINK,
//!     command: uapi::ipctnl_msg_ct::GET,
//!     flags: 0,
//!     family: Family::V4,
//!     sequence: 1,
//! };
//! batch.push(header, |attributes| attributes.put(uapi::cta::MARK, &7_u32.to_be_bytes()));
//!
//! for message in Messages::new(batch.as_bytes()) {
//!     let message = message?;
//!     assert_eq!((message.family()?, message.sequence), (Family::V4, 1));
//!     for attribute in message.attributes() {
//!         assert_eq!(attribute?.be32()?, 7);
//!     }
//! }
//! # Ok::<(), ctnl::wire::DecodeError>(())
//! ```

mod attribute;
mod error;
mod family;
mod header_template;
mod message;
mod nest_template;
mod request;
pub mod uapi;

pub use attribute::{Attribute, Attributes};
pub use error::{DecodeError, DecodeErrorKind};
pub use family::Family;
pub(crate) use header_template::HeaderTemplate;
pub use message::{Answer, Message, MessageClass, Messages};
pub(crate) use nest_template::{NestTemplate, NestValues};
pub use request::{AttributeWriter, Batch, Header};
