//! The addresses of this host in one network namespace, and the neighbours that do not answer.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;

use ctnl::host::Host;
use nix::ifaddrs::getifaddrs;

use super::Reading;

/// The bytes of the neighbour table that are read: some 16,000 lines. Its limit is `gc_thresh3`, 1024 by default.
const MAX_NEIGHBOURS: u64 = 2 * 1024 * 1024;
/// The addresses that are kept.
const MAX_ADDRESSES: usize = 65_536;

/// The addresses of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Those of all interfaces.
    pub local: BTreeSet<IpAddr>,
    /// IPv4 addresses in the local network that do not answer ARP.
    pub unanswered: BTreeSet<IpAddr>,
}

impl Addresses {
    /// Reads those of the namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel does not list them, or has more than can be kept. A neighbour table that cannot be read is taken for
    /// one without entries: it only adds to what is found otherwise.
    pub fn read(host: &Host) -> Reading<Self> {
        let listed = getifaddrs().map_err(|errno| format!("the addresses of this host cannot be read: {errno}"))?;
        let local: BTreeSet<_> =
            listed.filter_map(|interface| address_of(&interface)).take(MAX_ADDRESSES + 1).collect();
        if local.len() > MAX_ADDRESSES {
            return Err(format!("this host has more than {MAX_ADDRESSES} addresses"));
        }
        let arp = fs::File::open(host.proc().join("thread-self/net/arp"));
        let unanswered = arp.and_then(unanswered).unwrap_or_default();
        Ok(Addresses { local, unanswered })
    }
}

fn address_of(interface: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// The addresses whose entries are not complete: `address type flags hardware-address mask device` (`arp_format_neigh_entry`
/// in net/ipv4/arp.c), where flags have no `ATF_COM` (0x2).
fn unanswered(table: impl Read) -> io::Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    for line in BufReader::new(table.take(MAX_NEIGHBOURS)).lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        let flags = words.nth(1).and_then(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        if let (Some(address), Some(flags)) = (address, flags)
            && flags & 0x2 == 0
        {
            found.insert(address);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_a_namespace_are_those_of_its_interfaces() {
        let host = Host::system();
        let listed = getifaddrs().unwrap().filter_map(|interface| address_of(&interface));
        assert_eq!(Addresses::read(&host).unwrap().local, listed.collect());
    }

    #[test]
    fn a_neighbour_without_a_hardware_address_does_not_answer() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        eth0
192.0.2.8        0x1         0x2         02:00:00:00:00:01     *        eth0
192.0.2.9        0x1         0x6         02:00:00:00:00:02     *        eth0
";
        assert_eq!(unanswered(table.as_bytes()).unwrap(), BTreeSet::from(["192.0.2.7".parse().unwrap()]));
    }
}
