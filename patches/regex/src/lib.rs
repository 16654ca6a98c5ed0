//! `regex` for the NATS client, which is all that asks for it here.
//!
//! The client reads a credentials file with it. The real crate brings all tables of
//! Unicode for that, a fifth of the program: 6,700 relocations and half a MiB of memory
//! in every command, `ctnl list` too. The same authors' `regex-lite` has the interface
//! that the client uses, and classes of ASCII, which such a file is.

pub use regex_lite::*;
