//! Filters through the public API: valid and invalid expressions, the position of the caret, and the
//! results compared with the reference evaluator's.

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

fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let text: &[u8] = match path {
        "nets" => b"# ours\n10.0.0.0/8, 192.0.2.0/24\n\n  2001:db8::/32 # v6\n",
        "my nets" => b"10.0.0.1",
        "empty" | "an empty" => b"# nothing\n; here\n\n",
        "bad" => b"10.0.0.1\n10.0.0.2 10.0.0.300\n",
        "many" => &(0..2780).map(|i| format!("10.{}.{}.0/25\n", i / 256, i % 256)).collect::<String>().into_bytes(),
        "bom" => b"\xef\xbb\xbf10.0.0.1\r\n\xef\xbb\xbf10.0.0.2\r\n",
        "drop" => b"; Spamhaus DROP List\n192.0.2.0/24 ; SBL1\n198.51.100.0/24;SBL2\n",
        "cr" => b"# list\r10.0.0.1\r10.0.0.2 ; two\r",
        "latin1" => b"10.0.0.1 # M\xfcnchen\n10.0.0.2 ; K\xf6ln\n",
        "not-utf8" => b"10.0.0.1\n10.0.0.2 10.0.0.\xff # no\n",
        "utf16" => b"\xff\xfe1\x000\x00\n\x00",
        "mapped" => b"::ffff:192.0.2.3\n::ffff:198.51.100.0/120\n",
        "states" => b"established\nopen\n",
        _ => return Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    Ok(text.to_vec())
}

fn parse(text: &str) -> Result<Filter, ParseError> {
    Filter::parse(text, &context())
}
