//! The limit: the kernel's own time for a dump over one socket and over two, for a flush, for creates in batches,
//! and for events, when the received data is discarded.
//!
//! Runs as a child process, so that it is measured in the same way as the programs that it is
//! compared with. Uses a plain netlink socket, not `ctnl::netlink`.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ctnl::model::{Family, Status};
use ctnl::wire::uapi::{cta, ipctnl_msg_ct, nfnl_subsys};
use ctnl::wire::{Batch, Header};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use signal_hook::consts::SIGTERM;

/// The kernel fills at most 32 KiB.
const BUFFER: usize = 64 * 1024;
/// The receive buffer of event listeners, in bytes.
pub const EVENT_QUEUE: usize = 8 * 1024 * 1024;
/// Sleep of a listener whose receive buffer is empty.
const SLEEP: Duration = Duration::from_millis(1);

/// Receives the whole table, parses the message headers and discards the rest. Returns the number of
/// entries.
pub fn dump() -> Result<u64> {
    let mut request = Batch::new();
    request.push(header(ipctnl_msg_ct::GET, NLM_F_DUMP), |_| {});
    converse(&request)
}

/// The same over two sockets, on two threads: the ASSURED half, and the other one.
pub fn halves() -> Result<u64> {
    let half = |value: u32| {
        let mut request = Batch::new();
        request.push(header(ipctnl_msg_ct::GET, NLM_F_DUMP), |writer| {
            writer.put(cta::STATUS, &value.to_be_bytes());
            writer.put(cta::STATUS_MASK, &Status::Assured.bits().to_be_bytes());
        });
        converse(&request)
    };
    let (here, there) = thread::scope(|scope| {
        let there = scope.spawn(|| half(0));
        let here = half(Status::Assured.bits());
        (here, there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    Ok(here? + there?)
}

/// Receives and discards the events of a multicast group until SIGTERM: reads until the receive
/// buffer is empty, then sleeps. Returns their number.
pub fn listen(group: u32) -> Result<u64> {
    let ended = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&ended)).context("catch SIGTERM")?;
    let mut socket = Socket::new(NETLINK_NETFILTER).context("open a netlink socket")?;
    socket.bind_auto().context("bind a netlink socket")?;
    setsockopt(&socket, sockopt::RcvBufForce, &EVENT_QUEUE).context("ask for a queue")?;
    socket.set_non_blocking(true).context("set non-blocking")?;
    socket.add_membership(group).context("join the group")?;
    let (mut buffer, mut events) = (vec![0; BUFFER], 0);
    loop {
        match socket.recv(&mut buffer.as_mut_slice(), 0) {
            Ok(length) => drop(walk(buffer.get(..length).unwrap_or_default(), &mut events)?),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && ended.load(Ordering::Relaxed) => return Ok(events),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(SLEEP),
            Err(error) => return Err(error).context("receive"),
        }
    }
}

/// Sends one request that deletes every entry, or every entry with the mark `mark`.
pub fn flush(mark: Option<u32>) -> Result<()> {
    let mut request = Batch::new();
    request.push(header(ipctnl_msg_ct::DELETE, NLM_F_ACK), |writer| {
        if let Some(mark) = mark {
            writer.put(cta::MARK, &mark.to_be_bytes());
            writer.put(cta::MARK_MASK, &u32::MAX.to_be_bytes());
        }
    });
    converse(&request).map(drop)
}

/// Sends the datagrams of the file `requests`, each behind its length, and receives the acknowledgement of each.
pub fn create(requests: &str) -> Result<()> {
    let file = File::open(requests).with_context(|| format!("open {requests}"))?;
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut socket = Socket::new(NETLINK_NETFILTER).context("open a netlink socket")?;
    socket.bind_auto().context("bind a netlink socket")?;
    let (mut datagram, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    while !file.fill_buf().context("read the requests")?.is_empty() {
        let mut length = [0; 4];
        file.read_exact(&mut length).context("read the requests")?;
        datagram.resize(u32::from_ne_bytes(length) as usize, 0);
        file.read_exact(&mut datagram).context("read the requests")?;
        socket.send(&datagram, 0).context("send")?;
        let received = socket.recv(&mut buffer.as_mut_slice(), 0).context("receive")?;
        ensure!(walk(buffer.get(..received).unwrap_or_default(), &mut 0)?, "no acknowledgement");
    }
    Ok(())
}

fn header(command: u8, flags: u16) -> Header {
    Header { subsystem: nfnl_subsys::CTNETLINK, command, flags, family: Family::UNSPEC, sequence: 1 }
}

/// Sends `request` and receives until its end. Returns the number of data messages.
fn converse(request: &Batch) -> Result<u64> {
    let mut socket = Socket::new(NETLINK_NETFILTER).context("open a netlink socket")?;
    socket.bind_auto().context("bind a netlink socket")?;
    socket.send(request.as_bytes(), 0).context("send")?;
    let mut buffer = vec![0; BUFFER];
    let mut messages = 0;
    loop {
        let length = socket.recv(&mut buffer.as_mut_slice(), 0).context("receive")?;
        if walk(buffer.get(..length).unwrap_or_default(), &mut messages)? {
            return Ok(messages);
        }
    }
}

/// Counts the messages of a datagram. Returns whether the last one is among them.
fn walk(mut datagram: &[u8], messages: &mut u64) -> Result<bool> {
    while let Some([l0, l1, l2, l3, t0, t1, ..]) = datagram.first_chunk::<16>() {
        let length = u32::from_ne_bytes([*l0, *l1, *l2, *l3]) as usize;
        match u16::from_ne_bytes([*t0, *t1]) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code =
                    datagram.get(16..20).and_then(|bytes| bytes.first_chunk()).map_or(-1, |b| i32::from_ne_bytes(*b));
                ensure!(code == 0, "the kernel refused: error {code}");
                return Ok(true);
            }
            _ => *messages += 1,
        }
        datagram = datagram.get(length.next_multiple_of(4).max(16)..).unwrap_or_default();
    }
    Ok(false)
}
