//! Prints the entries that would be created.

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::netlink::Connection;
use ctnl::output::Writer;

use super::args::Args;
use crate::host::timeout_options::TimeoutOptions;
use crate::scan::Selection;
use crate::term::stdout;

/// Entries that would be created, printed.
pub struct Preview {
    writer: Writer,
    selection: Selection,
    bytes: Vec<u8>,
}

impl Preview {
    /// Prints the beginning, where the format has one.
    pub fn new(args: &Args, connection: &mut Connection, host: &Host) -> Result<Self> {
        let writer = args.format.writer(host)?;
        let options = TimeoutOptions::default();
        let selection = Selection::new(Filter::default(), connection, host, &options, true)?;
        let mut bytes = Vec::new();
        writer.begin(&mut bytes);
        Ok(Preview { writer, selection, bytes })
    }

    /// Prints entries.
    pub fn print(&mut self, flows: &[Flow]) -> Result<()> {
        for flow in flows {
            self.writer.flow(&mut self.bytes, &Subject::new(flow, self.selection.ages()));
        }
        let printed = stdout::print(&self.bytes);
        self.bytes.clear();
        printed
    }

    /// Prints the end.
    pub fn finish(mut self) -> Result<()> {
        self.writer.end(&mut self.bytes);
        stdout::print(&self.bytes)
    }
}
