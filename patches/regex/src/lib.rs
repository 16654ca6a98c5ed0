//! `regex` for the NATS client, which is all that asks for it here.
//!
//! The client reads the server's version and a credentials file with it. The real
//! crate brings all tables of Unicode for that, a fifth of the program: 5,000
//! relocations and half a MiB of memory in every command, `ctnl list` too. The same
//! authors' `regex-lite` has the same interface and only ASCII, which both of them are.

pub use regex_lite::*;
