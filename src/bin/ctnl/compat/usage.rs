//! `-h` and `-V`.

use anyhow::Result;

use super::message;
use crate::conntrack_syntax::Request;
use crate::term::exit::Exit;
use crate::term::stdout;

const USAGE: &str = "\
Usage: conntrack COMMAND [TABLE] [OPTION…]
  ctnl with the command line of conntrack(8) 1.4.9: docs/compat.md has the differences,
  `ctnl help` the commands of ctnl. Tables: conntrack (default), expect, dying, unconfirmed

Commands
  -L, --dump         list entries
  -G, --get          print the entry of a tuple
  -D, --delete       delete the entries that match
  -I, --create       create an entry
  -A, --add          create an entry, or update it
  -U, --update       update the entries that match
  -E, --event        print events
  -F, --flush        delete all entries
  -C, --counter      print the number of entries
  -S, --stats        print the counters of each processor
  -R, --load-file    run the lines of a file (- is standard input)

Entries
  -s, --src ADDR[/N]     source, and destination, of the original direction
  -d, --dst ADDR[/N]
  -r, --reply-src ADDR   the same of the replies
  -q, --reply-dst ADDR
      --mask-src MASK, --mask-dst MASK
  -p, --protonum PROTO   tcp, udp, udplite, sctp, dccp, icmp, icmpv6, gre, or a number;
                         with -h, its options are listed, too
  -f, --family FAMILY    ipv4 or ipv6
  -t, --timeout SECONDS
  -u, --status STATUS    ASSURED, SEEN_REPLY, FIXED_TIMEOUT, EXPECTED, OFFLOAD, HW_OFFLOAD,
                         UNSET, UNREPLIED; in filters !STATUS
  -m, --mark MARK[/MASK]
  -c, --secmark SECMARK
  -i, --id ID
  -w, --zone ZONE, --orig-zone ZONE, --reply-zone ZONE
  -n, --src-nat [ADDR[:PORT]], -g, --dst-nat …, -j, --any-nat …
  -l, --label NAME[,…], --label-add NAME[,…], --label-del [NAME[,…]]
      --labelmap PATH    file with the names of labels [/etc/xtables/connlabel.conf]
  --tuple-src ADDR, --tuple-dst ADDR    what is expected (table expect)

Output and events
  -o, --output TYPE[,…]  extended, xml, save, timestamp, id, ktimestamp, labels, userspace
  -e, --event-mask EVENT[,…]   ALL, NEW, UPDATES, DESTROY
  -b, --buffer-size BYTES      queue of events
  -z, --zero             reset counters while listing
";

/// The options that `-p PROTO` adds, by protocol number.
const OF_PROTOCOLS: [(&[u8], &str); 5] = [
    (&[6, 17, 33, 132, 136], PORTS),
    (&[6, 33, 132], "  --state STATE\n"),
    (&[132], "  --orig-vtag TAG, --reply-vtag TAG\n"),
    (&[1, 58], "  --icmp-type TYPE, --icmp-code CODE, --icmp-id ID (icmpv6: --icmpv6-type …)\n"),
    (&[47], KEYS),
];

const PORTS: &str = "\
  --sport PORT, --dport PORT                     of the original direction
  --reply-port-src PORT, --reply-port-dst PORT   of the replies
  --mask-port-src, --mask-port-dst, --tuple-port-src, --tuple-port-dst   (table expect)
";

const KEYS: &str = "\
  --srckey KEY, --dstkey KEY                     of the original direction
  --reply-key-src KEY, --reply-key-dst KEY       of the replies
  --mask-key-src, --mask-key-dst, --tuple-key-src, --tuple-key-dst   (table expect)
";

/// Prints the commands and options.
pub fn print(request: &Request) -> Result<Exit> {
    let mut text = USAGE.to_owned();
    if let Some(protocol) = request.protocol {
        text.push_str(&format!("\nOptions of protocol {protocol}\n"));
        let parts = OF_PROTOCOLS.iter().filter(|(protocols, _)| protocols.contains(&protocol));
        let options: String = parts.map(|(_, options)| *options).collect();
        text.push_str(if options.is_empty() { "  none\n" } else { &options });
    }
    stdout::print(text)?;
    Ok(Exit::Done)
}

/// Prints the name and the version whose command line this is.
pub fn print_version() -> Result<Exit> {
    stdout::print(format!("{}\n", message::PROGRAM))?;
    Ok(Exit::Done)
}
