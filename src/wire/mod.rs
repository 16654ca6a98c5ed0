//! Floor 0, bytes and views: what the kernel headers say, and nothing that
//! allocates on read.
//!
//! `uapi` has the numbers, `message` the framing, `attribute` the attributes of
//! a message, `request` writes what is sent. A number that is not known here is
//! kept, never an error; bytes that cannot be read are an error that names
//! attribute and offset.

mod attribute;
mod error;
mod layout;
mod message;
mod request;
mod shape;
pub mod uapi;

pub use attribute::{Attribute, Attributes};
pub use error::{DecodeError, Fault};
pub use layout::{Layout, Values};
pub use message::{Answer, Kind, Message, Messages};
pub use request::{AttributeWriter, Batch, Header};
pub use shape::Shape;
