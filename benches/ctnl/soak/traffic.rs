//! Live flows through the router: each speaks, is silent, and speaks again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::net::Net;

use super::SILENT;

const TCP_FLOWS: usize = 400;
const UDP_FLOWS: usize = 800;

/// All flows.
pub struct Traffic(Mutex<Flows>);

struct Flows {
    tcp: Vec<Tcp>,
    udp: Vec<Udp>,
}

impl Traffic {
    /// Opens them, half of the UDP flows over IPv6.
    pub fn open(net: &Net<'_>) -> Self {
        let tcp = (0..TCP_FLOWS).map(|nth| if nth % 2 == 0 { Tcp::open(net) } else { Tcp::open6(net) }).collect();
        let udp = (0..UDP_FLOWS).map(|nth| if nth % 2 == 0 { Udp::open(net) } else { Udp::open6(net) }).collect();
        Traffic(Mutex::new(Flows { tcp, udp }))
    }

    /// Lets each speak every [`SILENT`], one after the other, until `stop`. How often one did.
    pub fn run(&self, stop: &AtomicBool) -> u64 {
        let mut flows = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = TCP_FLOWS + UDP_FLOWS;
        let step = SILENT / u32::try_from(count).unwrap_or(u32::MAX);
        let (mut due, mut spoken) = (Instant::now(), 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let nth = usize::try_from(spoken).unwrap_or(0) % count;
            flows.speak(nth);
            spoken += 1;
            due += step;
            thread::sleep(due.saturating_duration_since(Instant::now()).min(Duration::from_secs(1)));
        }
        spoken
    }
}

impl Flows {
    fn speak(&mut self, nth: usize) {
        if let Some(tcp) = self.tcp.get_mut(nth) {
            tcp.exchange();
        } else if let Some(udp) = self.udp.get(nth.wrapping_sub(self.tcp.len())) {
            udp.exchange();
        }
    }
}
