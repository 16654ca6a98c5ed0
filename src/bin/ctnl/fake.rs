//! A made-up kernel for tests: the datagrams of its dumps.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ctnl::model::{Family, Flow, L4, Protocol, Tuple};
use ctnl::netlink::Connection;
use ctnl::wire::uapi::{cta, cta_stats_global, cttimeout, ipctnl_msg_ct, nfnl_subsys};
use ctnl::wire::{Batch, Header, Message, Messages};
use netlink_packet_core::{NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR};
use nix::errno::Errno;

/// A UDP flow, a different one for each source port.
pub fn flow(port: u16) -> Flow {
    let [src, dst] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Into::into);
    let l4 = L4::Ports { src: port, dst: 53 };
    let orig = Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED };
    Flow::new(orig, orig.inverse())
}

/// A kernel that answers each request for a dump with these datagrams.
pub fn table(datagrams: Vec<Vec<Flow>>) -> Connection {
    table_that_ends(datagrams, done)
}

/// The same, with another last datagram than the end of the dump: `end` makes it from the sequence number.
pub fn table_that_ends(datagrams: Vec<Vec<Flow>>, end: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Connection {
    Connection::fake(move |request| {
        let sequence = Messages::new(request).next().unwrap().unwrap().sequence;
        datagrams.iter().map(|flows| datagram(flows, sequence)).chain([end(sequence)]).collect()
    })
}

/// A kernel whose table changes between its dumps: one datagram for each of them. The last one is repeated.
pub fn changing_table(dumps: Vec<Vec<Flow>>) -> Connection {
    let next = AtomicUsize::new(0);
    Connection::fake(move |request| {
        let sequence = Messages::new(request).next().unwrap().unwrap().sequence;
        let dump = dumps.get(next.fetch_add(1, Ordering::Relaxed)).or(dumps.last()).unwrap();
        vec![datagram(dump, sequence), done(sequence)]
    })
}

/// A kernel that refuses every request that has attributes, as one does that cannot filter, and
/// otherwise answers with these datagrams.
pub fn table_without_filters(datagrams: Vec<Vec<Flow>>) -> Connection {
    Connection::fake(move |request| {
        let request = Messages::new(request).next().unwrap().unwrap();
        if request.attributes().next().is_some() {
            return vec![refusal(request.sequence, Errno::EOPNOTSUPP)];
        }
        let sequence = request.sequence;
        datagrams.iter().map(|flows| datagram(flows, sequence)).chain([done(sequence)]).collect()
    })
}

/// A kernel that has only UDP timeouts, both with the number of seconds that `seconds` has at the time, and
/// no policies.
pub fn udp_timeouts(seconds: Arc<AtomicU32>) -> Connection {
    const UDP: u8 = 17;
    Connection::fake(move |request| {
        let request = Messages::new(request).next().unwrap().unwrap();
        let is_for_udp = request.attributes().any(|attribute| {
            let attribute = attribute.unwrap();
            attribute.kind == cttimeout::L4PROTO && attribute.u8() == Ok(UDP)
        });
        if !is_for_udp {
            return vec![refusal(request.sequence, Errno::EOPNOTSUPP)];
        }
        let seconds = seconds.load(Ordering::Relaxed).to_be_bytes();
        let header = Header {
            subsystem: nfnl_subsys::CTNETLINK_TIMEOUT,
            command: cttimeout::MSG_DEFAULT_GET,
            flags: 0,
            family: Family::UNSPEC,
            sequence: request.sequence,
        };
        let mut batch = Batch::new();
        batch.push(header, |writer| {
            writer.put(cttimeout::L4PROTO, &[UDP]);
            // Two attributes of eight bytes: 1 for flows that are no streams, 2 for streams.
            let timeout = |number: u16| [&8_u16.to_ne_bytes()[..], &number.to_ne_bytes(), &seconds].concat();
            writer.put(cttimeout::DATA, &[timeout(1), timeout(2)].concat());
        });
        vec![batch.as_bytes().to_vec(), message(NLMSG_ERROR, 0, request.sequence, &[0; 20])]
    })
}

/// A kernel with `max` entries at most (0: no limit), of which there are `entries`: it creates whatever is requested and
/// adds it to them.
pub fn table_with_room(entries: Arc<AtomicU32>, max: u32) -> Connection {
    Connection::fake(move |datagram| {
        let requests: Vec<_> = Messages::new(datagram).map(Result::unwrap).collect();
        let sequence = requests.last().unwrap().sequence;
        let done = message(NLMSG_ERROR, 0, sequence, &[0; 20]);
        let is_new = |request: &Message<'_>| request.attributes().any(|part| part.unwrap().kind == cta::TUPLE_ORIG);
        if requests.iter().all(is_new) {
            let created = u32::try_from(requests.len()).unwrap();
            let now = entries.fetch_add(created, Ordering::Relaxed) + created;
            assert!(max == 0 || now <= max, "the kernel would evict entries");
            return vec![done];
        }
        vec![count(entries.load(Ordering::Relaxed), max, sequence), done]
    })
}

/// The answer to a request for the number of entries.
fn count(entries: u32, max: u32, sequence: u32) -> Vec<u8> {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK,
        command: ipctnl_msg_ct::GET_STATS,
        flags: 0,
        family: Family::UNSPEC,
        sequence,
    };
    let mut batch = Batch::new();
    batch.push(header, |writer| {
        writer.put(cta_stats_global::ENTRIES, &entries.to_be_bytes());
        writer.put(cta_stats_global::MAX_ENTRIES, &max.to_be_bytes());
    });
    batch.as_bytes().to_vec()
}

/// A kernel whose table has `flow` and says that it has `counted` entries. It carries out everything else, and adds the
/// command of each request to `sent`.
pub fn table_with_one(flow: Flow, counted: u32, sent: Arc<Mutex<Vec<u8>>>) -> Connection {
    Connection::fake(move |request| {
        let request = Messages::new(request).next().unwrap().unwrap();
        let [_, command] = request.kind.to_be_bytes();
        sent.lock().unwrap().push(command);
        let ack = message(NLMSG_ERROR, 0, request.sequence, &[0; 20]);
        match command {
            ipctnl_msg_ct::GET => vec![datagram(std::slice::from_ref(&flow), request.sequence), ack],
            ipctnl_msg_ct::GET_STATS => vec![count(counted, 0, request.sequence), ack],
            _ => vec![ack],
        }
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
            flow.timeout.into_iter().for_each(|left| writer.put(cta::TIMEOUT, &left.to_be_bytes()));
        });
    }
    batch.as_bytes().to_vec()
}

/// The end of a dump: a header, and 0 as its errno.
pub fn done(sequence: u32) -> Vec<u8> {
    message(NLMSG_DONE, NLM_F_MULTIPART, sequence, &[0; 4])
}

/// The answer to a request that the kernel refuses: a negative errno, and the request's header.
fn refusal(sequence: u32, errno: Errno) -> Vec<u8> {
    message(NLMSG_ERROR, 0, sequence, &[&(-(errno as i32)).to_ne_bytes()[..], &[0; 16]].concat())
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes()].concat();
    [&head[..], &sequence.to_ne_bytes(), &[0; 4], payload].concat()
}
