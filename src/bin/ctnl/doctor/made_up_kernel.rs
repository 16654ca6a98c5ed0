//! The running kernel of a made-up host: entries and counters as data.

use ctnl::age::Idle;
use ctnl::model::{Flow, L4, ProtoInfo, Protocol, Status, TcpInfo, TcpState, Tuple};
use ctnl::table::Occupancy;
use ctnl::units::Nanos;

use super::evidence::survey::SurveyedEntry;
use super::evidence::{CounterChange, Evidence, NamespaceTable, NamespaceTables, OccupancyChange, Survey, Window};

/// What a kernel reports. The window is 2 s, all counters are 0 and the table is empty unless they are set.
#[derive(Debug, Clone)]
pub struct MadeUpKernel {
    occupancy: OccupancyChange,
    window: Window,
    survey: Survey,
    namespaces: NamespaceTables,
}

/// The counters that a kernel always reports.
const COUNTERS: [&str; 10] = [
    "found",
    "invalid",
    "insert",
    "insert_failed",
    "drop",
    "early_drop",
    "error",
    "search_restart",
    "clash_resolve",
    "chaintoolong",
];

impl MadeUpKernel {
    /// A kernel whose table has this maximum.
    pub fn new(max: u32) -> Self {
        let span = Nanos(2_000_000_000);
        let empty = Occupancy { entries: 0, max: Some(max) };
        let counters = COUNTERS.map(|name| CounterChange { name: name.to_owned(), change: 0, total: 0 }).to_vec();
        MadeUpKernel {
            occupancy: OccupancyChange { before: empty, after: empty, span },
            window: Window { span, counters },
            survey: Survey::default(),
            namespaces: NamespaceTables::default(),
        }
    }

    /// The number of entries at both ends of the window.
    pub fn grows(&mut self, before: u32, after: u32) -> &mut Self {
        (self.occupancy.before.entries, self.occupancy.after.entries) = (before, after);
        self
    }

    /// The length of the window.
    pub fn measured_for(&mut self, seconds: u64) -> &mut Self {
        (self.window.span, self.occupancy.span) = (Nanos(seconds * 1_000_000_000), Nanos(seconds * 1_000_000_000));
        self
    }

    /// A counter that has grown by `change` to `total`.
    pub fn counter(&mut self, name: &str, change: u64, total: u64) -> &mut Self {
        let counter = self.window.counters.iter_mut().find(|counter| counter.name == name).unwrap();
        (counter.change, counter.total) = (change, total);
        self
    }

    /// Adds `count` entries to the table, each made from its number.
    pub fn entries(&mut self, count: u32, entry: impl Fn(u32) -> (Flow, Idle)) -> &mut Self {
        for number in 0..count {
            let (flow, idle) = entry(number);
            self.survey.add(&SurveyedEntry { flow: &flow, idle });
        }
        let now = self.occupancy.after.entries + count;
        self.grows(now, now)
    }

    /// Another namespace.
    pub fn namespace(&mut self, name: &str, entries: u32) -> &mut Self {
        let occupancy = Occupancy { entries, max: self.occupancy.after.max };
        let argument = Some(name.to_owned());
        self.namespaces.counted.push(NamespaceTable { name: name.to_owned(), argument, is_own: false, occupancy });
        self
    }

    /// What could not be read of the namespaces.
    pub fn unreadable_namespace(&mut self, name: &str, why: &str) -> &mut Self {
        self.namespaces.unreadable.push((name.to_owned(), why.to_owned()));
        self
    }

    /// The dump ended early.
    pub fn incomplete(&mut self, why: &'static str) -> &mut Self {
        self.survey.incomplete = Some(why);
        self
    }

    pub(super) fn put_into(self, evidence: &mut Evidence) {
        let MadeUpKernel { occupancy, window, survey, namespaces } = self;
        evidence.occupancy = Ok(occupancy);
        evidence.window = Ok(window);
        evidence.survey = Ok(survey);
        evidence.namespaces = Ok(namespaces);
    }
}

/// Idle for so many seconds, and known to the second.
pub fn idle(seconds: u32) -> Idle {
    Idle::Exact { at_least: seconds, at_most: seconds + 1 }
}

/// The address with that number, of 10.0.0.0/8.
pub fn address(number: u32) -> std::net::IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

/// A TCP flow in that state to port `dport`. ESTABLISHED is ASSURED, and every state but SYN_SENT has a reply.
pub fn tcp(state: TcpState, src: std::net::IpAddr, dst: std::net::IpAddr, dport: u16) -> Flow {
    let status = match state {
        TcpState::SynSent => Status::empty(),
        TcpState::SynRecv => Status::SeenReply,
        _ => Status::SeenReply | Status::Assured,
    };
    let protoinfo = ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() });
    Flow { status, protoinfo, ..flow(Protocol::Tcp, src, dst, dport) }
}

/// A UDP flow to port `dport` without a reply.
pub fn udp(src: std::net::IpAddr, dst: std::net::IpAddr, dport: u16) -> Flow {
    flow(Protocol::Udp, src, dst, dport)
}

fn flow(protocol: Protocol, src: std::net::IpAddr, dst: std::net::IpAddr, dport: u16) -> Flow {
    let l4 = L4::Ports { src: 40_000, dst: dport };
    let orig = Tuple { src, dst, protocol, l4, ..Tuple::UNSPECIFIED };
    Flow::new(orig, orig.inverse())
}
