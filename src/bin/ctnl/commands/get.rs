//! `ctnl get`.

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::netlink::Connection;
use ctnl::output::Writer;

use super::args::CommonArgs;
use super::format::FormatArgs;
use super::lookup::{EntryArgs, find, why_missing};
use crate::scan::Selection;
use crate::term::exit::Exit;
use crate::term::stdout;

const EXAMPLES: &str = "\
Examples:
  ctnl get tcp 10.0.0.1:40000 10.0.0.2:443
      The entry of this connection, by the tuple of either direction, also behind NAT.
  ctnl get udp '[2001:db8::1]:53' '[2001:db8::2]:4000' -o json
  ctnl get icmp 10.0.0.1 10.0.0.2 type=echo-request code=0 id=77
  ctnl get 'tcp src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=443 zone=5'
      The tuple as conntrack and ctnl list print it.

A whole line of an entry can be pasted, as ctnl and conntrack print it: of a list or of an event
stream ([NEW], timestamps, netns=), a line of JSON, a row of the table; not those of CSV, XML and
conntrack's -o save. What a row lacks is an error: the type, code and id of ICMP, the keys of GRE,
the zone if the tuple is in several.

IPv4-mapped addresses (::ffff:192.0.2.3) are the IPv4 addresses. An IPv6 entry with such
addresses is named with ipv6 in front of the protocol; where both exist, that is required.";

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

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let mut writer = args.format.writer(host)?;
    let mut lookup = args.entry.lookup(&args.common, host)?;
    let Some(flow) = find(&mut lookup.connection, &lookup.named)? else {
        args.common.console().warn(&why_missing(&mut lookup, !args.common.is_quiet()));
        return Ok(Exit::Failed);
    };
    print(&flow, &mut writer, &mut lookup.connection, host)?;
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
