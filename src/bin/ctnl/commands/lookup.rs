//! The lookup of one named entry, for `get` and `delete`: where it is, and why there is none.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use ctnl::host::Host;
use ctnl::model::{Flow, NamedEntry, NamedEntryError, Protocol, Tuple, protocol_name};
use ctnl::netlink::{Connection, Error, Netns};
use ctnl::table;
use nix::errno::Errno;

use super::args::CommonArgs;
use super::report::NOTHING_TRACKED;
use crate::term::exit::usage;

/// One exact entry.
#[derive(Debug, clap::Args)]
pub struct EntryArgs {
    /// PROTOCOL SRC[:PORT] DST[:PORT], or a line of an entry that ctnl or conntrack printed
    #[arg(required = true, num_args = 1.., value_name = "TUPLE")]
    tuple: Vec<String>,

    /// Zone of the entry; default: that of the line, else 0
    #[arg(long, short = 'w')]
    zone: Option<u16>,

    /// Match only an entry with this id
    #[arg(long)]
    id: Option<u32>,
}

/// The entry that is named, and the namespace in which it is looked up.
pub struct Lookup {
    /// The entry, with its zone.
    pub named: NamedEntry,
    /// The connection.
    pub connection: Connection,
}

impl EntryArgs {
    /// Connects to the namespace of the entry, and finds its zone where a row of the table shows none.
    pub fn lookup(&self, common: &CommonArgs, host: &Host) -> Result<Lookup> {
        let named = self.named()?;
        let netns = netns_of(common, host, named.netns.as_deref())?;
        let mut connection = Connection::open(&netns)?;
        let named = in_its_zone(&mut connection, named)?;
        Ok(Lookup { named, connection })
    }

    /// The tuple, with zone and id of the tuple or of the options.
    fn named(&self) -> Result<NamedEntry> {
        let named: NamedEntry = self.tuple.join(" ").parse().map_err(|error: NamedEntryError| usage(error.render()))?;
        let zone = one_of("zone", named.zone, self.zone)?;
        Ok(NamedEntry { zone, id: one_of("id", named.id, self.id)?, ..named })
    }
}

/// The error of a line of `-o save` among the arguments of `get` and `delete`: it begins with `-A`, which is read as an
/// option. `None` if there is no such line.
pub fn refused_line(arguments: &[OsString]) -> Option<anyhow::Error> {
    let mut words = arguments.iter().skip(1).map(|argument| argument.to_string_lossy());
    words.next().filter(|command| matches!(&**command, "get" | "delete"))?;
    let is_first = |word: &str| ["-A", "-I", "-U", "-D"].contains(&word.split(' ').next().unwrap_or_default());
    let line: Vec<_> = words.skip_while(|word| !is_first(word)).collect();
    let refused = line.join(" ").parse::<NamedEntry>().err().filter(|_| !line.is_empty())?;
    Some(usage(refused.render()))
}

/// The number in the tuple or of the option; an error if both are given and differ.
fn one_of<T: PartialEq>(name: &str, tuple: Option<T>, option: Option<T>) -> Result<Option<T>> {
    if tuple.is_some() && option.is_some() && tuple != option {
        return Err(usage(format!("--{name}: the tuple has another {name}")));
    }
    Ok(tuple.or(option))
}

/// The namespace of `--netns`, or that which the line of an event names.
fn netns_of(common: &CommonArgs, host: &Host, line: Option<&str>) -> Result<Netns> {
    let given = common.netns()?;
    let Some(name) = line else { return Ok(given) };
    match (given, path_of(name, host)) {
        (Netns::Current, Some(path)) if is_same(&path, &host.proc().join("thread-self/ns/net")) => Ok(Netns::Current),
        // A stream names its own namespace so where it cannot read that of the first process.
        (Netns::Current, Some(path)) if name == "host" && fs::metadata(&path).is_err() => Err(usage(format!(
            "the line is of the network namespace 'host', and {} cannot be read\n  hint: if it is the current one, leave \
             netns=host out",
            path.display()
        ))),
        (Netns::Current, Some(path)) => Ok(Netns::Path(path)),
        (Netns::Current, None) => Err(usage(format!(
            "the line is of the network namespace '{name}', which has no name: the process may be another one by now\n  \
             hint: add --netns with a PID or a path"
        ))),
        (Netns::Path(given), Some(path)) if given.exists() && path.exists() && !is_same(&given, &path) => {
            Err(usage(format!("--netns: the line is of another network namespace, '{name}'")))
        }
        (given, _) => Ok(given),
    }
}

/// The file of a namespace with this name in an event stream. `None` for one that is named by a process.
fn path_of(name: &str, host: &Host) -> Option<PathBuf> {
    match name {
        "host" => Some(host.proc().join("1/ns/net")),
        name if name.starts_with("pid:") => None,
        name if name.contains('/') => Some(PathBuf::from(name)),
        name => match Netns::named(name) {
            Netns::Path(path) => Some(path),
            Netns::Current | Netns::Pinned(_) => None,
        },
    }
}

/// Whether both files are certainly those of one namespace.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// The same name with a zone, where the text shows none although the entry may have one.
fn in_its_zone(connection: &mut Connection, named: NamedEntry) -> Result<NamedEntry> {
    if !named.lacks_zone || named.zone.is_some() {
        return Ok(named);
    }
    let mut zones = table::zones_of(connection, &named.tuple)?;
    if let Some(ipv6) = named.as_ipv6() {
        let of_ipv6 = table::zones_of(connection, &ipv6.tuple)?;
        if !zones.is_empty() && !of_ipv6.is_empty() {
            return Err(ambiguous());
        }
        zones.extend(of_ipv6);
    }
    match *zones {
        [] => Ok(named),
        [zone] => Ok(NamedEntry { zone: Some(zone), ..named }),
        ref zones => Err(usage(format!(
            "missing zone: the tuple is in {}, and the line does not show its zone\n  hint: add --zone",
            list_zones(zones)
        ))),
    }
}

/// The entry that is named, if it exists. An IPv6 entry with IPv4-mapped addresses is found only where the name
/// shows that it is one of IPv6.
///
/// # Errors
/// The kernel refuses the lookup, or the name is that of an IPv4 and of an IPv6 entry.
pub fn find(connection: &mut Connection, named: &NamedEntry) -> Result<Option<Flow>> {
    let Some(found) = find_one(connection, named)? else { return Ok(None) };
    match find_ipv6(connection, named)? {
        Some(_) => Err(ambiguous()),
        None => Ok(Some(found)),
    }
}

/// The IPv6 entry that the name may mean as well.
fn find_ipv6(connection: &mut Connection, named: &NamedEntry) -> Result<Option<Flow>> {
    named.as_ipv6().map_or(Ok(None), |ipv6| find_one(connection, &ipv6))
}

fn ambiguous() -> anyhow::Error {
    usage(
        "ambiguous: an IPv4 entry and an IPv6 entry have these addresses\n  hint: write ipv4 or ipv6 in front of the \
         protocol, in JSON the key family",
    )
}

fn find_one(connection: &mut Connection, named: &NamedEntry) -> Result<Option<Flow>> {
    let found = table::get(connection, &named.tuple, named.zone.unwrap_or(0));
    let found = found.map_err(|error| explain(connection, error, &named.tuple))?;
    Ok(found.filter(|flow| named.is(flow)))
}

/// The kernel refuses a tuple of ICMP whose type it does not track with EINVAL (`icmp_nlattr_to_tuple` in
/// net/netfilter/nf_conntrack_proto_icmp.c), which is also the answer of a kernel without ctnetlink.
fn explain(connection: &mut Connection, error: Error, tuple: &Tuple) -> anyhow::Error {
    let ctnl::model::L4::Icmp { kind, .. } = tuple.l4 else { return error.into() };
    if error.errno() != Some(Errno::EINVAL) || table::count(connection).is_err() {
        return error.into();
    }
    let protocol = protocol_name(tuple.protocol).unwrap_or("icmp");
    let echo = if tuple.protocol == Protocol::Icmp { 8 } else { 128 };
    match family_hint(tuple) {
        Some(hint) => anyhow!("the kernel has no such tuple of {protocol}\n  hint: {hint}"),
        None => anyhow!(
            "the kernel does not track {protocol} type {kind}: expected a query or its reply, e.g. type={echo} (echo \
             request)"
        ),
    }
}

/// Which protocol is meant where ICMP and the addresses are of different families.
fn family_hint(tuple: &Tuple) -> Option<&'static str> {
    match (tuple.protocol, tuple.src.is_ipv4()) {
        (Protocol::Icmp, false) => Some("with IPv6 addresses the protocol is icmpv6"),
        (Protocol::Ipv6Icmp, true) => Some("with IPv4 addresses the protocol is icmp"),
        _ => None,
    }
}

/// The message that there is no such entry, with what is there instead. With `with_hints`, other zones are
/// searched, too.
pub fn why_missing(lookup: &mut Lookup, with_hints: bool) -> String {
    let Lookup { named, connection } = lookup;
    let zone = named.zone.unwrap_or(0);
    if let Ok(Some(_)) = find_ipv6(connection, named) {
        return format!(
            "no such IPv4 entry in zone {zone}: the entry with these addresses is one of IPv6\n  hint: write ipv6 in front \
             of the protocol, in JSON the key family"
        );
    }
    if let Ok(Some(found)) = table::get(connection, &named.tuple, zone) {
        return format!("no such entry in zone {zone}: {}", difference(named, &found));
    }
    let message = if named.lacks_zone && named.zone.is_none() {
        "no such entry in any zone".to_owned()
    } else {
        format!("no such entry in zone {zone}")
    };
    let hint = if with_hints { hint(connection, named) } else { None };
    match hint {
        Some(hint) => format!("{message}\n  hint: {hint}"),
        None => message,
    }
}

/// How the entry that has the tuple differs from the one that was named.
fn difference(named: &NamedEntry, found: &Flow) -> String {
    match (named.id, found.id) {
        (Some(named), Some(found)) if named != found => {
            format!("the entry with this tuple has another id, {found}, not {named}")
        }
        _ if NamedEntry { reply: None, ..named.clone() }.is(found) => {
            "the entry with this tuple has another reply tuple".to_owned()
        }
        _ => "this kernel does not track its ports, and the entry of the two addresses has none".to_owned(),
    }
}

fn hint(connection: &mut Connection, named: &NamedEntry) -> Option<String> {
    if let Some(hint) = family_hint(&named.tuple) {
        return Some(hint.to_owned());
    }
    if table::count(connection).is_ok_and(|occupancy| occupancy.entries == 0) {
        return Some(format!("the table is empty: {NOTHING_TRACKED}"));
    }
    match *table::zones_of(connection, &named.tuple).ok()? {
        [] => None,
        [zone] => Some(format!("this tuple is in zone {zone}: add --zone {zone}")),
        ref zones => Some(format!("this tuple is in {}: add --zone", list_zones(zones))),
    }
}

/// `zones 0, 5 and 7`; of many, the first ones.
fn list_zones(zones: &[u16]) -> String {
    const SHOWN: usize = 10;
    let numbers: Vec<String> = zones.iter().take(SHOWN).map(u16::to_string).collect();
    match numbers.split_last() {
        Some((last, others)) if zones.len() <= SHOWN => format!("zones {} and {last}", others.join(", ")),
        _ => format!("{} zones: {}, …", zones.len(), numbers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_save_is_found_among_the_arguments_of_get_and_delete() {
        let refused = |words: &[&str]| {
            let arguments: Vec<OsString> = ["ctnl"].iter().chain(words).map(OsString::from).collect();
            refused_line(&arguments).map(|error| error.to_string())
        };
        for words in [&["get", "-A", "-t", "119", "-s", "10.0.0.1"][..], &["delete", "-q", "-A -t 119 -s 10.0.0.1"]] {
            let error = refused(words).unwrap_or_default();
            assert!(error.starts_with("a line of '-o save' is not supported here\n  -A -t 119"), "{error}");
            assert!(error.contains("hint: paste the line of '-o conntrack' or '-o json'"), "{error}");
        }
        assert_eq!(refused(&["get", "tcp", "--fnord"]), None);
        assert_eq!(refused(&["list", "-A"]), None);
    }

    #[test]
    fn the_first_zones_of_many_are_listed() {
        assert_eq!(list_zones(&[0, 5, 7]), "zones 0, 5 and 7");
        let many: Vec<u16> = (1..=300).collect();
        assert_eq!(list_zones(&many), "300 zones: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …");
    }

    #[test]
    fn a_namespace_of_an_event_has_a_file_unless_it_is_named_by_a_process() {
        let host = Host::system();
        let path = |name: &str| path_of(name, &host).map(|path| path.display().to_string());
        assert_eq!(path("host").as_deref(), Some("/proc/1/ns/net"));
        assert_eq!(path("blue").as_deref(), Some("/run/netns/blue"));
        assert_eq!(path("/run/docker/netns/x").as_deref(), Some("/run/docker/netns/x"));
        assert_eq!(path("pid:77(tmux: server)"), None);
    }
}
