//! `ctnl get`.

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::model::{Flow, NamedEntry, NamedEntryError};
use ctnl::netlink::Connection;
use ctnl::output::Writer;
use ctnl::table;

use super::args::CommonArgs;
use super::format::FormatArgs;
use crate::scan::Selection;
use crate::term::exit::{Exit, usage};
use crate::term::stdout;

const EXAMPLES: &str = "\
Examples:
  ctnl get tcp 10.0.0.1:40000 10.0.0.2:443
      The entry of this connection, by the tuple of either direction, also behind NAT.
  ctnl get udp '[2001:db8::1]:53' '[2001:db8::2]:4000' -o json
  ctnl get icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=77
  ctnl get 'tcp src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=443 zone=5'
      The tuple as conntrack and ctnl list print it: a whole line can be pasted.";

/// Print the entry of one exact tuple, of either direction
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    entry: EntryArgs,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// One exact entry.
#[derive(Debug, clap::Args)]
pub struct EntryArgs {
    /// PROTOCOL SRC[:PORT] DST[:PORT], or a line that ctnl list or conntrack printed
    #[arg(required = true, num_args = 1.., value_name = "TUPLE")]
    tuple: Vec<String>,

    /// Zone of the entry; default: 0
    #[arg(long, short = 'w')]
    zone: Option<u16>,

    /// Match only an entry with this id
    #[arg(long)]
    id: Option<u32>,
}

impl EntryArgs {
    /// The tuple, with zone and id of the tuple or of the options.
    pub fn named(&self) -> Result<NamedEntry> {
        let named: NamedEntry = self.tuple.join(" ").parse().map_err(|error: NamedEntryError| usage(error.render()))?;
        let zone = one_of("zone", named.zone, self.zone)?;
        Ok(NamedEntry { zone, id: one_of("id", named.id, self.id)?, ..named })
    }
}

/// The number in the tuple or of the option; an error if both are given and differ.
fn one_of<T: PartialEq>(name: &str, tuple: Option<T>, option: Option<T>) -> Result<Option<T>> {
    if tuple.is_some() && option.is_some() && tuple != option {
        return Err(usage(format!("--{name}: the tuple has another {name}")));
    }
    Ok(tuple.or(option))
}

/// The entry with this tuple, if it exists.
pub fn find(connection: &mut Connection, named: &NamedEntry) -> Result<Option<Flow>> {
    let found = table::get(connection, &named.tuple, named.zone.unwrap_or(0))?;
    Ok(found.filter(|flow| named.is(flow)))
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let named = args.entry.named()?;
    let mut writer = args.format.writer(host)?;
    let mut connection = args.common.connect()?;
    let Some(flow) = find(&mut connection, &named)? else {
        args.common.console().warn("no such entry");
        return Ok(Exit::Failed);
    };
    print(&flow, &mut writer, &mut connection, host)?;
    Ok(Exit::Done)
}

/// Prints one entry.
pub fn print(flow: &Flow, writer: &mut Writer, connection: &mut Connection, host: &Host) -> Result<()> {
    let selection = Selection::new(
        Filter::default(),
        connection,
        host,
        &crate::host::timeout_options::TimeoutOptions::default(),
        true,
    )?;
    let mut bytes = Vec::new();
    writer.begin(&mut bytes);
    writer.flow(&mut bytes, &Subject::new(flow, selection.ages()));
    writer.end(&mut bytes);
    stdout::print(&bytes)
}
