//! Filters from outside: what is understood, what is refused and where the caret
//! stands, and that the evaluator agrees with one that was written apart from it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agreement;
mod grouping;
mod live;
mod proofs;
mod table;

use std::io;
use std::sync::LazyLock;

use ctnl::filter::{Context, Filter, ParseError, ServiceNames};

static SERVICES: LazyLock<ServiceNames> =
    LazyLock::new(|| ServiceNames::parse("domain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttp-alt 8080/tcp\n"));

/// What expressions of these tests may refer to.
fn context() -> Context<'static> {
    Context { services: &SERVICES, label: &label, read_file: &read_file }
}

fn label(name: &str) -> Option<u8> {
    (name == "voip").then_some(5)
}

fn read_file(path: &str) -> io::Result<String> {
    match path {
        "nets" => Ok("# ours\n10.0.0.0/8, 192.0.2.0/24\n\n  2001:db8::/32 # v6\n".to_owned()),
        "my nets" => Ok("10.0.0.1".to_owned()),
        "empty" => Ok("# nothing\n\n".to_owned()),
        "bad" => Ok("10.0.0.1\n10.0.0.2 10.0.0.300\n".to_owned()),
        "many" => Ok((0..2780).map(|i| format!("10.{}.{}.0/25\n", i / 256, i % 256)).collect()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn parse(text: &str) -> Result<Filter, ParseError> {
    Filter::parse(text, &context())
}
