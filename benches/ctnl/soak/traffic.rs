//! Live flows through the router. Of ten flows six send every 1 to 4 s, two are silent for
//! [`SILENCE`] at a time, and two send once and then stay silent: a flush has to delete their entries.
//! After its entry was deleted, a silent flow sends once more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ctnl::model::Tuple;
use ctnl::netlink::{Connection, Netns};
use ctnl::table;
use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::net::Net;

use super::SILENCE;

const TCP_FLOWS: usize = 400;
const UDP_FLOWS: usize = 800;
/// How often the entries of the flows that sent once are looked up.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(2);

/// All flows.
pub struct Traffic(Vec<LiveFlow>);

struct LiveFlow {
    sockets: Sockets,
    pattern: Pattern,
}

enum Sockets {
    Tcp(Tcp),
    Udp(Udp),
}

/// When a flow sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Every(Duration),
    /// Once, and once more after its entry was deleted.
    Once,
}

impl Pattern {
    fn of(number: usize) -> Self {
        match number % 10 {
            0..6 => {
                // A multiple of a prime: the intervals are spread over 1 to 4 s.
                let milliseconds = 1000 + number.wrapping_mul(617) % 3000;
                Pattern::Every(Duration::from_millis(milliseconds.try_into().unwrap_or(1000)))
            }
            6 | 7 => Pattern::Every(SILENCE),
            _ => Pattern::Once,
        }
    }
}

impl Traffic {
    /// Opens all flows, half of them over IPv6.
    pub fn open(net: &Net<'_>) -> Self {
        let tcp = |number: usize| if number.is_multiple_of(2) { Tcp::open(net) } else { Tcp::open6(net) };
        let udp = |number: usize| if number.is_multiple_of(2) { Udp::open(net) } else { Udp::open6(net) };
        let tcp = (0..TCP_FLOWS).map(|number| (number, Sockets::Tcp(tcp(number))));
        let udp = (0..UDP_FLOWS).map(|number| (number, Sockets::Udp(udp(number))));
        // The parity of the number is that of the family: the pattern depends on the rest.
        Traffic(
            tcp.chain(udp).map(|(number, sockets)| LiveFlow { sockets, pattern: Pattern::of(number / 2) }).collect(),
        )
    }

    /// Sends until `stop` is set. Returns how many packets were answered.
    pub fn run(mut self, stop: &AtomicBool) -> Result<u64> {
        let mut connection = Connection::open(&Netns::Current)?;
        let (start, mut sent) = (Instant::now(), 0);
        let first = |nth: usize| start + SILENCE.mul_f64(nth as f64 / self.0.len() as f64);
        let mut due: BinaryHeap<_> = (0..self.0.len()).map(|nth| Reverse((first(nth), nth))).collect();
        let mut next_lookup = start + LOOKUP_INTERVAL;
        while !stop.load(Ordering::Relaxed) {
            if Instant::now() >= next_lookup {
                sent += self.resend_deleted(&mut connection)?;
                next_lookup = Instant::now() + LOOKUP_INTERVAL;
            }
            let now = Instant::now();
            match due.peek().copied() {
                Some(Reverse((time, nth))) if time <= now => {
                    due.pop();
                    sent += self.send(nth);
                    if let Some(Pattern::Every(interval)) = self.0.get(nth).map(|flow| flow.pattern) {
                        due.push(Reverse((Instant::now() + interval, nth)));
                    }
                }
                Some(Reverse((time, _))) => thread::sleep((time - now).min(Duration::from_millis(50))),
                None => thread::sleep(Duration::from_millis(50)),
            }
        }
        Ok(sent)
    }

    /// Sends on the flows that sent once and whose entries no longer exist. Returns their number.
    fn resend_deleted(&mut self, connection: &mut Connection) -> Result<u64> {
        let mut sent = 0;
        for nth in 0..self.0.len() {
            let Some(flow) = self.0.get(nth).filter(|flow| flow.pattern == Pattern::Once) else { continue };
            if table::get(connection, &flow.sockets.tuple(), 0)?.is_none() {
                sent += self.send(nth);
            }
        }
        Ok(sent)
    }

    /// One exchange on a flow.
    fn send(&mut self, nth: usize) -> u64 {
        match self.0.get_mut(nth).map(|flow| &mut flow.sockets) {
            Some(Sockets::Tcp(tcp)) => tcp.exchange(),
            Some(Sockets::Udp(udp)) => udp.exchange(),
            None => return 0,
        }
        1
    }
}

impl Sockets {
    fn tuple(&self) -> Tuple {
        match self {
            Sockets::Tcp(tcp) => tcp.tuple(),
            Sockets::Udp(udp) => udp.tuple(),
        }
    }
}
