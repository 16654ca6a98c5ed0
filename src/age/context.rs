//! Reads the settings that an [`IdleEstimator`](super::IdleEstimator) needs from the kernel.

use super::{PreviousTimeout, TimeoutContext};
use crate::model::{Policies, TIMERS, Timeouts, TimerRow};
use crate::netlink::{Connection, Error};
use crate::sysctl::Sysctl;
use crate::table;

/// The first kernel in which a UDP flow becomes ASSURED only as a stream (commit b7b1d02fc439, in
/// `nf_conntrack_udp_packet` in net/netfilter/nf_conntrack_proto_udp.c). Stable kernels have it earlier; with the wrong answer an estimate of them
/// is smaller, never larger.
const ASSURED_UDP_IS_STREAM: (u32, u32) = (5, 16);

impl TimeoutContext {
    /// Reads the timeouts of the connection's namespace over netlink and, where the kernel does not
    /// report one there, from files in `netfilter` ([`Sysctl::NETFILTER`]); the timeout policies; and the
    /// release from `kernel` ([`Sysctl::KERNEL`]). A timeout in neither place is absent. No written
    /// timeout is set, and entries made over netlink are not trusted.
    ///
    /// # Errors
    /// An error of the kernel, or a namespace that cannot be entered. A setting that cannot be read is
    /// absent.
    pub fn read(
        connection: &mut Connection,
        netfilter: &Sysctl,
        kernel: &Sysctl,
        previous_timeouts: Vec<PreviousTimeout>,
    ) -> Result<Self, Error> {
        let (timeouts, policies) = read_timeouts(connection, netfilter, |_| true)?;
        let release = kernel.read_text("osrelease").ok();
        let assured_udp_is_stream =
            release.and_then(|release| version(&release)).is_some_and(|version| version >= ASSURED_UDP_IS_STREAM);
        Ok(TimeoutContext { timeouts, policies, previous_timeouts, assured_udp_is_stream, ..TimeoutContext::default() })
    }

    /// The same with the timeouts and policies as they are now. Of the files, those are read that had a
    /// timeout before.
    ///
    /// # Errors
    /// As [`TimeoutContext::read`].
    pub fn read_again(&self, connection: &mut Connection, netfilter: &Sysctl) -> Result<Self, Error> {
        let had_timeout = |row: &TimerRow| self.timeouts.get(row.timer).is_some();
        let (timeouts, policies) = read_timeouts(connection, netfilter, had_timeout)?;
        Ok(TimeoutContext { timeouts, policies, ..self.clone() })
    }

    /// The same with the timeouts and policies that the kernel reports over netlink now, and otherwise those
    /// of before: for a process that has entered the namespace and may not do so again.
    ///
    /// # Errors
    /// An error of the kernel.
    pub fn read_again_over_netlink(&self, connection: &mut Connection) -> Result<Self, Error> {
        let policies = table::policies(connection)?;
        let timeouts = replaced(&self.timeouts, &table::timeouts(connection)?);
        Ok(TimeoutContext { timeouts, policies, merged_timeouts: Vec::new(), ..self.clone() })
    }
}

/// The timeouts of `now`, and those of `before` that it does not have.
fn replaced(before: &Timeouts, now: &Timeouts) -> Timeouts {
    now.iter().fold(before.clone(), |timeouts, (timer, seconds)| timeouts.with(timer, seconds))
}

/// The timeouts, also from the files of the rows for which `may_have_file`, and the timeout policies.
fn read_timeouts(
    connection: &mut Connection,
    netfilter: &Sysctl,
    may_have_file: impl Fn(&TimerRow) -> bool,
) -> Result<(Timeouts, Policies), Error> {
    let policies = table::policies(connection)?;
    let mut timeouts = table::timeouts(connection)?;
    let is_missing = |row: &&TimerRow| timeouts.get(row.timer).is_none() && may_have_file(row);
    let missing: Vec<&TimerRow> = TIMERS.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        // Another namespace is entered by a thread of its own.
        connection.netns().run(|| add_files(&mut timeouts, netfilter, &missing))?;
    }
    Ok((timeouts, policies))
}

/// Reads the timeouts of `rows` from files.
fn add_files(timeouts: &mut Timeouts, netfilter: &Sysctl, rows: &[&TimerRow]) {
    for row in rows {
        let seconds = row.sysctl.and_then(|name| netfilter.read(name).ok());
        if let Some(seconds) = seconds.and_then(|seconds| u32::try_from(seconds).ok()) {
            timeouts.set(row.timer, seconds);
        }
    }
}

/// The first two numbers of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Timer;

    #[test]
    fn a_timeout_is_read_from_its_file_where_the_file_has_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("nf_conntrack_udp_timeout", "31\n");
        write("nf_conntrack_icmp_timeout", "32\n");
        write("nf_conntrack_generic_timeout", "soon\n");
        let mut timeouts = Timeouts::default().with(Timer::Udp, 7);
        let rows: Vec<&TimerRow> = TIMERS.iter().filter(|row| row.timer != Timer::Udp).collect();
        add_files(&mut timeouts, &Sysctl::at(folder.path()), &rows);
        assert_eq!(timeouts.get(Timer::Udp), Some(7));
        assert_eq!(timeouts.get(Timer::Icmp), Some(32));
        assert_eq!(timeouts.get(Timer::Generic), None);
        assert_eq!(timeouts.get(Timer::TcpEstablished), None);
    }

    #[test]
    fn a_timeout_that_is_not_reported_again_stays() {
        let before = Timeouts::default().with(Timer::Udp, 30).with(Timer::Icmp, 31);
        let now = replaced(&before, &Timeouts::default().with(Timer::Udp, 3).with(Timer::Generic, 5));
        assert_eq!(now, Timeouts::default().with(Timer::Udp, 3).with(Timer::Icmp, 31).with(Timer::Generic, 5));
    }

    #[test]
    fn a_release_is_compared_by_number_and_one_without_numbers_is_unknown() {
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("5.9.0+"), Some((5, 9)));
        assert!(version("5.9").unwrap() < ASSURED_UDP_IS_STREAM);
        assert_eq!(version("next-2024"), None);
        assert_eq!(version(""), None);
    }
}
