//! The attributes of the requests that are tried. They select one entry of the made-up table, where the
//! kernel honours them.

use ctnl::model::{Labels, Protocol, Status};
use ctnl::wire::AttributeWriter;
use ctnl::wire::uapi::{cta, cta_filter, cta_ip, cta_proto, cta_tuple};

use super::made::{MARK, PORT, V6_SOURCE, ZONE};

pub fn by_mark(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::MARK, &MARK.to_be_bytes());
    writer.put(cta::MARK_MASK, &u32::MAX.to_be_bytes());
}

pub fn by_status(writer: &mut AttributeWriter<'_>) {
    let assured = Status::Assured.bits().to_be_bytes();
    writer.put(cta::STATUS, &assured);
    writer.put(cta::STATUS_MASK, &assured);
}

pub fn by_zone(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::ZONE, &ZONE.to_be_bytes());
}

pub fn by_udp_port(writer: &mut AttributeWriter<'_>) {
    by_port(writer, Protocol::Udp);
}

pub fn by_sctp_port(writer: &mut AttributeWriter<'_>) {
    by_port(writer, Protocol::Sctp);
}

fn by_port(writer: &mut AttributeWriter<'_>, protocol: Protocol) {
    let flags = cta_filter::PROTO_NUM | cta_filter::DST_PORT;
    writer.nest(cta::FILTER, |filter| filter.put(cta_filter::ORIG_FLAGS, &flags.to_ne_bytes()));
    writer.nest(cta::TUPLE_ORIG, |tuple| {
        tuple.nest(cta_tuple::PROTO, |proto| {
            proto.put(cta_proto::NUM, &[protocol.into()]);
            proto.put(cta_proto::DST_PORT, &PORT.to_be_bytes());
        });
    });
}

pub fn by_ipv6_source(writer: &mut AttributeWriter<'_>) {
    writer.nest(cta::FILTER, |filter| filter.put(cta_filter::ORIG_FLAGS, &cta_filter::IP_SRC.to_ne_bytes()));
    writer.nest(cta::TUPLE_ORIG, |tuple| {
        tuple.nest(cta_tuple::IP, |ip| ip.put(cta_ip::V6_SRC, &V6_SOURCE.octets()));
    });
}

/// An id that no entry has.
pub fn by_id(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::ID, &0u32.to_be_bytes());
}

pub fn timeout(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::TIMEOUT, &500u32.to_be_bytes());
}

/// The lowest label.
pub fn label(writer: &mut AttributeWriter<'_>) {
    writer.put(cta::LABELS, &Labels::from_numbers([0]).to_bytes());
}
