//! The names of labels: of `--labelmap`, or of the host.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use ctnl::host::Host;
use ctnl::model::{self, LabelNames};

use crate::conntrack_syntax::Request;
use crate::host::files;
use crate::term::exit::usage;

/// Names and numbers of labels, read once they are needed.
#[derive(Debug)]
pub struct Labels<'a> {
    path: Option<&'a OsStr>,
    host: &'a Host,
}

impl<'a> Labels<'a> {
    /// The names that `request` refers to.
    pub fn of(request: &'a Request, host: &'a Host) -> Self {
        Labels { path: request.labelmap.as_deref(), host }
    }

    /// All names.
    ///
    /// # Errors
    /// The file of `--labelmap` cannot be read. Without that option, a missing file has no names.
    pub fn names(&self) -> Result<Arc<LabelNames>> {
        let Some(path) = self.path else { return Ok(files::labels(self.host)) };
        let path = Path::new(path);
        let names = files::labels_of(path);
        names.map_err(|error| usage(format!("--labelmap: cannot read '{}': {error}", path.display())))
    }

    /// The numbers of labels with these names.
    ///
    /// # Errors
    /// A name that the file does not have.
    pub fn numbers(&self, wanted: &[OsString]) -> Result<model::Labels> {
        if wanted.is_empty() {
            return Ok(model::Labels::default());
        }
        let names = self.names()?;
        let number = |name: &OsString| {
            let found = name.to_str().and_then(|name| names.number(name));
            found.ok_or_else(|| usage(format!("unknown label '{}'", name.display())))
        };
        Ok(model::Labels::from_numbers(wanted.iter().map(number).collect::<Result<Vec<u8>>>()?))
    }
}
