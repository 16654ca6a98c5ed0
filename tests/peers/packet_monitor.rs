//! Tracks when each flow had its last packet, from the kernel's counters, read every few milliseconds.
//! Every accepted packet is counted, so there was none between two samples with the same count.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use ctnl::age::{IdleEstimator, PreviousTimeout, TimeoutContext};
use ctnl::model::{Flow, Tuple};
use ctnl::netlink::Connection;
use ctnl::sysctl::Sysctl;
use ctnl::table;

use ctnl_test_support::harness::TestNetns;
use ctnl_test_support::net::Net;

const PAUSE: Duration = Duration::from_millis(30);

pub struct PacketMonitor<'a> {
    netns: &'a TestNetns,
    connection: Connection,
    previous_timeouts: Vec<PreviousTimeout>,
    observations: HashMap<Tuple, Observation>,
    last_sample: Instant,
    /// A flow that is not known yet had its last packet after this.
    last_full_sample: Instant,
}

struct Observation {
    packets: u64,
    /// The last packet came after this.
    no_packet_since: Instant,
}

impl<'a> PacketMonitor<'a> {
    pub fn new(net: &Net<'a>) -> Self {
        Self::with_previous_timeouts(net, &[])
    }

    /// One that computes idle times with `--base-timeout`s.
    pub fn with_previous_timeouts(net: &Net<'a>, previous_timeouts: &[&str]) -> Self {
        let previous_timeouts = previous_timeouts.iter().map(|base| base.parse().expect("a base timeout")).collect();
        let mut monitor = PacketMonitor {
            netns: net.netns,
            connection: net.netns.connection(),
            previous_timeouts,
            observations: HashMap::new(),
            last_sample: net.since,
            last_full_sample: net.since,
        };
        monitor.sample_all();
        monitor
    }

    /// Samples for `time`. Fails if a computed idle time is too large.
    pub fn watch(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.sample_known();
            thread::sleep(PAUSE);
        }
    }

    /// Samples every known flow once. Fails if a computed idle time is too large. (One by one: a dump
    /// walks the tables of all namespaces.)
    fn sample_known(&mut self) {
        let started = Instant::now();
        let tuples: Vec<Tuple> = self.observations.keys().copied().collect();
        let get = |tuple: &Tuple| table::get(&mut self.connection, tuple, 0).expect("get");
        let flows: Vec<Flow> = tuples.iter().filter_map(get).collect();
        self.check(&flows);
        self.last_sample = started;
    }

    /// Samples the whole table, and adds new flows.
    pub fn sample_all(&mut self) {
        let started = Instant::now();
        let flows = self.netns.dump();
        self.check(&flows);
        (self.last_sample, self.last_full_sample) = (started, started);
    }

    fn check(&mut self, flows: &[Flow]) {
        let files = (Sysctl::at(Sysctl::NETFILTER), Sysctl::at(Sysctl::KERNEL));
        let timeout_context =
            TimeoutContext::read(&mut self.connection, &files.0, &files.1, self.previous_timeouts.clone())
                .expect("timeouts");
        let estimator = IdleEstimator::new(&timeout_context, 0);
        for flow in flows {
            let Some(flow) = self.record(flow) else { continue };
            let (idle, actual) = (estimator.idle(&flow), self.silent_for(&flow.orig));
            let reported = Duration::from_secs(idle.at_least().unwrap_or(0).into());
            assert!(reported <= actual, "computed as {idle:?}, but had a packet within {actual:?}: {flow:?}");
        }
    }

    /// Records the flow's packets, and returns the flow. The kernel reads the timeout before the
    /// counters, and a packet may arrive in between (this was observed). So if the count has changed,
    /// the flow is read once more.
    fn record(&mut self, flow: &Flow) -> Option<Flow> {
        let packets = flow.packets().expect("nf_conntrack_acct is on");
        let no_packet_since = match self.observations.get(&flow.orig) {
            Some(seen) if seen.packets == packets => seen.no_packet_since,
            Some(_) => self.last_sample,
            None => self.last_full_sample,
        };
        let before = self.observations.insert(flow.orig, Observation { packets, no_packet_since });
        if before.is_some_and(|before| before.packets != packets) {
            return table::get(&mut self.connection, &flow.orig, 0).expect("get");
        }
        Some(flow.clone())
    }

    /// Runs `ctnl list` with `arguments`, `--older` among them, and returns the
    /// tuples it names; none may have had a packet in the last `seconds`.
    pub fn list_older(&mut self, seconds: u64, more: &[&str]) -> Vec<Tuple> {
        self.sample_all();
        let older = format!("{seconds}s");
        let arguments = [&["list", "-o", "json", "--older", &older], more].concat();
        let listed = tuples(&self.netns.ctnl(&arguments).exits_with(0).stdout());
        for tuple in &listed {
            let actual = self.silent_for(tuple);
            assert!(actual >= Duration::from_secs(seconds), "--older {older} lists one of {actual:?} ago: {tuple:?}");
        }
        listed
    }

    /// How long ago the flow may have had its last packet, at most.
    pub fn silent_for(&self, tuple: &Tuple) -> Duration {
        self.observations[tuple].no_packet_since.elapsed()
    }

    /// How many packets the flow has had.
    pub fn packets(&self, tuple: &Tuple) -> u64 {
        self.observations[tuple].packets
    }
}

/// The original tuples of JSON lines, of protocols with ports.
fn tuples(lines: &str) -> Vec<Tuple> {
    lines.lines().map(tuple).collect()
}

fn tuple(line: &str) -> Tuple {
    use ctnl::model::{L4, Protocol};
    let value: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
    let orig = &value["orig"];
    let address = |name: &str| orig[name].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let port = |name: &str| u16::try_from(orig[name].as_u64().unwrap_or(0)).expect("a port");
    let number = value["proto"].as_u64().and_then(|number| u8::try_from(number).ok()).expect("a protocol");
    let protocol = Protocol::from(number);
    let l4 = match protocol {
        Protocol::Icmp => L4::Icmp {
            kind: u8::try_from(port("type")).expect("a type"),
            code: u8::try_from(port("code")).expect("a code"),
            id: port("id"),
        },
        _ => L4::Ports { src: port("sport"), dst: port("dport") },
    };
    Tuple { src: address("src"), dst: address("dst"), protocol, l4, zone: None, has_unknown_part: false }
}
