//! What such entries are, by what is missing of the conversation and by where they come from and go to.

use super::pattern::Pattern;
use crate::doctor::evidence::survey::Missing;

/// Title and consequence. `what` is the name of the kind.
pub fn describe(missing: Missing, what: &str, pattern: &Pattern, count: u64) -> (String, &'static str) {
    match missing {
        Missing::SynAnswer => describe_syn_sent(pattern, count),
        Missing::FinalAck => describe_syn_recv(pattern, count),
        Missing::OtherSide => (
            format!("only one side of {count} TCP connections passes this host"),
            "The other direction goes another way (asymmetric routing). The kernel cannot follow their state: packets \
             may be INVALID, and NAT does not work.",
        ),
        Missing::UdpReply | Missing::Reply => describe_unreplied(what, pattern, count),
    }
}

fn describe_unreplied(what: &str, pattern: &Pattern, count: u64) -> (String, &'static str) {
    match pattern {
        Pattern::OneTarget(source, destination) => (
            format!("{source} sends to {destination} from {count} ports, and gets no reply"),
            "One-way traffic such as syslog or statistics needs no entry for each port; or the server is down.",
        ),
        Pattern::ManyPorts(source, address) => {
            (format!("{source} scans the ports of {address}, or floods it"), "Each port is an entry for 30 s and more.")
        }
        Pattern::ManyAddresses(source) => (
            format!("{source} sends to many addresses, and gets no reply: a scan, a flood, or one-way traffic"),
            "Each address is an entry for 30 s and more.",
        ),
        Pattern::ManySources(destination) => (
            format!("many sources send to {destination}, and get no reply: a flood, or the server is down"),
            "Each source is an entry for 30 s and more.",
        ),
        Pattern::Scattered => (
            format!("{count} flows have no reply ({what})"),
            "Packets come in and nothing goes back: forged sources, one-way traffic, or replies that go another way.",
        ),
    }
}

fn describe_syn_sent(pattern: &Pattern, count: u64) -> (String, &'static str) {
    match pattern {
        Pattern::OneTarget(source, destination) => (
            format!("{source} opens connections to {destination}, which does not answer: {count}"),
            "The target is down, or a filter on the way drops its packets. The client tries again and again, and each try \
             is an entry for 2 minutes.",
        ),
        Pattern::ManyPorts(source, address) => (
            format!("{source} scans the ports of {address}: {count} SYNs without an answer"),
            "Each port is an entry for 2 minutes.",
        ),
        Pattern::ManyAddresses(source) => (
            format!("{source} opens connections to many addresses, which do not answer: a scan, or a worm"),
            "Each address is an entry for 2 minutes.",
        ),
        Pattern::ManySources(destination) => (
            format!("{destination} does not answer {count} SYNs of many sources"),
            "The service is down, filtered or flooded. Each SYN is an entry for 2 minutes.",
        ),
        Pattern::Scattered => (
            format!("{count} SYNs have no answer"),
            "From many sources to many targets: forged sources, or the answers do not come back through this host.",
        ),
    }
}

fn describe_syn_recv(pattern: &Pattern, count: u64) -> (String, &'static str) {
    match pattern {
        Pattern::ManySources(destination) => (
            format!("SYN flood on {destination}: {count} handshakes without their last ACK"),
            "The sources are forged, so that nobody answers the SYN/ACK. Each is an entry for a minute, and takes the place \
             of a client.",
        ),
        Pattern::OneTarget(source, _) | Pattern::ManyPorts(source, _) | Pattern::ManyAddresses(source) => (
            format!("{source} does not complete {count} handshakes"),
            "It floods, or the SYN/ACKs do not reach it: look at the route back to it.",
        ),
        Pattern::Scattered => (
            format!("{count} handshakes lack their last ACK"),
            "From many sources to many targets: a flood, or the SYN/ACKs do not reach the clients.",
        ),
    }
}
