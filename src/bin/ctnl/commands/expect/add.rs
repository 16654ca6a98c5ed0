//! `ctnl expect add`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, anyhow};
use ctnl::model::{EXPECTATION_FLAGS, Expectation, HelperName, L4, Protocol, Tuple, UnknownAttributes};
use ctnl::netlink::Connection;
use ctnl::table::{self, Outcome, expect_create, expect_get};
use nix::errno::Errno;

use super::format::FormatArgs;
use super::named::tuple;
use crate::commands::args::CommonArgs;
use crate::commands::entry_values;
use crate::commands::entry_values::helper;
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl expect add tcp 10.0.0.1:0 192.0.2.1:4000 --master 'tcp 10.0.0.1:40000 192.0.2.1:21'
      From any port of 10.0.0.1: a source port of 0 is not compared.
  ctnl expect add udp 0.0.0.0:0 192.0.2.1:7000 --mask-src 0.0.0.0 --master 'udp 10.0.0.1:5060 192.0.2.1:5060' \\
      --timeout 1m --flag permanent

The master is an entry with a helper: `ctnl add … --helper ftp`. The kernel masks the source alone; the
destination is always compared as a whole. A helper allows so many expectations of one master (ftp: 1):
for a new one the kernel deletes the oldest, which is printed to stderr.
Exit codes: 0 done; 1 failed; 2 bad usage, nothing was created; 3 created without its timeout.";

/// Create an expectation of an entry that has a helper
///
/// Prints it as the kernel has it. Its id is the kernel's to set. The NAT of the expected connection cannot be given.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The expected tuple: PROTOCOL SRC[:PORT] DST[:PORT]; a source port of 0 is any
    #[arg(required = true, num_args = 1.., value_name = "TUPLE")]
    tuple: Vec<String>,

    /// The tuple of the master, which has to be in the table and to have a helper
    #[arg(long, value_name = "TUPLE")]
    master: String,

    /// Zone of the master; default: that of its tuple, else 0
    #[arg(long, short = 'w')]
    zone: Option<u16>,

    /// The bits of the source address that are compared [default: all]
    #[arg(long, value_name = "ADDRESS")]
    mask_src: Option<IpAddr>,

    /// The bits of the source port that are compared [default: all, none for port 0]
    #[arg(long, value_name = "BITS", value_parser = port_mask)]
    mask_sport: Option<u16>,

    /// Remaining timeout (30s, 1h, or seconds) [default: that of the helper's class]
    #[arg(long, short, value_name = "TIME", value_parser = entry_values::timeout)]
    timeout: Option<u32>,

    /// Helper that the expected connection gets, e.g. ftp
    #[arg(long, value_parser = helper)]
    helper: Option<HelperName>,

    /// Class of expectations of --helper
    #[arg(long, value_name = "N", requires = "helper")]
    class: Option<u32>,

    /// Flags: permanent (stays when it is met), inactive
    #[arg(long = "flag", value_name = "FLAG[,FLAG…]", value_parser = flags)]
    flags: Option<u32>,

    /// Print the expectation, create nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// 16 bits, decimal or with `0x`.
fn port_mask(text: &str) -> Result<u16, String> {
    let bits = entry_values::number(text)?;
    u16::try_from(bits).map_err(|_| format!("'{text}' is not a mask of 16 bits: expected e.g. 0xffff"))
}

/// Flags that can be set, by their names with commas. The kernel sets the third one itself (`ctnetlink_alloc_expect`
/// in net/netfilter/nf_conntrack_netlink.c).
fn flags(text: &str) -> Result<u32, String> {
    text.split(',').map(str::trim).try_fold(0, |all, word| {
        let bit = EXPECTATION_FLAGS.iter().take(2).position(|name| name.eq_ignore_ascii_case(word));
        bit.map(|bit| all | 1 << bit).ok_or_else(|| format!("unknown flag '{word}': expected permanent, inactive"))
    })
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let expectation = args.expectation()?;
    if args.dry_run {
        return print(args.format.line(&expectation, None)).map(|()| Exit::Done);
    }
    let (mut connection, mut console) = (args.common.connect()?, args.common.console());
    let before = of_master(&mut connection, &expectation.master)?;
    let outcome = create(&mut connection, &expectation)?;
    if let Some(why) = explain(&outcome) {
        return Err(anyhow!("create the expectation: {why}"));
    }
    let is_partly = outcome.partly > 0;
    if is_partly {
        console.warn("created, but the kernel refused its timeout: it has that of the helper's class");
    }
    console.note("1 added");
    let after = of_master(&mut connection, &expectation.master)?;
    for lost in before.iter().filter(|lost| after.iter().all(|kept| kept.id != lost.id)) {
        let line = args.format.line(lost, None);
        console.warn(&format!("not there any more: {}", String::from_utf8_lossy(&line).trim_end()));
        console.note(EVICTED);
    }
    let is_printed = show(args, &mut connection, &expectation, &mut console)?;
    Ok(if is_partly || !is_printed { Exit::Partly } else { Exit::Done })
}

/// `evict_oldest_expect` in
/// net/netfilter/nf_conntrack_expect.c.
const EVICTED: &str =
    "  hint: a helper allows so many expectations of one master (ftp: 1): for a new one the kernel deletes the oldest";

/// The expectations of a master.
fn of_master(connection: &mut Connection, master: &Tuple) -> Result<Vec<Expectation>> {
    let mut found = Vec::new();
    table::expectations(connection, |expectation| {
        if (expectation.master.src, expectation.master.dst, expectation.master.l4)
            == (master.src, master.dst, master.l4)
        {
            found.push(expectation);
        }
    })?;
    Ok(found)
}

/// Prints the expectation as the kernel has it. It exists, whatever becomes of its line.
fn show(args: &Args, connection: &mut Connection, created: &Expectation, console: &mut Console) -> Result<bool> {
    let Some(found) = expect_get(connection, &created.tuple, created.zone.unwrap_or(0))? else { return Ok(true) };
    match print(args.format.line(&found, created.zone)) {
        Ok(()) => Ok(true),
        Err(error) => {
            console.warn(&format!("ctnl: {error:#}"));
            Ok(false)
        }
    }
}

/// Creates it; once more where the module of the helper has just been loaded (`EAGAIN`).
fn create(connection: &mut Connection, expectation: &Expectation) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    expect_create(connection, std::slice::from_ref(expectation), &mut outcome)?;
    if outcome.failed.contains_key(&(Errno::EAGAIN as i32)) {
        outcome = Outcome::default();
        expect_create(connection, std::slice::from_ref(expectation), &mut outcome)?;
    }
    Ok(outcome)
}

/// Why it was not created.
fn explain(outcome: &Outcome) -> Option<String> {
    if outcome.partly > 0 || outcome.done > 0 {
        return None;
    }
    if outcome.gone > 0 {
        return Some("no such master in this zone\n  hint: `ctnl get` finds it, `ctnl add --helper` creates it".into());
    }
    let errno = outcome.failed.keys().next().map(|errno| Errno::from_raw(*errno))?;
    Some(match errno {
        Errno::EEXIST => "it exists".into(),
        Errno::EBUSY => "another expectation clashes with it: one packet could meet both".into(),
        Errno::EOPNOTSUPP => {
            "EOPNOTSUPP: the master has no helper, or the kernel does not have the one of --helper".into()
        }
        Errno::EINVAL => {
            "EINVAL: the kernel does not take these values, e.g. a class that the helper does not have".into()
        }
        Errno::EMFILE => {
            "EMFILE: the helper allows no more for this master, or nf_conntrack_expect_max is reached".into()
        }
        errno => format!("{errno:?}: {}", errno.desc()),
    })
}

impl Args {
    fn expectation(&self) -> Result<Expectation> {
        let (expected, expected_zone) = tuple(&self.tuple.join(" "))?;
        let (master, master_zone) = tuple(&self.master)?;
        let zones = [expected_zone, master_zone, self.zone];
        let zone = zones.into_iter().flatten().next();
        if zones.into_iter().flatten().any(|other| Some(other) != zone) {
            return Err(usage("--zone: the tuples have another zone"));
        }
        if expected.src.is_ipv4() != master.src.is_ipv4() {
            return Err(usage("the expected tuple and the master are of different families"));
        }
        let zone = zone.filter(|zone| *zone != 0);
        Ok(Expectation {
            family: expected.family(),
            mask: self.mask(&expected)?,
            tuple: expected,
            master,
            timeout: self.timeout,
            id: None,
            helper: self.helper,
            zone,
            flags: self.flags.unwrap_or(0),
            class: self.class,
            nat: None,
            function: None,
            unknown: UnknownAttributes::default(),
        })
    }

    /// As the kernel lists it: it stores the part of the source alone (`struct nf_conntrack_tuple_mask`).
    fn mask(&self, expected: &Tuple) -> Result<Tuple> {
        let all: IpAddr =
            if expected.src.is_ipv4() { Ipv4Addr::BROADCAST.into() } else { Ipv6Addr::from_bits(u128::MAX).into() };
        let src = self.mask_src.unwrap_or(all);
        if src.is_ipv4() != expected.src.is_ipv4() {
            return Err(usage("--mask-src: the address is of another family than the tuple"));
        }
        if and(expected.src, src) != expected.src {
            return Err(usage("--mask-src: the source has bits outside of the mask, which would not be compared"));
        }
        let l4 = match (expected.l4, self.mask_sport) {
            (L4::Ports { src, .. }, given) => {
                let mask = given.unwrap_or(if src == 0 { 0 } else { u16::MAX });
                if src & !mask != 0 {
                    return Err(usage(
                        "--mask-sport: the port has bits outside of the mask, which would not be compared",
                    ));
                }
                L4::Ports { src: mask, dst: u16::MAX }
            }
            (_, Some(_)) => return Err(usage("--mask-sport: the protocol has no ports")),
            (l4, None) => l4,
        };
        // Plain, as the compared parts of the tuple are.
        let protocol = Protocol::from(u8::from(expected.protocol));
        Ok(Tuple { src, dst: all, protocol, l4, ..Tuple::UNSPECIFIED })
    }
}

fn and(address: IpAddr, mask: IpAddr) -> IpAddr {
    match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => Ipv4Addr::from_bits(address.to_bits() & mask.to_bits()).into(),
        (IpAddr::V6(address), IpAddr::V6(mask)) => Ipv6Addr::from_bits(address.to_bits() & mask.to_bits()).into(),
        (address, _) => address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Expectation> {
        let master = ["--master", "tcp 10.0.0.1:40000 192.0.2.1:21"];
        Line::try_parse_from(["x"].iter().chain(words).chain(&master))?.args.expectation()
    }

    #[test]
    fn a_source_port_of_zero_is_not_compared_and_the_destination_always_is() {
        let found = parse(&["tcp", "10.0.0.1:0", "192.0.2.1:4000"]).unwrap();
        assert_eq!(
            (found.mask.l4, found.mask.src.to_string()),
            (L4::Ports { src: 0, dst: 65535 }, "255.255.255.255".into())
        );
        let found = parse(&["udp", "10.0.0.0:7", "192.0.2.1:4000", "--mask-src", "255.255.0.0", "--flag", "permanent"])
            .unwrap();
        assert_eq!(
            (found.mask.l4, found.mask.src.to_string()),
            (L4::Ports { src: 65535, dst: 65535 }, "255.255.0.0".into())
        );
        assert_eq!((found.flags, found.mask.dst.to_string(), found.zone), (1, "255.255.255.255".into(), None));
    }

    #[test]
    fn what_would_not_be_compared_or_contradicts_itself_is_refused() {
        for (words, part) in [
            (&["tcp", "10.0.0.1:0", "192.0.2.1:4000", "--mask-src", "255.255.0.0"][..], "--mask-src"),
            (&["tcp", "10.0.0.1:5", "192.0.2.1:4000", "--mask-sport", "0"], "--mask-sport"),
            (&["tcp", "10.0.0.1:5", "192.0.2.1:4000", "--mask-sport", "0x1ffff"], "16 bits"),
            (&["tcp", "10.0.0.1:0", "192.0.2.1:4000", "--class", "1"], "--helper"),
            (&["tcp", "10.0.0.1:0", "192.0.2.1:4000", "--flag", "userspace"], "unknown flag"),
            (&["tcp src=10.0.0.1 dst=10.0.0.2 sport=0 dport=1 zone=3", "--zone", "4"], "--zone"),
            (&["tcp", "[2001:db8::1]:0", "[2001:db8::2]:4000"], "families"),
        ] {
            let error = parse(words).unwrap_err().to_string();
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
