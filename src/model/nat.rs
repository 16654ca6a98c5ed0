//! NAT of a flow.

use super::flow::Flow;
use super::status::Status;

/// The addresses and ports of a flow that NAT rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nat {
    /// The source address: replies go to another address.
    pub src: bool,
    /// The source port.
    pub sport: bool,
    /// The destination address: replies come from another address.
    pub dst: bool,
    /// The destination port.
    pub dport: bool,
}

impl Nat {
    /// NAT as of the status bits (`IPS_SRC_NAT`, `IPS_DST_NAT`) and the differences between the
    /// two tuples.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        let (orig, reply) = (&flow.orig, &flow.reply);
        let src = flow.status.contains(Status::SrcNat);
        let dst = flow.status.contains(Status::DstNat);
        let port = |from: Option<u16>, to: Option<u16>| from.is_some() && from != to;
        Nat {
            src: src && reply.dst != orig.src,
            sport: src && port(orig.sport(), reply.dport()),
            dst: dst && reply.src != orig.dst,
            dport: dst && port(orig.dport(), reply.sport()),
        }
    }
}
