//! The entries of the table while a case is measured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use ctnl::model::{Flow, L4, ProtoInfo, Protocol, Status, TcpInfo, TcpState, Tuple};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{BATCH, DumpRequest, Outcome, Patch, Target, count, create, dump, update};

use crate::limit;

/// Timeout of an established connection directly after a packet: the kernel's default.
const FRESH: u32 = 432_000;
/// Timeout of one that has been idle for a day.
const STALE: u32 = FRESH - 86_400;
/// Timeout of those that `--cap-timeout` leaves.
const SHORT: u32 = 100_000;
/// `--cap-timeout` of the update. Below the timeout of the stale ones of other cases, so that its note (see `host/timeout_notes.rs`)
/// does not make these look less idle.
pub const CAP: u32 = 300_000;
/// Flows of one source address, each with its own port.
const PORTS: u32 = 20_000;

/// Which address families the entries are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    V4,
    V6,
    /// Half IPv4, half IPv6; half of each is UDP.
    Mixed,
}

/// A set of entries that differ only by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    pub entries: u32,
    pub families: Families,
    /// How many have been idle for a day: the first ones. They come from
    /// 10.128.0.0/9 (2001:db8:80::/48) and have mark 1, so that conntrack(8), which cannot select
    /// by idle time, can select the same.
    pub stale: u32,
    /// Those have little left instead, less than [`CAP`].
    pub short: bool,
}

/// Second octet of the sources (third word in IPv6), which distinguishes the sets.
pub const STALE_NET: u8 = 128;
pub const FRESH_NET: u8 = 0;
pub const CHURN_NET: u8 = 64;

impl Population {
    pub fn flow(&self, number: u32) -> Flow {
        if number < self.stale {
            let timeout = if self.short { SHORT } else { STALE };
            Flow { timeout: Some(timeout), mark: Some(1), ..flow(self.families, STALE_NET, number) }
        } else {
            flow(self.families, FRESH_NET, number)
        }
    }
}

/// Flow `number` of the net `net`. Every other one is ASSURED, every other one
/// goes to port 443, each has a source port of its own.
pub fn flow(families: Families, net: u8, number: u32) -> Flow {
    let bit = |bit: u32| number >> bit & 1 == 1;
    let mixed = families == Families::Mixed;
    let (src, dst) = addresses(families == Families::V6 || mixed && bit(2), net, number);
    let protocol = if mixed && bit(3) { Protocol::Udp } else { Protocol::Tcp };
    let (sport, dport) = (1024 + number % PORTS, if bit(1) { 443 } else { 80 });
    let l4 = L4::Ports { src: u16::try_from(sport).unwrap_or(0), dst: dport };
    let orig = Tuple { src, dst, protocol, l4, zone: None, has_unknown_part: false };
    let mut flow = Flow::new(orig, orig.inverse());
    flow.timeout = Some(FRESH);
    flow.status = Status::SeenReply | Status::Confirmed;
    flow.status.set(Status::Assured, bit(0));
    if protocol == Protocol::Tcp {
        flow.protoinfo = ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, ..TcpInfo::default() });
    }
    flow
}

fn addresses(v6: bool, net: u8, number: u32) -> (IpAddr, IpAddr) {
    let [_, _, high, low] = (number / PORTS).to_be_bytes();
    let server = u8::try_from(number % 250).unwrap_or(0);
    if v6 {
        let site = Ipv6Addr::new(0x2001, 0xdb8, u16::from(net), 0, 0, 0, 0, u16::from_be_bytes([high, low]) + 1);
        (site.into(), Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(server) + 1).into())
    } else {
        (Ipv4Addr::new(10, net, high, low).into(), Ipv4Addr::new(198, 18, 0, server).into())
    }
}

/// The second octet of an IPv4 flow's source, and its number.
pub fn number_of(flow: &Flow) -> Option<(u8, u32)> {
    let IpAddr::V4(src) = flow.orig.src else {
        return None;
    };
    let [_, net, high, low] = src.octets();
    let port = u32::from(flow.orig.sport()?).checked_sub(1024)?;
    Some((net, u32::from(u16::from_be_bytes([high, low])) * PORTS + port))
}

/// The namespace's table, and the population that it contains.
pub struct Table {
    pub connection: Connection,
    holds: Option<Population>,
}

impl Table {
    pub fn open() -> Result<Self> {
        Ok(Table { connection: Connection::open(&Netns::Current)?, holds: None })
    }

    /// Fills the table with `population` and nothing else.
    pub fn fill(&mut self, population: Population) -> Result<()> {
        if self.holds != Some(population) || self.expect(population.entries).is_err() {
            self.holds = None;
            limit::flush(None)?;
            create_range(&mut self.connection, 0..population.entries, |number| population.flow(number))?;
            self.expect(population.entries)?;
            self.holds = Some(population);
        }
        Ok(())
    }

    /// Creates the stale entries again, after they and nothing else were deleted.
    pub fn refill(&mut self, population: Population) -> Result<()> {
        self.expect(population.entries - population.stale)?;
        create_range(&mut self.connection, 0..population.stale, |number| population.flow(number))
    }

    /// Raises the timeouts of the fresh entries again, after all of them and no other were lowered to [`CAP`].
    pub fn raise(&mut self, population: Population) -> Result<()> {
        self.expect(population.entries)?;
        let mut raising =
            Raising { connection: self.connection.reopen()?, batch: Vec::new(), outcome: Outcome::default() };
        let (mut wrong, mut raised) = (0, Ok(()));
        dump(&mut self.connection, DumpRequest::default(), |flow| {
            let (left, was_short) = (flow.timeout.unwrap_or(0), flow.mark == Some(1));
            wrong += u32::from(left > CAP || was_short != (left <= SHORT));
            if !was_short && raised.is_ok() {
                raised = raising.push(flow);
            }
            std::ops::ControlFlow::Continue(())
        })?;
        raised.and_then(|()| raising.send())?;
        ensure!(wrong == 0, "{wrong} entries do not have the timeout that they should have");
        let outcome = raising.outcome;
        let wanted = u64::from(population.entries - population.stale);
        ensure!(outcome.done == wanted, "{} of {wanted} timeouts were raised", outcome.done);
        Ok(())
    }

    /// Fails unless the table contains `entries` entries.
    pub fn expect(&mut self, entries: u32) -> Result<()> {
        let found = count(&mut self.connection)?.entries;
        ensure!(found == entries, "the table holds {found} entries, and should hold {entries}");
        Ok(())
    }
}

/// Raises timeouts in small batches, so that little memory is needed: a child's peak begins with this process's.
struct Raising {
    connection: Connection,
    batch: Vec<(Target, Patch)>,
    outcome: Outcome,
}

impl Raising {
    fn push(&mut self, flow: &Flow) -> Result<()> {
        self.batch.push((Target::of(flow)?, Patch::timeout(FRESH)));
        if self.batch.len() == BATCH { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        update(&mut self.connection, &self.batch, &mut self.outcome)?;
        self.batch.clear();
        Ok(())
    }
}

/// Creates the flows of these numbers in small batches, so that little memory is needed.
pub fn create_range(
    connection: &mut Connection,
    numbers: std::ops::Range<u32>,
    flow: impl Fn(u32) -> Flow,
) -> Result<()> {
    let (mut outcome, wanted) = (Outcome::default(), u64::from(numbers.end - numbers.start));
    let mut flows = Vec::with_capacity(BATCH);
    for number in numbers.clone() {
        flows.push(flow(number));
        if flows.len() == BATCH || number + 1 == numbers.end {
            create(connection, &flows, &mut outcome)?;
            flows.clear();
        }
    }
    ensure!(outcome.done == wanted, "{} of {wanted} entries were created: {:?}", outcome.done, outcome.failed);
    Ok(())
}
