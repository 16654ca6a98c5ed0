//! Floods, scans and dead targets: entries of which one side has not spoken, or whose handshake is not complete.

use std::net::IpAddr;

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::survey::{Destination, Missing, Older, Unanswered};
use crate::doctor::evidence::{Evidence, Survey};
use crate::doctor::finding::{Finding, Severity};
use crate::term::console::percent;

pub const CHECK: Check = Check {
    name: "unreplied",
    about: "half-open and unreplied floods, told from stale connections",
    explanation: "\
Counts the entries of which only one side has spoken or whose handshake is not complete, by source, by destination and by
both. One kind is a note where it has at least 1000 entries and a tenth of the table, a warning where it fills a tenth of the
maximum or the table is half full, and critical where it fills half of the maximum. Many sources whose TCP handshakes with one
port are not complete are a warning in any table: that service is flooded or down. The counts show what it is:

SYN_RECV, many sources, one port      SYN flood with forged sources: SYN cookies on the server, SYNPROXY on a firewall
SYN_SENT, many sources, one port      the service does not answer: down, filtered, or flooded
SYN_SENT, one source, one address     a client of a dead target, or a scan of ports
SYN_SENT, one source, many addresses  a scan, or a worm
UDP unreplied, one source             one-way traffic (syslog, statistics, media), a dead server, or a scan
UDP unreplied, one destination        a flood, or a server that is down
TCP of which one side is seen         the other direction goes another way: asymmetric routing

Such entries are short-lived (SYN_SENT 2 min, SYN_RECV 1 min, UDP 30 s by default) and can be evicted, so they come back as
fast as they are flushed: mend the cause. Stale connections are the contrary: ESTABLISHED, ASSURED and idle for hours; `ctnl
flush --older` removes those (check entries), and hardly any of these.",
    run,
};

/// Fewer entries are no flood.
const MANY: u64 = 1_000;
/// In percent of the table; of the maximum, from which on one-way traffic is a warning.
const SHARE: u64 = 10;
/// In percent: of the maximum, from which on it is critical, or a warning where the whole table has it; of the entries of a kind, from which on one source or one
/// destination is the reason.
const HALF: u64 = 50;
/// In percent of the entries of a source: nearly all.
const NEARLY_ALL: u64 = 80;

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let survey = evidence.survey.as_ref().map_err(Clone::clone)?;
        let kinds = Missing::ALL.into_iter().filter_map(|missing| Some((missing, survey.unanswered.of(missing)?)));
        Ok(kinds.filter_map(|(missing, entries)| Kind { evidence, survey, missing, entries }.finding()).collect())
    })
}

/// The entries of which the same is missing.
struct Kind<'e> {
    evidence: &'e Evidence,
    survey: &'e Survey,
    missing: Missing,
    entries: &'e Unanswered,
}

/// Where most of them come from or go to.
enum Pattern {
    /// One source, one address, and there one port where the protocol has them.
    OneTarget(IpAddr, Destination),
    /// One source, one address, many ports.
    ManyPorts(IpAddr, IpAddr),
    /// One source, many addresses.
    ManyAddresses(IpAddr),
    /// Many sources, one destination.
    ManySources(Destination),
    /// Neither.
    Scattered,
}

impl Kind<'_> {
    fn finding(&self) -> Option<Finding> {
        let count = self.entries.entries();
        if count < MANY || count.saturating_mul(100) < self.survey.entries.saturating_mul(SHARE) {
            return None;
        }
        let pattern = self.pattern(count);
        let severity = self.severity(&pattern, count);
        let (title, consequence) = self.describe(&pattern, count);
        let finding = Finding::new(severity, title, consequence).evidence(format!(
            "{}: {count} of {} entries ({})",
            self.name(),
            self.survey.entries,
            self.share(count)
        ));
        let finding = self.ends().into_iter().fold(finding, Finding::evidence);
        let stale = self.survey.states.established(Older::Hour);
        let finding = finding
            .evidence(format!("beside them, established connections idle for 1h: {stale} ({})", self.share(stale)))
            .figure("entries", count)
            .figure("missing", self.json_name())
            .figure("pattern", pattern.name())
            .figure("sources", self.entries.sources.len())
            .figure("sources_are_all", self.entries.sources.is_exact());
        Some(self.with_fixes(finding, &pattern))
    }

    fn severity(&self, pattern: &Pattern, count: u64) -> Severity {
        let occupancy = self.evidence.occupancy.as_ref().ok();
        let max = occupancy.and_then(|occupancy| occupancy.after.max).map_or(0, u64::from);
        let fills = |share| max > 0 && count.saturating_mul(100) >= max.saturating_mul(share);
        let is_tight = fills(SHARE) || occupancy.is_some_and(|occupancy| occupancy.is_at(HALF));
        match () {
            () if fills(HALF) => Severity::Critical,
            () if is_tight || self.is_service_in_need(pattern) => Severity::Warning,
            () => Severity::Note,
        }
    }

    /// Whether a TCP service is flooded or does not answer, which hurts also where the table has space. Everything else may be as
    /// it should: one-way traffic, clients of a host that was taken down, a route back that is another one.
    fn is_service_in_need(&self, pattern: &Pattern) -> bool {
        let is_handshake = matches!(self.missing, Missing::SynAnswer | Missing::FinalAck);
        is_handshake && matches!(pattern, Pattern::ManySources(_))
    }

    fn share(&self, count: u64) -> String {
        percent(count, self.survey.entries)
    }

    fn pattern(&self, count: u64) -> Pattern {
        let is_part = |part: u64, share: u64, whole: u64| part.saturating_mul(100) >= whole.saturating_mul(share);
        let source = self.entries.sources.top(1).into_iter().next();
        let destination = self.entries.destinations.top(1).into_iter().next();
        if let Some((source, of_source)) = source.filter(|(_, of_source)| is_part(*of_source, HALF, count)) {
            let pair = self.entries.largest_pair();
            let to_one = pair.filter(|((src, _), n)| *src == source && is_part(*n, NEARLY_ALL, of_source));
            return match (to_one, destination) {
                (None, _) => Pattern::ManyAddresses(source),
                (Some(((_, address), of_pair)), Some((destination, of_destination)))
                    if destination.address == address && is_part(of_destination, NEARLY_ALL, of_pair) =>
                {
                    Pattern::OneTarget(source, destination)
                }
                (Some(((_, address), _)), _) => Pattern::ManyPorts(source, address),
            };
        }
        match destination.filter(|(_, of_destination)| is_part(*of_destination, HALF, count)) {
            Some((destination, _)) => Pattern::ManySources(destination),
            None => Pattern::Scattered,
        }
    }

    /// Title and consequence.
    fn describe(&self, pattern: &Pattern, count: u64) -> (String, &'static str) {
        match self.missing {
            Missing::SynAnswer => describe_syn_sent(pattern, count),
            Missing::FinalAck => describe_syn_recv(pattern, count),
            Missing::OtherSide => (
                format!("only one side of {count} TCP connections passes this host"),
                "The other direction goes another way (asymmetric routing). The kernel cannot follow their state: packets \
                 may be INVALID, and NAT does not work.",
            ),
            Missing::UdpReply | Missing::Reply => self.describe_unreplied(pattern, count),
        }
    }

    fn describe_unreplied(&self, pattern: &Pattern, count: u64) -> (String, &'static str) {
        let what = self.name();
        match pattern {
            Pattern::OneTarget(source, destination) => (
                format!("{source} sends to {destination} from {count} ports, and gets no reply"),
                "One-way traffic such as syslog or statistics needs no entry for each port; or the server is down.",
            ),
            Pattern::ManyPorts(source, address) => (
                format!("{source} scans the ports of {address}, or floods it"),
                "Each port is an entry for 30 s and more.",
            ),
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

    fn name(&self) -> &'static str {
        match self.missing {
            Missing::SynAnswer => "tcp SYN_SENT",
            Missing::FinalAck => "tcp SYN_RECV",
            Missing::OtherSide => "tcp, one side seen",
            Missing::UdpReply => "udp UNREPLIED",
            Missing::Reply => "other protocols UNREPLIED",
        }
    }

    fn json_name(&self) -> &'static str {
        match self.missing {
            Missing::SynAnswer => "syn-answer",
            Missing::FinalAck => "final-ack",
            Missing::OtherSide => "other-side",
            Missing::UdpReply => "udp-reply",
            Missing::Reply => "reply",
        }
    }

    /// The expression that selects them.
    fn filter(&self) -> &'static str {
        match self.missing {
            Missing::SynAnswer => "tcp and state syn_sent",
            Missing::FinalAck => "tcp and state syn_recv",
            Missing::OtherSide => "tcp and unreplied and not state syn_sent",
            Missing::UdpReply => "udp and unreplied",
            Missing::Reply => "not tcp and not udp and unreplied",
        }
    }

    fn ends(&self) -> Vec<String> {
        let Unanswered { sources, destinations, .. } = self.entries;
        let count = |exact: bool, keys: usize| if exact { keys.to_string() } else { format!("more than {keys}") };
        let mut lines = Vec::new();
        if let Some((source, entries)) = sources.top(1).into_iter().next() {
            let all = count(sources.is_exact(), sources.len());
            lines.push(format!("from {all} sources, most from {source}: {entries}"));
        }
        if let Some((destination, entries)) = destinations.top(1).into_iter().next() {
            let all = count(destinations.is_exact(), destinations.len());
            lines.push(format!("to {all} destinations, most to {destination}: {entries}"));
        }
        lines
    }

    fn with_fixes(&self, finding: Finding, pattern: &Pattern) -> Finding {
        let filter = match pattern {
            Pattern::OneTarget(source, _) | Pattern::ManyPorts(source, _) | Pattern::ManyAddresses(source) => {
                format!("{} and src {source}", self.filter())
            }
            Pattern::ManySources(destination) => format!("{} and {}", self.filter(), destination.filter()),
            Pattern::Scattered => self.filter().to_owned(),
        };
        if self.missing == Missing::OtherSide {
            // Their next packet would make them again.
            return finding.command(self.evidence.command(&format!("list '{filter}'")));
        }
        let flush = self.evidence.command(&format!("flush '{filter}'"));
        let rules = match (self.missing, pattern) {
            (Missing::FinalAck, Pattern::ManySources(destination)) => {
                let [settings, rules] = syn_flood(destination);
                return finding.command(flush).text(settings).text(rules);
            }
            (Missing::UdpReply, Pattern::OneTarget(_, destination) | Pattern::ManySources(destination)) => {
                Some(untracked(destination))
            }
            (Missing::SynAnswer | Missing::UdpReply | Missing::Reply, _) => pattern.source().map(block),
            _ => None,
        };
        let finding = match rules {
            Some(rules) => finding.text(rules),
            None => finding,
        };
        finding.command(flush)
    }
}

impl Pattern {
    fn name(&self) -> &'static str {
        match self {
            Pattern::OneTarget(..) => "one-source-one-target",
            Pattern::ManyPorts(..) => "one-source-many-ports",
            Pattern::ManyAddresses(_) => "one-source-many-addresses",
            Pattern::ManySources(_) => "many-sources-one-target",
            Pattern::Scattered => "scattered",
        }
    }

    fn source(&self) -> Option<IpAddr> {
        match self {
            Pattern::OneTarget(source, _) | Pattern::ManyPorts(source, _) | Pattern::ManyAddresses(source) => {
                Some(*source)
            }
            Pattern::ManySources(_) | Pattern::Scattered => None,
        }
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

/// Rules that exempt a destination from tracking, in both directions.
fn untracked(destination: &Destination) -> String {
    let (family, service) = service(destination);
    let back = service.replace("daddr", "saddr").replace("dport", "sport");
    format!(
        "# If no rule and no NAT needs the state of that traffic: exempt it from tracking, both directions (review first).\n\
         table inet ctnl_untracked {{\n  chain prerouting {{ type filter hook prerouting priority raw; {family} {service} notrack; \
         {family} {back} notrack; }}\n  chain output {{ type filter hook output priority raw; {family} {service} notrack; \
         {family} {back} notrack; }}\n}}"
    )
}

/// What keeps the state of a handshake out of the table until it is complete: lines of a shell, and of nft.
fn syn_flood(destination: &Destination) -> [String; 2] {
    let (family, service) = service(destination);
    let settings = "\
# In a shell, on the server where the socket is:
sysctl -w net.ipv4.tcp_syncookies=1
# In a shell, on a firewall before it, for the rules of SYNPROXY (review first). It is for all connections of this namespace:
# the entry of an established one that is flushed afterwards does not come back, and its packets are INVALID. So do not flush
# established connections while it is 0; 1 is the default.
sysctl -w net.netfilter.nf_conntrack_tcp_loose=0";
    let rules = format!(
        "# For nft -f, on a firewall before it: SYNPROXY answers SYNs without an entry (review first).\n\
         table inet ctnl_syn_flood {{\n  chain prerouting {{ type filter hook prerouting priority raw; {family} {service} tcp flags syn \
         notrack; }}\n  chain forward {{ type filter hook forward priority filter; {family} {service} ct state \
         invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm; {family} {service} ct state invalid drop; }}\n}}"
    );
    [settings.to_owned(), rules]
}

/// A rule that blocks a source.
fn block(source: IpAddr) -> String {
    let family = if source.is_ipv4() { "ip" } else { "ip6" };
    format!(
        "# If that host is not to do this: block it before it has an entry (review first).\n\
         table inet ctnl_blocked {{\n  chain prerouting {{ type filter hook prerouting priority raw; {family} saddr {source} drop; }}\n}}"
    )
}

/// The family of the address, and the match of nft for address and port.
fn service(destination: &Destination) -> (&'static str, String) {
    let Destination { address, port, .. } = destination;
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    let protocol = destination.protocol_name();
    match port {
        Some(port) => (family, format!("daddr {address} {protocol} dport {port}")),
        None => (family, format!("daddr {address} meta l4proto {protocol}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::model::{Flow, TcpState};

    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::MadeUpHost;
    use crate::doctor::made_up_kernel::{MadeUpKernel, address, idle, tcp, udp};

    fn findings(max: u32, count: u32, flow: impl Fn(u32) -> Flow) -> Vec<Finding> {
        let mut kernel = MadeUpKernel::new(max);
        kernel.entries(count, |number| (flow(number), idle(5)));
        MadeUpHost::new().running(&kernel).findings(run)
    }

    fn one(flow: impl Fn(u32) -> Flow) -> Finding {
        findings(1_000_000, 5_000, flow).into_iter().next().unwrap()
    }

    const SERVER: u32 = 0x00ff_0001;

    #[test]
    fn many_syn_recv_of_many_sources_to_one_port_are_a_syn_flood() {
        let finding = one(|number| tcp(TcpState::SynRecv, address(number), address(SERVER), 443));
        assert_eq!(finding.title, "SYN flood on 10.255.0.1:443/tcp: 5000 handshakes without their last ACK");
        assert_eq!(finding.severity, Severity::Warning);
        let [Fix::Command(flush), Fix::Text(settings), Fix::Text(rules)] = &*finding.fixes else { unreachable!() };
        assert!(settings.contains("tcp_syncookies=1") && settings.contains("does not come back"), "{settings}");
        assert!(settings.lines().all(|line| line.starts_with(['#', 's'])) && !rules.contains("sysctl"), "{rules}");
        assert!(rules.contains("synproxy mss") && rules.contains("tcp dport 443 ct state invalid drop"), "{rules}");
        assert_eq!(rules.matches("ct state").count(), rules.matches("tcp dport 443 ct state").count(), "{rules}");
        assert_eq!(flush, "ctnl flush 'tcp and state syn_recv and dst 10.255.0.1 and proto tcp and dport 443'");
    }

    #[test]
    fn syns_without_an_answer_are_told_apart_by_where_they_come_from_and_go_to() {
        let syn = |src, dst, dport: u32| tcp(TcpState::SynSent, src, dst, dport.try_into().unwrap());
        let (client, server) = (address(7), address(SERVER));
        for (finding, title, pattern) in [
            (
                one(|_| syn(client, server, 443)),
                "10.0.0.7 opens connections to 10.255.0.1:443/tcp, which does not answer: 5000",
                "one-source-one-target",
            ),
            (
                one(|number| syn(client, server, number)),
                "10.0.0.7 scans the ports of 10.255.0.1: 5000 SYNs without an answer",
                "one-source-many-ports",
            ),
            (
                one(|number| syn(client, address(1_000 + number), 443)),
                "10.0.0.7 opens connections to many addresses, which do not answer: a scan, or a worm",
                "one-source-many-addresses",
            ),
            (
                one(|number| syn(address(1_000 + number), server, 443)),
                "10.255.0.1:443/tcp does not answer 5000 SYNs of many sources",
                "many-sources-one-target",
            ),
            (
                one(|number| syn(address(1_000 + number), address(SERVER + number), 443)),
                "5000 SYNs have no answer",
                "scattered",
            ),
        ] {
            assert_eq!((&*finding.title, &finding.figures["pattern"]), (title, &pattern.into()));
        }
    }

    #[test]
    fn unreplied_udp_of_one_source_is_one_way_traffic_or_a_scan() {
        let finding = one(|_| udp(address(7), address(SERVER), 514));
        assert_eq!(finding.title, "10.0.0.7 sends to 10.255.0.1:514/udp from 5000 ports, and gets no reply");
        let Fix::Text(rules) = &finding.fixes[0] else { unreachable!() };
        for direction in ["ip daddr 10.255.0.1 udp dport 514 notrack", "ip saddr 10.255.0.1 udp sport 514 notrack"] {
            assert!(rules.contains(direction), "{rules}");
        }
        let finding = one(|number| udp(address(7), address(SERVER + number), 53));
        assert_eq!(finding.figures["pattern"], "one-source-many-addresses");
        assert_eq!(finding.fixes[1], Fix::Command("ctnl flush 'udp and unreplied and src 10.0.0.7'".to_owned()));
    }

    #[test]
    fn connections_of_which_one_side_passes_are_asymmetric_routing() {
        let finding = one(|number| Flow {
            status: ctnl::model::Status::empty(),
            ..tcp(TcpState::Established, address(number), address(SERVER), 443)
        });
        assert_eq!(finding.title, "only one side of 5000 TCP connections passes this host");
        let list =
            "ctnl list 'tcp and unreplied and not state syn_sent and dst 10.255.0.1 and proto tcp and dport 443'";
        assert_eq!(finding.fixes, [Fix::Command(list.to_owned())], "a flush would not help: they are made again");
    }

    #[test]
    fn stale_connections_and_whole_ones_are_no_flood_and_neither_is_a_small_part_of_a_table() {
        let established = |number| tcp(TcpState::Established, address(number), address(SERVER), 443);
        assert_eq!(findings(10_000, 9_000, established), []);
        let syn = |number| tcp(TcpState::SynSent, address(number), address(SERVER), 443);
        assert_eq!(findings(1_000_000, 999, syn), []);
        let mixed = |number: u32| if number.is_multiple_of(11) { syn(number) } else { established(number) };
        assert_eq!(findings(1_000_000, 20_000, mixed), [], "1819 are a lot, and less than a tenth");
    }

    #[test]
    fn a_flood_that_fills_half_of_the_maximum_is_critical() {
        let syn = |number| tcp(TcpState::SynRecv, address(number), address(SERVER), 443);
        let severity = |max| findings(max, 5_000, syn)[0].severity;
        assert_eq!((severity(10_000), severity(10_001)), (Severity::Critical, Severity::Warning));
    }

    #[test]
    fn one_way_traffic_of_many_sources_in_a_table_with_room_is_a_note_and_can_be_exempted() {
        let log = |number| udp(address(number), address(SERVER), 514);
        let found = |max| findings(max, 1_500, log).remove(0);
        let note = found(262_144);
        assert_eq!((note.severity, found(15_000).severity), (Severity::Note, Severity::Warning));
        let [Fix::Text(rules), Fix::Command(_)] = &*note.fixes else { unreachable!() };
        assert!(rules.contains("ip daddr 10.255.0.1 udp dport 514 notrack"), "{rules}");
        let mut kernel = MadeUpKernel::new(20_000);
        kernel.entries(1_500, |number| (log(number), idle(5))).grows(10_000, 1_500);
        let half_full = MadeUpHost::new().running(&kernel).findings(run).remove(0);
        assert_eq!(half_full.severity, Severity::Warning);
    }

    #[test]
    fn half_open_connections_in_a_table_with_space_are_a_note_unless_a_service_is_flooded_or_down() {
        let (client, server) = (address(7), address(SERVER));
        let one_side = |number| Flow {
            status: ctnl::model::Status::empty(),
            ..tcp(TcpState::Established, address(number), server, 443)
        };
        let kinds: [(&dyn Fn(u32) -> Flow, Severity); 6] = [
            (&|_| tcp(TcpState::SynSent, client, server, 443), Severity::Note),
            (&|number| tcp(TcpState::SynSent, address(number), address(SERVER + number), 443), Severity::Note),
            (&|_| tcp(TcpState::SynRecv, client, server, 443), Severity::Note),
            (&one_side, Severity::Note),
            (&|number| tcp(TcpState::SynSent, address(number), server, 443), Severity::Warning),
            (&|number| tcp(TcpState::SynRecv, address(number), server, 443), Severity::Warning),
        ];
        for (index, (flow, with_space)) in kinds.into_iter().enumerate() {
            let severity = |max| findings(max, 1_500, flow)[0].severity;
            assert_eq!((severity(262_144), severity(15_000)), (with_space, Severity::Warning), "{index}");
        }
    }

    #[test]
    fn every_command_has_a_filter_that_ctnl_understands() {
        let kinds = [TcpState::SynSent, TcpState::SynRecv].map(|state| one(|_| tcp(state, address(7), address(8), 80)));
        let udp = [one(|n| udp(address(n), address(8), 53)), one(|n| udp(address(n), address(8 + n), 53))];
        let services = ctnl::filter::ServiceNames::default();
        let no_file = std::io::ErrorKind::NotFound;
        let context =
            ctnl::filter::Context { services: &services, label: &|_| None, read_file: &|_| Err(no_file.into()) };
        let other = Missing::Reply;
        let survey = Survey::default();
        let evidence = MadeUpHost::new().evidence();
        let reply = Kind { evidence: &evidence, survey: &survey, missing: other, entries: &Unanswered::default() };
        let commands = kinds.iter().chain(&udp).flat_map(|finding| &finding.fixes).filter_map(|fix| match fix {
            Fix::Command(line) => line.strip_prefix("ctnl flush '")?.strip_suffix('\''),
            Fix::Text(_) => None,
        });
        let filters: Vec<_> = commands.chain([reply.filter()]).collect();
        assert_eq!(filters.len(), 5);
        for filter in filters {
            assert!(ctnl::filter::Filter::parse(filter, &context).is_ok(), "{filter}");
        }
    }
}
