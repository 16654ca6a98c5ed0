//! The made-up entries: each has something that no other one has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctnl::model::{Flow, L4, Protocol, Status, Tuple};

/// A made-up entry, named by what it alone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Made {
    Plain,
    /// With [`MARK`].
    Marked,
    /// In [`ZONE`].
    Zoned,
    /// ASSURED, and to [`PORT`].
    Assured,
    FixedTimeout,
    /// From [`V6_SOURCE`].
    V6,
    V6Second,
    V6Third,
    /// To [`PORT`].
    Sctp,
    SctpSecond,
    Dccp,
    UdpLite,
}

pub const MARK: u32 = 7;
pub const ZONE: u16 = 5;
pub const PORT: u16 = 54;
const OTHER_PORT: u16 = 53;
pub const V6_SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// Longer than all probes take, in seconds.
const TIMEOUT: u32 = 600;

/// All of them.
pub const ALL: [Made; 12] = [
    Made::Plain,
    Made::Marked,
    Made::Zoned,
    Made::Assured,
    Made::FixedTimeout,
    Made::V6,
    Made::V6Second,
    Made::V6Third,
    Made::Sctp,
    Made::SctpSecond,
    Made::Dccp,
    Made::UdpLite,
];

impl Made {
    fn protocol(self) -> Protocol {
        match self {
            Made::Sctp | Made::SctpSecond => Protocol::Sctp,
            Made::Dccp => Protocol::Dccp,
            Made::UdpLite => Protocol::UdpLite,
            _ => Protocol::Udp,
        }
    }

    /// Source and destination.
    pub fn addresses(self) -> (IpAddr, IpAddr) {
        let v6 = |low| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low).into();
        match self {
            Made::V6 => (V6_SOURCE.into(), v6(99)),
            Made::V6Second => (v6(2), v6(99)),
            Made::V6Third => (v6(3), v6(99)),
            // An entry for each pair of hosts is all that there is without a tracker.
            _ => (Ipv4Addr::new(192, 0, 2, 1 + self as u8).into(), Ipv4Addr::new(198, 51, 100, 1).into()),
        }
    }

    /// The entry, as it is requested.
    pub fn flow(self) -> Flow {
        let (src, dst) = self.addresses();
        let port = if matches!(self, Made::Assured | Made::Sctp) { PORT } else { OTHER_PORT };
        let l4 = L4::Ports { src: 1024 + self as u16, dst: port };
        let orig = Tuple { src, dst, protocol: self.protocol(), l4, zone: None, has_unknown_part: false };
        let mut flow = Flow::new(orig, orig.inverse());
        (flow.status, flow.timeout) = (Status::Confirmed, Some(TIMEOUT));
        match self {
            Made::Marked => flow.mark = Some(MARK),
            Made::Zoned => flow.zone_both = Some(ZONE),
            Made::Assured => flow.status |= Status::SeenReply | Status::Assured,
            Made::FixedTimeout => flow.status |= Status::FixedTimeout,
            _ => {}
        }
        flow
    }
}
