//! TLS 1.2 and 1.3 on a TCP connection, without asynchronous code: the sink's thread drives it.
//!
//! `config` reads the files, `stream` is one connection, `error` describes what failed.

mod config;
mod error;
mod stream;

pub use config::TlsClient;
#[cfg(feature = "nats")]
pub use error::{ClientAuth, describe_cause};
pub use stream::TlsStream;

use super::options::TlsFiles;

/// Checks the files, and the name of a server.
pub fn check_tls(files: &TlsFiles, host: &str) -> Result<(), String> {
    TlsClient::load(files)?;
    stream::server_name(host).map(drop)
}
