//! The values of `ctnl tune set`.

use anyhow::Result;
use ctnl::model::Timer;
use ctnl::text::nearest;
use ctnl::units::{QuantityError, Seconds, parse_count};

use crate::term::exit::usage;
use crate::tune::Setting;

/// Largest number that a sysctl takes (`INT_MAX`).
const MOST: u64 = i32::MAX as u64;

const SIZES: &str = "Sizes (of the whole host)";
const TIMEOUTS: &str = "Timeouts (TIME: 30s, 12h, 5d, or seconds)";
const EXTENSIONS: &str = "What is kept of new entries";

/// New values.
#[derive(Debug, Clone, clap::Args)]
pub struct ValueArgs {
    /// Most entries of a namespace (500k, 524288)
    #[arg(long, value_name = "N", value_parser = number, help_heading = SIZES)]
    max: Option<u64>,

    /// Buckets of the hash table; the kernel rounds up to whole pages
    #[arg(long, value_name = "N", value_parser = number, help_heading = SIZES)]
    buckets: Option<u64>,

    /// Most expectations of a namespace
    #[arg(long, value_name = "N", value_parser = number, help_heading = SIZES)]
    expect_max: Option<u64>,

    /// TCP: connections that are established
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    established_timeout: Option<u64>,

    /// TCP: CLOSE_WAIT
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    close_wait_timeout: Option<u64>,

    /// TCP: FIN_WAIT
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    fin_wait_timeout: Option<u64>,

    /// TCP: TIME_WAIT
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    time_wait_timeout: Option<u64>,

    /// TCP: SYN_SENT
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    syn_sent_timeout: Option<u64>,

    /// TCP: SYN_RECV
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    syn_recv_timeout: Option<u64>,

    /// UDP: not a stream yet
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    udp_timeout: Option<u64>,

    /// UDP: streams
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    udp_stream_timeout: Option<u64>,

    /// Protocols without a tracker of their own
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = TIMEOUTS)]
    generic_timeout: Option<u64>,

    /// Any timeout by its name in `ctnl tune show`, e.g. icmp=10s; may be repeated
    #[arg(long, value_name = "NAME=TIME", value_delimiter = ',', help_heading = TIMEOUTS)]
    timeout: Vec<String>,

    /// Packet and byte counters
    #[arg(long, value_name = "on|off", value_parser = on_or_off, help_heading = EXTENSIONS)]
    acct: Option<u64>,

    /// Start and stop times
    #[arg(long, value_name = "on|off", value_parser = on_or_off, help_heading = EXTENSIONS)]
    timestamp: Option<u64>,

    /// Events; auto: of entries that are created while somebody is subscribed
    #[arg(long, value_name = "on|off|auto", value_parser = on_off_or_auto, help_heading = EXTENSIONS)]
    events: Option<u64>,
}

impl ValueArgs {
    /// The values that are given, each once.
    ///
    /// # Errors
    /// None is given, or one twice, or a timeout has no name that is known.
    pub fn values(&self) -> Result<Vec<(Setting, u64)>> {
        let timeout = Setting::Timeout;
        let options = [
            (Setting::Max, self.max),
            (Setting::Buckets, self.buckets),
            (Setting::ExpectMax, self.expect_max),
            (timeout(Timer::TcpEstablished), self.established_timeout),
            (timeout(Timer::TcpCloseWait), self.close_wait_timeout),
            (timeout(Timer::TcpFinWait), self.fin_wait_timeout),
            (timeout(Timer::TcpTimeWait), self.time_wait_timeout),
            (timeout(Timer::TcpSynSent), self.syn_sent_timeout),
            (timeout(Timer::TcpSynRecv), self.syn_recv_timeout),
            (timeout(Timer::Udp), self.udp_timeout),
            (timeout(Timer::UdpStream), self.udp_stream_timeout),
            (timeout(Timer::Generic), self.generic_timeout),
            (Setting::Acct, self.acct),
            (Setting::Timestamp, self.timestamp),
            (Setting::Events, self.events),
        ];
        let mut values: Vec<_> = options.into_iter().filter_map(|(setting, value)| Some((setting, value?))).collect();
        for text in &self.timeout {
            let value = named_timeout(text)?;
            if values.iter().any(|(setting, _)| *setting == value.0) {
                return Err(usage(format!("the timeout {} is given twice", value.0)));
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(usage(
                "no setting is given\n  hint: e.g. --max 524288; `ctnl tune show` has what is recommended",
            ));
        }
        Ok(values)
    }
}

fn named_timeout(text: &str) -> Result<(Setting, u64)> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| usage(format!("--timeout '{text}': expected NAME=TIME, e.g. icmp=10s")))?;
    let timeouts = || Setting::all().filter(|setting| matches!(setting, Setting::Timeout(_)));
    let Some(setting) = timeouts().find(|setting| setting.name() == name) else {
        let names: Vec<_> = timeouts().map(Setting::name).collect();
        let hint = nearest(name, names.iter().copied())
            .map_or_else(|| format!("expected one of {}", names.join(", ")), |near| format!("did you mean {near}?"));
        return Err(usage(format!("--timeout: unknown timeout '{name}'\n  hint: {hint}")));
    };
    Ok((setting, time(value).map_err(|error| usage(format!("--timeout {name}: {error}")))?))
}

fn number(text: &str) -> Result<u64, String> {
    let number = parse_count(text).map_err(|error| error.to_string())?;
    if number > MOST {
        Err(format!("{text} is larger than {MOST}, the largest number of a sysctl"))
    } else {
        Ok(number)
    }
}

fn time(text: &str) -> Result<u64, String> {
    let Seconds(seconds) = text.parse().map_err(|error: QuantityError| error.to_string())?;
    // jiffies are counted in an int, at 1000 Hz at most.
    if seconds > MOST / 1000 {
        Err(format!("{text} is longer than 24 days, the longest of every kernel"))
    } else {
        Ok(seconds)
    }
}

fn on_or_off(text: &str) -> Result<u64, String> {
    match text {
        "on" | "1" => Ok(1),
        "off" | "0" => Ok(0),
        _ => Err(format!("'{text}': expected on or off")),
    }
}

fn on_off_or_auto(text: &str) -> Result<u64, String> {
    match text {
        "auto" | "2" => Ok(2),
        _ => on_or_off(text).map_err(|_| format!("'{text}': expected on, off or auto")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        values: ValueArgs,
    }

    fn values(line: &str) -> Result<Vec<(String, u64)>, String> {
        let line = Line::try_parse_from(format!("set {line}").split_whitespace()).map_err(|error| error.to_string())?;
        let values = line.values.values().map_err(|error| error.to_string())?;
        Ok(values.into_iter().map(|(setting, value)| (setting.name().to_owned(), value)).collect())
    }

    #[test]
    fn values_have_units_and_names() {
        let line = "--max 500k --established-timeout 1h --events auto --timeout icmp=10s,sctp.established=90";
        let pairs = values(line).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let expected =
            [("max", 500_000), ("tcp.established", 3600), ("events", 2), ("icmp", 10), ("sctp.established", 90)];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn what_is_no_value_is_refused_with_what_was_expected() {
        for (line, text) in [
            ("", "no setting is given"),
            ("--max 3G", "larger than 2147483647"),
            ("--max -1", "unexpected argument"),
            ("--generic-timeout 30d", "longer than 24 days"),
            ("--acct yes", "expected on or off"),
            ("--events 3", "expected on, off or auto"),
            ("--timeout icmp", "expected NAME=TIME"),
            ("--timeout icpm=3", "did you mean icmp?"),
            ("--generic-timeout 9 --timeout generic=8", "given twice"),
        ] {
            let error = values(line).unwrap_err();
            assert!(error.contains(text), "{line}: {error}");
        }
    }

    #[test]
    fn every_timeout_of_the_kernel_has_a_name_that_is_taken() {
        for setting in Setting::all().filter(|setting| matches!(setting, Setting::Timeout(_))) {
            assert_eq!(values(&format!("--timeout {setting}=60")).unwrap(), [(setting.name().to_owned(), 60)]);
        }
    }
}
