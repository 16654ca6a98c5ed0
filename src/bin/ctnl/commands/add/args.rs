//! The arguments of `ctnl add`.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::model::{Flow, HelperName, Status, TcpState};
use ctnl::table::{Masked, Patch, TcpPatch};

use super::super::args::CommonArgs;
use super::super::entry_values;
use super::super::format::FormatArgs;
use super::new_entry::{Endpoint, Template, endpoint};
use crate::term::exit::usage;

const EXAMPLES: &str = "\
Examples:
  ctnl add tcp 10.0.0.1:40000 10.0.0.2:443 --timeout 1h --status assured,seen-reply
  ctnl add udp 10.0.0.1:5060 192.0.2.1:5060 --timeout 3m --src-nat 198.51.100.1:6000 --mark 0x10
      With source NAT: packets of the flow are rewritten.
  ctnl add 'tcp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=21' --timeout 5m --helper ftp --replace
      The tuple as conntrack and ctnl list print it. An entry that exists gets timeout, mark, state, status and labels.
  ctnl add --file tuples.txt --timeout 10m
      One tuple a line; - is standard input.

A line may have the reply tuple, too: where it is not the inverse of the first one, the entry has NAT.
Exit codes: 0 done; 1 failed; 2 bad usage, nothing was changed; 3 partly done.";

/// Create entries
///
/// Ids, counters and start times are the kernel's to set. An entry that exists is an error, unless --replace is given. A
/// single entry is printed to stdout as the kernel has it; those of --file are only counted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// PROTOCOL SRC[:PORT] DST[:PORT], or src=… dst=… as an entry is printed
    #[arg(required_unless_present = "file", conflicts_with = "file", num_args = 1.., value_name = "TUPLE")]
    pub tuple: Vec<String>,

    /// Read the tuples from FILE, one a line; - is standard input. Empty lines and those with # are skipped
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,

    /// Remaining timeout (30s, 1h, or seconds)
    #[arg(long, short, value_name = "TIME", value_parser = entry_values::timeout)]
    pub timeout: u32,

    /// Packet mark
    #[arg(long, short, value_parser = entry_values::number)]
    mark: Option<u32>,

    /// Zone; default: that of the line, else 0
    #[arg(long, short = 'w')]
    zone: Option<u16>,

    /// TCP state (default established)
    #[arg(long, value_parser = entry_values::tcp_state)]
    state: Option<TcpState>,

    /// Status bits: assured, seen-reply, fixed-timeout
    #[arg(long, value_name = "BIT[,BIT…]", value_parser = entry_values::status)]
    status: Option<Status>,

    /// Labels, by number or by name of connlabel.conf
    #[arg(long, value_name = "LABEL[,LABEL…]")]
    pub label: Option<String>,

    /// Helper, e.g. ftp
    #[arg(long, value_parser = entry_values::helper)]
    pub helper: Option<HelperName>,

    /// Rewrite the source of its packets
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = endpoint)]
    src_nat: Option<Endpoint>,

    /// Rewrite the destination of its packets
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = endpoint)]
    dst_nat: Option<Endpoint>,

    /// Change an entry that exists with the same tuples: timeout, and what else is given
    #[arg(long)]
    pub replace: bool,

    /// Print the entries, create nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub format: FormatArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

impl Args {
    /// What all entries have.
    pub fn template(&self, host: &Host) -> Result<Template> {
        let labels = self.label.as_deref().map(|text| entry_values::labels(text, host)).transpose();
        let status = self.status.unwrap_or(Status::empty());
        if status.contains(Status::Helper) {
            return Err(usage("--status: 'helper' is set with a helper: expected --helper"));
        }
        Ok(Template {
            timeout: self.timeout,
            mark: self.mark,
            zone: self.zone,
            state: self.state,
            status,
            labels: labels.map_err(|error| usage(format!("--label: {error}")))?,
            helper: self.helper,
            src_nat: self.src_nat,
            dst_nat: self.dst_nat,
        })
    }

    /// What an entry that exists is changed to.
    pub fn patch(&self, flow: &Flow) -> Patch {
        Patch {
            timeout: flow.timeout,
            mark: self.mark.map(|value| Masked { value, mask: u32::MAX }),
            add_status: self.status.unwrap_or(Status::empty()),
            tcp: TcpPatch { state: self.state, ..TcpPatch::default() },
            add_labels: flow.labels.unwrap_or_default(),
            ..Patch::default()
        }
    }
}
