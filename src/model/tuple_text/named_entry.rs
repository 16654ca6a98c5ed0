//! The name of one entry.

use std::net::IpAddr;

use super::super::flow::Flow;
use super::super::protocol::Protocol;
use super::super::tuple::{L4, Tuple};

/// The name of one entry: its tuple, and what else was given to identify it.
///
/// ```
/// use ctnl::model::NamedEntry;
///
/// let short: NamedEntry = "tcp 10.0.0.1:40000 10.0.0.2:443".parse()?;
/// let line = "tcp src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=443".parse()?;
/// assert_eq!(short, line);
/// assert_eq!(short.tuple.ports(), Some((40000, 443)));
///
/// let error = "tcp 10.0.0.1:40000 10.0.0.2".parse::<NamedEntry>().unwrap_err();
/// assert_eq!(error.to_string(), "incomplete tcp tuple: missing 'dport'");
/// # Ok::<(), ctnl::model::NamedEntryError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEntry {
    /// The tuple of either direction. Its zone is in `zone`.
    pub tuple: Tuple,
    /// The tuple of the other direction.
    pub reply: Option<Tuple>,
    /// The zone in which the tuple is looked up. Without one it is 0, unless `lacks_zone` is set.
    pub zone: Option<u16>,
    /// The text shows only some columns of the entry, none of which is the zone: it may be any.
    pub lacks_zone: bool,
    /// The addresses are written as IPv4-mapped ones (`::ffff:192.0.2.3`), without a family. `tuple` is that of the
    /// IPv4 entry; an IPv6 entry with these addresses is printed alike.
    pub may_be_ipv6: bool,
    /// The kernel's id of the entry.
    pub id: Option<u32>,
    /// The network namespace of the entry, as the record of an event names it.
    pub netns: Option<Box<str>>,
}

impl NamedEntry {
    /// The name of the IPv6 entry that the text may mean as well; `None` where `may_be_ipv6` is not set.
    #[must_use]
    pub fn as_ipv6(&self) -> Option<NamedEntry> {
        let (tuple, reply) = (mapped(self.tuple), self.reply.map(mapped));
        self.may_be_ipv6.then(|| NamedEntry { tuple, reply, may_be_ipv6: false, ..self.clone() })
    }

    /// Whether `flow`, which a lookup has found, is the entry that was named.
    ///
    /// A kernel that does not track a protocol ignores the ports of a request
    /// (`ctnetlink_parse_tuple_proto` in net/netfilter/nf_conntrack_netlink.c: its tracker is the generic one,
    /// which has no `nlattr_to_tuple`), so that a
    /// lookup with ports may find the entry without ports.
    #[must_use]
    pub fn is(&self, flow: &Flow) -> bool {
        let is_orig = is_same(&self.tuple, &flow.orig) && self.reply.is_none_or(|reply| is_same(&reply, &flow.reply));
        let is_reply = is_same(&self.tuple, &flow.reply) && self.reply.is_none_or(|reply| is_same(&reply, &flow.orig));
        (is_orig || is_reply) && self.id.is_none_or(|id| flow.id == Some(id))
    }
}

/// The tuple with IPv4-mapped addresses.
fn mapped(tuple: Tuple) -> Tuple {
    let mapped = |address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        address @ IpAddr::V6(_) => address,
    };
    Tuple { src: mapped(tuple.src), dst: mapped(tuple.dst), ..tuple }
}

/// Whether a tuple that was named is the tuple of an entry. Zones are not compared.
fn is_same(named: &Tuple, found: &Tuple) -> bool {
    // conntrack(8) prints ports of 0 where the kernel sends none.
    let prints_zeroes = matches!(found.protocol, Protocol::Dccp | Protocol::UdpLite) && found.l4 == L4::None;
    let is_same_l4 = named.l4 == found.l4 || prints_zeroes && named.l4 == L4::Ports { src: 0, dst: 0 };
    named.src == found.src && named.dst == found.dst && named.protocol == found.protocol && is_same_l4
}
