//! What an expression may refer to besides the fields: names of ports, labels, files.

use std::io;

use super::services::ServiceNames;

/// Most bytes of a file of values: `@FILE`.
pub const MAX_FILE: usize = 64 << 20;

/// What an expression may refer to.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Names of ports.
    pub services: &'a ServiceNames,
    /// The number of the label of a name.
    pub label: &'a dyn Fn(&str) -> Option<u8>,
    /// The contents of the file of a path, for `@FILE`.
    pub read_file: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
}

static NO_SERVICES: ServiceNames = ServiceNames::NONE;

/// No names of ports or labels, and no files: an expression cannot make the process read any.
/// For files, set `read_file` to `&|path| std::fs::read(path)`.
impl Default for Context<'_> {
    fn default() -> Self {
        Context { services: &NO_SERVICES, label: &|_| None, read_file: &|_| Err(refused()) }
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "files are not read here")
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
