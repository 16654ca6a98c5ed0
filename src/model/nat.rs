//! Which addresses of a flow are rewritten.

use super::flow::Flow;
use super::status::Status;

/// What NAT does to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nat {
    /// The source address is rewritten: the reply goes to another address.
    pub src: bool,
    /// The source port is rewritten.
    pub sport: bool,
    /// The destination address is rewritten: the reply comes from another address.
    pub dst: bool,
    /// The destination port is rewritten.
    pub dport: bool,
}

impl Nat {
    /// NAT as the kernel says it: the status bit, with which of address and port
    /// differ between the two tuples.
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
