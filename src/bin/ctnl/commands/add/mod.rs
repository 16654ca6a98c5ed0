//! `ctnl add`.
//!
//! `args` are its arguments, `new_entry` reads a tuple, `adding` creates, `counts` sums up, `preview` prints instead.

mod adding;
mod args;
mod counts;
mod new_entry;
mod preview;

use anyhow::Result;
use ctnl::host::Host;

pub use args::Args;

use adding::Adding;
use preview::Preview;

use crate::term::exit::{Exit, usage};

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let template = args.template(host)?;
    let single = args.file.is_none().then(|| template.flow(&args.tuple.join(" ")).map_err(usage)).transpose()?;
    let mut connection = args.common.connect()?;
    let preview = args.dry_run.then(|| Preview::new(args, &mut connection, host)).transpose()?;
    let mut adding = Adding::new(args, connection, preview, host);
    let mut console = args.common.console();
    let added = match (&single, &args.file) {
        (Some(flow), _) => adding.add(std::slice::from_ref(flow)),
        (None, Some(path)) => adding.add_lines(path, &template),
        (None, None) => Ok(()),
    };
    if let Err(error) = added {
        if adding.counts.is_untouched() {
            return Err(error);
        }
        console.warn(&format!("ctnl: {error:#}"));
        adding.counts.summarize(args, &mut console);
        return Ok(Exit::Partly);
    }
    if let Some(preview) = adding.preview {
        return preview.finish().map(|()| Exit::Done);
    }
    adding.counts.summarize(args, &mut console);
    if let Some(flow) = single.filter(|_| adding.counts.done() > 0) {
        adding.print(&flow, host, &mut console)?;
    }
    Ok(adding.counts.exit())
}
