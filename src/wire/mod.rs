//! Floor 0, bytes and views: what the kernel headers say, and nothing that
//! allocates on read.
//!
//! `uapi` has the numbers, `message` the framing, `attribute` the attributes of
//! a message, `request` writes what is sent. A number that is not known here is
//! kept, never an error; bytes that cannot be read are an error that names
//! attribute and offset.

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
pub use header_template::HeaderTemplate;
pub use message::{Answer, Message, MessageClass, Messages};
pub use nest_template::{NestTemplate, Values};
pub use request::{AttributeWriter, Batch, Header};
