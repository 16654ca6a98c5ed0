//! Who knows when each flow had its last packet: the kernel's counters, read
//! every few milliseconds. Every accepted packet is counted; so between two looks
//! with the same count there was none.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use ctnl::age::{IdleEstimator, PreviousTimeout, TimeoutContext};
use ctnl::model::{Flow, Tuple};
use ctnl::netlink::Connection;
use ctnl::sysctl::Sysctl;
use ctnl::table;

use ctnl_test_support::harness::World;
use ctnl_test_support::net::Net;

const PAUSE: Duration = Duration::from_millis(30);

pub struct Witness<'a> {
    world: &'a World,
    connection: Connection,
    bases: Vec<PreviousTimeout>,
    seen: HashMap<Tuple, Seen>,
    last_look: Instant,
    /// When what is not known yet may have had its last packet.
    last_whole_look: Instant,
}

struct Seen {
    packets: u64,
    /// The last packet came after this.
    quiet_since: Instant,
}

impl<'a> Witness<'a> {
    pub fn new(net: &Net<'a>) -> Self {
        Self::with_bases(net, &[])
    }

    /// One that computes idle times with `--base-timeout`s.
    pub fn with_bases(net: &Net<'a>, bases: &[&str]) -> Self {
        let bases = bases.iter().map(|base| base.parse().expect("a base timeout")).collect();
        let mut witness = Witness {
            world: net.world,
            connection: net.world.connection(),
            bases,
            seen: HashMap::new(),
            last_look: net.since,
            last_whole_look: net.since,
        };
        witness.look_at_all();
        witness
    }

    /// Watches for `time`, all the while checking what is said of idle times.
    pub fn watch(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look();
            thread::sleep(PAUSE);
        }
    }

    /// Looks once at every flow that is known: none may be called idle for longer
    /// than it was. (One by one: a dump walks the tables of all namespaces.)
    fn look(&mut self) {
        let started = Instant::now();
        let tuples: Vec<Tuple> = self.seen.keys().copied().collect();
        let get = |tuple: &Tuple| table::get(&mut self.connection, tuple, 0).expect("get");
        let flows: Vec<Flow> = tuples.iter().filter_map(get).collect();
        self.check(&flows);
        self.last_look = started;
    }

    /// Looks at the whole table, and gets to know what is new.
    pub fn look_at_all(&mut self) {
        let started = Instant::now();
        let flows = self.world.dump();
        self.check(&flows);
        (self.last_look, self.last_whole_look) = (started, started);
    }

    fn check(&mut self, flows: &[Flow]) {
        let files = (Sysctl::at(Sysctl::NETFILTER), Sysctl::at(Sysctl::KERNEL));
        let basis =
            TimeoutContext::read(&mut self.connection, &files.0, &files.1, self.bases.clone()).expect("timeouts");
        let ages = IdleEstimator::new(&basis, 0);
        for flow in flows {
            let Some(flow) = self.note(flow) else { continue };
            let (idle, truth) = (ages.idle(&flow), self.quiet_for(&flow.orig));
            let said = Duration::from_secs(idle.at_least().unwrap_or(0).into());
            assert!(said <= truth, "said to be {idle:?}, but had a packet within {truth:?}: {flow:?}");
        }
    }

    /// Takes note of the flow's packets, and returns the flow. The kernel reads
    /// the time left before the counters, and a packet may come in between (this
    /// was seen). So where there was one, the flow is looked at once more.
    fn note(&mut self, flow: &Flow) -> Option<Flow> {
        let packets = flow.packets().expect("nf_conntrack_acct is on");
        let quiet_since = match self.seen.get(&flow.orig) {
            Some(seen) if seen.packets == packets => seen.quiet_since,
            Some(_) => self.last_look,
            None => self.last_whole_look,
        };
        let before = self.seen.insert(flow.orig, Seen { packets, quiet_since });
        if before.is_some_and(|before| before.packets != packets) {
            return table::get(&mut self.connection, &flow.orig, 0).expect("get");
        }
        Some(flow.clone())
    }

    /// Runs `ctnl list` with `arguments`, `--older` among them, and returns the
    /// tuples it names; none may have had a packet in the last `seconds`.
    pub fn list_older(&mut self, seconds: u64, more: &[&str]) -> Vec<Tuple> {
        self.look_at_all();
        let older = format!("{seconds}s");
        let arguments = [&["list", "-o", "json", "--older", &older], more].concat();
        let listed = tuples(&self.world.ctnl(&arguments).exits_with(0).stdout());
        for tuple in &listed {
            let truth = self.quiet_for(tuple);
            assert!(truth >= Duration::from_secs(seconds), "--older {older} lists one of {truth:?} ago: {tuple:?}");
        }
        listed
    }

    /// How long ago the flow may have had its last packet, at most.
    pub fn quiet_for(&self, tuple: &Tuple) -> Duration {
        self.seen[tuple].quiet_since.elapsed()
    }

    /// How many packets the flow has had.
    pub fn packets(&self, tuple: &Tuple) -> u64 {
        self.seen[tuple].packets
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
