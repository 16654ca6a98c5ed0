//! Settings and rules for review that keep such entries out of the table.

use std::net::IpAddr;

use crate::doctor::evidence::survey::Destination;

/// Rules that exempt a destination from tracking, in both directions.
pub fn untracked(destination: &Destination) -> String {
    let (family, service) = service(destination);
    let back = service.replace("daddr", "saddr").replace("dport", "sport");
    format!(
        "# If no rule and no NAT needs the state of that traffic: exempt it from tracking, both directions (review first).\n\
         table inet ctnl_untracked {{\n  chain prerouting {{ type filter hook prerouting priority raw; {family} {service} notrack; \
         {family} {back} notrack; }}\n  chain output {{ type filter hook output priority raw; {family} {service} notrack; \
         {family} {back} notrack; }}\n}}"
    )
}

/// What keeps the state of a handshake out of the table until it is complete: lines of a shell, and of nft.
pub fn syn_flood(destination: &Destination) -> [String; 2] {
    let (family, service) = service(destination);
    let settings = "\
# In a shell, on the server where the socket is:
sysctl -w net.ipv4.tcp_syncookies=1
# In a shell, on a firewall before it, for the rules of SYNPROXY (review first). It is for all connections of this namespace:
# the entry of an established one that is flushed afterwards does not come back, and its packets are INVALID. So do not flush
# established connections while it is 0; 1 is the default.
sysctl -w net.netfilter.nf_conntrack_tcp_loose=0";
    let rules = format!(
        "# For nft -f, on a firewall before it: SYNPROXY answers SYNs without an entry (review first).\n\
         table inet ctnl_syn_flood {{\n  chain prerouting {{ type filter hook prerouting priority raw; {family} {service} tcp flags syn \
         notrack; }}\n  chain forward {{ type filter hook forward priority filter; {family} {service} ct state \
         invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm; {family} {service} ct state invalid drop; }}\n}}"
    );
    [settings.to_owned(), rules]
}

/// A rule that blocks a source.
pub fn block(source: IpAddr) -> String {
    let family = if source.is_ipv4() { "ip" } else { "ip6" };
    format!(
        "# If that host is not to do this: block it before it has an entry (review first).\n\
         table inet ctnl_blocked {{\n  chain prerouting {{ type filter hook prerouting priority raw; {family} saddr {source} drop; }}\n}}"
    )
}

/// The family of the address, and the match of nft for address and port.
fn service(destination: &Destination) -> (&'static str, String) {
    let Destination { address, port, .. } = destination;
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    let protocol = destination.protocol_name();
    match port {
        Some(port) => (family, format!("daddr {address} {protocol} dport {port}")),
        None => (family, format!("daddr {address} meta l4proto {protocol}")),
    }
}
