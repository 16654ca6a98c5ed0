//! A kernel that is made up, for tests: what its dumps hold, datagram by datagram.

use ctnl::model::{Flow, L4, Protocol, Tuple};
use ctnl::netlink::Connection;
use ctnl::wire::uapi::{cta, ipctnl_msg_ct, nfnl_subsys};
use ctnl::wire::{Batch, Header, Messages};
use netlink_packet_core::{NLM_F_MULTIPART, NLMSG_DONE};

/// A UDP flow that differs from that of any other source port.
pub fn flow(port: u16) -> Flow {
    let [src, dst] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Into::into);
    let l4 = L4::Ports { src: port, dst: 53 };
    let orig = Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED };
    Flow::new(orig, orig.inverse())
}

/// A kernel that answers each request for a dump with these datagrams.
pub fn table(datagrams: Vec<Vec<Flow>>) -> Connection {
    Connection::fake(move |request| {
        let sequence = Messages::new(request).next().unwrap().unwrap().sequence;
        datagrams.iter().map(|flows| datagram(flows, sequence)).chain([done(sequence)]).collect()
    })
}

fn datagram(flows: &[Flow], sequence: u32) -> Vec<u8> {
    let mut batch = Batch::new();
    for flow in flows {
        let header = Header {
            subsystem: nfnl_subsys::CTNETLINK,
            command: ipctnl_msg_ct::NEW,
            flags: NLM_F_MULTIPART,
            family: flow.family,
            sequence,
        };
        batch.push(header, |writer| {
            flow.orig.emit(writer, cta::TUPLE_ORIG);
            flow.reply.emit(writer, cta::TUPLE_REPLY);
            writer.put(cta::STATUS, &flow.status.bits().to_be_bytes());
        });
    }
    batch.as_bytes().to_vec()
}

/// The end of a dump: a header, and 0 for its errno.
fn done(sequence: u32) -> Vec<u8> {
    let head = [&20u32.to_ne_bytes()[..], &NLMSG_DONE.to_ne_bytes(), &NLM_F_MULTIPART.to_ne_bytes()].concat();
    [&head[..], &sequence.to_ne_bytes(), &[0; 8]].concat()
}
