//! One SSH connection, and which conntrack entry carries it.

use std::net::{IpAddr, SocketAddr};

use ctnl::model::{Flow, Protocol, Tuple};

/// An SSH connection: both ends as the server has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SshSession {
    /// The end of the client.
    pub client: SocketAddr,
    /// The end of the server.
    pub server: SocketAddr,
}

impl SshSession {
    /// Parses `SSH_CONNECTION`: `CLIENT PORT SERVER PORT`.
    pub fn parse(variable: &str) -> Option<Self> {
        let mut words = variable.split_ascii_whitespace();
        let mut endpoint = || -> Option<SocketAddr> {
            let address: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
            Some(SocketAddr::new(address.to_canonical(), words.next()?.parse().ok()?))
        };
        Some(SshSession { client: endpoint()?, server: endpoint()? })
    }

    /// The sessions that `flow` may carry, before and after NAT; none where it is not of TCP.
    pub fn carried_by(flow: &Flow) -> impl Iterator<Item = Self> {
        let tuples = (flow.orig.protocol == Protocol::Tcp).then_some([flow.orig, flow.reply]);
        tuples.into_iter().flatten().filter_map(|tuple| Self::both_ways(&tuple)).flatten()
    }

    fn both_ways(tuple: &Tuple) -> Option<[Self; 2]> {
        let (sport, dport) = tuple.ports()?;
        let (client, server) = (SocketAddr::new(tuple.src, sport), SocketAddr::new(tuple.dst, dport));
        Some([SshSession { client, server }, SshSession { client: server, server: client }])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ctnl::model::L4;

    fn tcp(src: &str, dst: &str) -> Tuple {
        let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let l4 = L4::Ports { src: src.port(), dst: dst.port() };
        let (src, dst) = (src.ip(), dst.ip());
        Tuple { src, dst, protocol: Protocol::Tcp, l4, zone: None, has_unknown_part: false }
    }

    #[test]
    fn a_session_is_recognized_in_its_flow_also_behind_destination_nat() {
        let session = SshSession::parse("192.0.2.7 50123 10.0.0.1 22").unwrap();
        let plain = Flow::new(tcp("192.0.2.7:50123", "10.0.0.1:22"), tcp("10.0.0.1:22", "192.0.2.7:50123"));
        let dnat = Flow::new(tcp("192.0.2.7:50123", "198.51.100.1:2222"), tcp("10.0.0.1:22", "192.0.2.7:50123"));
        let other = Flow::new(tcp("192.0.2.7:50124", "10.0.0.1:22"), tcp("10.0.0.1:22", "192.0.2.7:50124"));
        let is_carried_by = |flow| SshSession::carried_by(flow).any(|carried| carried == session);
        assert!(is_carried_by(&plain));
        assert!(is_carried_by(&dnat));
        assert!(!is_carried_by(&other));
    }

    #[test]
    fn an_ipv4_session_on_an_ipv6_socket_is_the_same_session() {
        let mapped = SshSession::parse("::ffff:192.0.2.7 50123 ::ffff:10.0.0.1 22");
        assert_eq!(mapped, SshSession::parse("192.0.2.7 50123 10.0.0.1 22"));
        assert!(SshSession::parse("fe80::1%eth0 50123 fe80::2%eth0 22").is_some());
        assert_eq!(SshSession::parse("192.0.2.7 50123"), None);
    }
}
