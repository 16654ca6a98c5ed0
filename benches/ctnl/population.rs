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
/// Timeout of the stale ones where a case caps timeouts, which leaves them.
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
}

/// Second octet of the sources (third word in IPv6), which distinguishes the sets.
pub const STALE_NET: u8 = 128;
pub const FRESH_NET: u8 = 0;
pub const CHURN_NET: u8 = 64;

impl Population {
    pub fn flow(&self, number: u32) -> Flow {
        if number < self.stale {
            Flow { timeout: Some(STALE), mark: Some(1), ..flow(self.families, STALE_NET, number) }
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

    /// Shortens the timeouts of the stale entries, for a case that caps those of the others.
    pub fn shorten(&mut self, population: Population) -> Result<()> {
        // They are not the population any more.
        self.holds = None;
        self.set_timeouts(SHORT, population.stale, |flow| flow.mark == Some(1))
    }

    /// Raises the timeouts of the fresh entries again, after all of them and no other were lowered to [`CAP`].
    pub fn raise(&mut self, population: Population) -> Result<()> {
        self.expect(population.entries)?;
        let mut wrong = 0;
        self.set_timeouts(FRESH, population.entries - population.stale, |flow| {
            let (left, is_short) = (flow.timeout.unwrap_or(0), flow.mark == Some(1));
            wrong += u32::from(left > CAP || is_short != (left <= SHORT));
            !is_short
        })?;
        ensure!(wrong == 0, "{wrong} entries do not have the timeout that they should have");
        Ok(())
    }

    /// Sets the timeout of the entries that `choose` returns true for, which must be `wanted`. In small batches, so that
    /// little memory is needed: a child's peak begins with this process's.
    fn set_timeouts(&mut self, seconds: u32, wanted: u32, mut choose: impl FnMut(&Flow) -> bool) -> Result<()> {
        let (mut other, mut outcome) = (self.connection.reopen()?, Outcome::default());
        let (mut batch, mut sent) = (Vec::with_capacity(BATCH), Ok(()));
        dump(&mut self.connection, DumpRequest::default(), |flow| {
            if choose(flow) {
                batch.extend(Target::of(flow).map(|target| (target, Patch::timeout(seconds))));
            }
            if batch.len() == BATCH && sent.is_ok() {
                sent = update(&mut other, &batch, &mut outcome);
                batch.clear();
            }
            std::ops::ControlFlow::Continue(())
        })?;
        sent?;
        update(&mut other, &batch, &mut outcome)?;
        ensure!(outcome.done == u64::from(wanted), "{} of {wanted} timeouts were set", outcome.done);
        Ok(())
    }

    /// Fails unless the table contains `entries` entries.
    pub fn expect(&mut self, entries: u32) -> Result<()> {
        let found = count(&mut self.connection)?.entries;
        ensure!(found == entries, "the table holds {found} entries, and should hold {entries}");
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
