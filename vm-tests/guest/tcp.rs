//! TCP entries as the kernel would have made them.

use std::net::Ipv4Addr;

use ctnl::model::{Flow, L4, ProtoInfo, Protocol, Status, TcpInfo, TcpState, Tuple};

use ctnl_test_support::harness::entry;

/// Entry number `number` in a state of use, with so many seconds left.
pub fn established(number: u32, seconds_left: u32) -> Flow {
    let [_, a, b, c] = number.to_be_bytes();
    let mut flow = entry(Tuple {
        src: Ipv4Addr::new(172, 16 + a, b, c).into(),
        dst: Ipv4Addr::new(198, 51, 100, 7).into(),
        protocol: Protocol::Tcp,
        l4: L4::Ports { src: 40_000, dst: 443 },
        zone: None,
        has_unknown_part: false,
    });
    flow.status = Status::Confirmed | Status::SeenReply | Status::Assured;
    flow.protoinfo = ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, ..TcpInfo::default() });
    flow.timeout = Some(seconds_left);
    flow
}
