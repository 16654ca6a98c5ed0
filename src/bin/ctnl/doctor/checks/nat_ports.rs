//! Ports of source NAT that run out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ctnl::model::{Protocol, protocol_name};

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::survey::nat::PortKey;
use crate::doctor::evidence::{Evidence, Survey};
use crate::doctor::finding::{Finding, Severity};

/// Of the ports, in hundredths: what is found. (What is over half is counted twice.)
const WARNING: u64 = 80;
const CRITICAL: u64 = 95;
/// Dry within an hour is critical.
const HOUR: f64 = 3600.0;
/// From this time of --watch on any growth counts. In a shorter one, it has to be a hundredth of the ports.
const LONG: Duration = Duration::from_secs(30);
/// Findings of one host, at most.
const MOST: usize = 16;
/// Inside sources that are named.
const SOURCES: usize = 3;

pub const CHECK: Check = Check {
    name: "nat-ports",
    about: "whether source NAT runs out of ports",
    explanation: "\
Looks at the entries with source NAT, by NAT address, protocol, destination and its port: each of
these has ports of its own, since replies are told apart by all of them. The range is that of the
rule (`snat to 192.0.2.1:2000-2009`), else that of the kernel, which depends on the port that the
inside host has chosen: 1-511 below 512, 600-1023 below 1024, 1024-65535 above.

Found is what uses 80 % of its ports; critical from 95 % on, or where the rest is used up within an
hour at the present rate. The rate is measured: what uses over half is counted again at the end of
--watch, by a second dump, which is made only then. Ports come and go, so growth of less than a
hundredth of them counts only from `--watch 30s` on.

Where the kernel finds no free port in 128 to 240 tries, the new connection gets one that is in use,
and its first packet is dropped (insert_failed). Newer kernels take that of a TCP connection in
TIME_WAIT then. The counter found rises with each try that finds a port in use.

In a table of millions, what has less than 1/2048 of all entries may be missed, unless a rule gives
it 256 ports or fewer.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let survey = evidence.survey.as_ref().map_err(Clone::clone)?;
        let over = survey.nat.ports.over(50);
        let uses = over.into_iter().map(|(key, used)| PortsInUse::of(evidence, key, used));
        let found = uses.filter(|ports| ports.severity().is_some()).take(MOST);
        Ok(found.filter_map(|ports| ports.finding(evidence, survey)).collect())
    })
}

/// The ports of one NAT address for one destination.
struct PortsInUse {
    key: PortKey,
    used: u64,
    /// More ports in a second; `None` where it was not measured or there are not more.
    rate: Option<f64>,
    /// Whether the rate is more than chance: ports come and go.
    is_rate_certain: bool,
}

impl PortsInUse {
    fn of(evidence: &Evidence, key: PortKey, used: u64) -> Self {
        let growth = evidence.port_growth.iter().find(|growth| growth.key == key);
        let growth = growth.filter(|growth| growth.more > 0 && growth.span.0 > 0);
        let is_rate_certain =
            growth.is_some_and(|growth| growth.more * 100 >= key.capacity() || growth.span.0 >= LONG.as_nanos() as u64);
        let rate = growth.map(|growth| growth.more as f64 * 1e9 / growth.span.0 as f64);
        PortsInUse { key, used, rate, is_rate_certain }
    }

    fn share(&self) -> u64 {
        self.used * 100 / self.key.capacity()
    }

    /// The seconds until no port is free, at the present rate, if that is certain.
    fn seconds_left(&self) -> Option<f64> {
        let rate = self.rate.filter(|_| self.is_rate_certain)?;
        Some(self.key.capacity().saturating_sub(self.used) as f64 / rate)
    }

    fn severity(&self) -> Option<Severity> {
        let is_soon = self.seconds_left().is_some_and(|seconds| seconds <= HOUR);
        match self.share() {
            share if share >= CRITICAL || (share >= 50 && is_soon) => Some(Severity::Critical),
            share if share >= WARNING => Some(Severity::Warning),
            _ => None,
        }
    }

    fn finding(&self, evidence: &Evidence, survey: &Survey) -> Option<Finding> {
        let PortKey { nat, dst, dport, range: (first, last), .. } = self.key;
        let (protocol, capacity, share) = (self.protocol(), self.key.capacity(), self.share());
        let title = format!("{share} % of the {protocol} ports of NAT address {nat} to {} are in use", end(dst, dport));
        let consequence = match self.seconds_left() {
            _ if self.used >= capacity => "No port is free: new connections to this destination fail".to_owned(),
            Some(seconds) => format!(
                "Dry in about {} at the present rate: new connections to this destination fail then",
                time(seconds)
            ),
            None => "When no port is free, new connections to this destination fail".to_owned(),
        };
        let at_least = if survey.nat.ports.error(&self.key) > 0 { "at least " } else { "" };
        let mut finding = Finding::new(self.severity()?, title, consequence)
            .evidence(format!("{at_least}{} of the {capacity} ports {first}-{last} are in use", self.used))
            .evidence(self.rate_line());
        let (sources, is_exact) = survey.nat.ports.sources_of(&self.key, SOURCES);
        let bound = if is_exact { "" } else { "at least " };
        for (src, used) in sources {
            finding = finding.evidence(format!("{src} uses {bound}{used} of them"));
        }
        for line in counters(evidence) {
            finding = finding.evidence(line);
        }
        Some(
            self.fixes(finding, evidence)
                .figure("nat_address", nat.to_string())
                .figure("destination", dst.to_string())
                .figure("destination_port", dport)
                .figure("protocol", protocol)
                .figure("used", self.used)
                .figure("ports", capacity)
                .figure("first_port", first)
                .figure("last_port", last)
                .figure("more_per_second", self.rate.unwrap_or(0.0)),
        )
    }

    fn rate_line(&self) -> String {
        match self.rate {
            Some(rate) => format!("{rate:.1} more in a second, between two dumps of the table"),
            None => "not growing over the time of --watch, or not by enough to be measured".to_owned(),
        }
    }

    fn protocol(&self) -> String {
        let number = self.key.protocol;
        protocol_name(Protocol::from(number)).map_or_else(|| number.to_string(), str::to_owned)
    }

    fn fixes(&self, finding: Finding, evidence: &Evidence) -> Finding {
        let PortKey { nat, dst, dport, range: (first, last), .. } = self.key;
        let protocol = self.protocol();
        let filter = format!("-p {protocol} --nat-src {nat} --reply-src {dst} --reply-sport {dport}");
        let timeouts = match Protocol::from(self.key.protocol) {
            Protocol::Udp => "--udp-timeout 10s --udp-stream-timeout 60s",
            Protocol::Tcp => "--time-wait-timeout 30s --close-wait-timeout 30s",
            _ => "--generic-timeout 60s",
        };
        let more = if last - first < u16::MAX - 1024 {
            format!("# more addresses of this host up to LAST, or a wider range than {first}-{last}; nftables:\n")
        } else {
            "# more addresses of this host, up to LAST; nftables:\n".to_owned()
        };
        finding
            .command(evidence.command(&format!("count --by src {filter}")))
            .text(format!("{more}snat to {nat}-LAST"))
            .command(evidence.command(&format!("tune set {timeouts}")))
    }
}

fn end(address: IpAddr, port: u16) -> SocketAddr {
    (address, port).into()
}

fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.0} h", seconds / HOUR),
    }
}

/// The counters that move when ports are hard to find, of the whole namespace.
fn counters(evidence: &Evidence) -> Vec<String> {
    let Ok(window) = &evidence.window else { return Vec::new() };
    let moved = ["insert_failed", "found"].into_iter().filter_map(|name| {
        let counter = window.counter(name)?;
        (counter.total > 0)
            .then(|| format!("{name}: {} in {:.0} s, {} in total", counter.change, window.seconds(), counter.total))
    });
    moved.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::units::Nanos;

    use super::*;
    use crate::doctor::evidence::PortGrowth;
    use crate::doctor::evidence::rules::{NatKind, NatRule, Rules};
    use crate::doctor::evidence::survey::nat::KnownNat;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::{MadeUpHost, count, findings, source_nat};

    /// A host that maps UDP to 192.0.2.1, by a rule with these ports, and has entries with ports from `first` on.
    fn host(rule_ports: Option<(u16, u16)>, first: u16, entries: u16, destinations: u16) -> Evidence {
        let mut rule = NatRule::new(NatKind::Snat, "");
        rule.add_addresses("192.0.2.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        rule_ports.into_iter().for_each(|(first, last)| rule.add_ports(first, last));
        let rules = Rules { nat: vec![rule], ..Rules::default() };
        let mut survey = Survey::beside(KnownNat::of(Some(&rules), None), None);
        for number in 0..entries {
            let (src, port) = (10 + number % 2, first + number / destinations);
            let (src, dst) = (format!("10.0.0.{src}:{port}"), format!("198.51.100.{}:53", 1 + number % destinations));
            count(&mut survey, &source_nat(Protocol::Udp, &src, &dst, &format!("192.0.2.1:{port}")));
        }
        let mut evidence = MadeUpHost::new().evidence();
        evidence.survey = Ok(survey);
        evidence
    }

    #[test]
    fn the_range_of_a_rule_that_is_nearly_used_up_is_found() {
        let found = findings(run(&host(Some((2000, 2009)), 2000, 8, 1)));
        assert_eq!(found[0].title, "80 % of the udp ports of NAT address 192.0.2.1 to 198.51.100.1:53 are in use");
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
        assert_eq!(found[0].evidence[0], "8 of the 10 ports 2000-2009 are in use");
        assert_eq!(found[0].evidence[2..4], ["10.0.0.10 uses 4 of them", "10.0.0.11 uses 4 of them"]);
        let count = "ctnl count --by src -p udp --nat-src 192.0.2.1 --reply-src 198.51.100.1 --reply-sport 53";
        assert_eq!(found[0].fixes[0], Fix::Command(count.to_owned()));
        let full = findings(run(&host(Some((2000, 2009)), 2000, 10, 1)));
        assert_eq!(full[0].severity, Severity::Critical);
        assert_eq!(full[0].consequence, "No port is free: new connections to this destination fail");
    }

    #[test]
    fn ports_are_free_for_other_destinations_and_in_the_range_of_the_kernel() {
        assert_eq!(run(&host(Some((2000, 2009)), 2000, 10, 2)), Outcome::NOTHING, "5 for each of two destinations");
        assert_eq!(run(&host(None, 2000, 1000, 1)), Outcome::NOTHING, "1000 of 64512");
        assert_eq!(run(&host(Some((2000, 2009)), 2000, 7, 1)), Outcome::NOTHING, "70 %");
    }

    #[test]
    fn clients_with_low_ports_have_few_of_them() {
        let found = findings(run(&host(None, 1, 490, 1)));
        assert_eq!(found[0].evidence[0], "490 of the 511 ports 1-511 are in use");
        // 63 are counted before the sources are.
        assert_eq!(found[0].evidence[2], "10.0.0.11 uses at least 214 of them");
        assert_eq!(found[0].severity, Severity::Critical);
    }

    #[test]
    fn half_of_the_ports_with_a_rate_that_uses_up_the_rest_within_the_hour_are_critical() {
        let mut evidence = host(Some((2000, 2099)), 2000, 60, 1);
        let (key, _) = evidence.survey.as_ref().unwrap().nat.ports.over(50)[0];
        assert_eq!(run(&evidence), Outcome::NOTHING, "60 % and not growing");
        evidence.port_growth = vec![PortGrowth { key, more: 2, span: Nanos(2_000_000_000) }];
        let found = findings(run(&evidence));
        assert_eq!(found[0].severity, Severity::Critical);
        assert!(found[0].consequence.starts_with("Dry in about 40 s at the present rate"), "{}", found[0].consequence);
        evidence.port_growth = vec![PortGrowth { key, more: 1, span: Nanos(100_000_000_000) }];
        assert_eq!(run(&evidence), Outcome::NOTHING, "in 4000 s");
    }

    #[test]
    fn a_growth_that_may_be_chance_is_shown_and_no_time_is_derived_from_it() {
        let mut evidence = host(None, 1024, 53_000, 1);
        let (key, _) = evidence.survey.as_ref().unwrap().nat.ports.over(50)[0];
        let mut grown = |more, seconds: u64| {
            evidence.port_growth = vec![PortGrowth { key, more, span: Nanos(seconds * 1_000_000_000) }];
            findings(run(&evidence)).remove(0)
        };
        let found = grown(100, 2);
        assert_eq!(
            (found.severity, &*found.evidence[1]),
            (Severity::Warning, "50.0 more in a second, between two dumps of the table")
        );
        assert_eq!(found.consequence, "When no port is free, new connections to this destination fail");
        assert_eq!(grown(1500, 30).severity, Severity::Critical);
    }
}
