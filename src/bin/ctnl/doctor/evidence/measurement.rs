//! What takes time: the counters over the window, and the dump within it.

use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{self, CpuStats, Occupancy};
use ctnl::units::{Nanos, Seconds};

use super::Reading;
use super::occupancy::{OccupancyChange, with_maximum};
use super::port_growth::PortGrowth;
use super::series::{SeriesPoint, sample_times};
use super::survey::Survey;
use super::window::Window;
use crate::scan::Watch;

/// What was measured.
#[derive(Debug)]
pub struct Measurement {
    /// The number of entries at both ends of the window.
    pub occupancy: Reading<OccupancyChange>,
    /// The counters over the window.
    pub window: Reading<Window>,
    /// The samples in the window, of which the first and the last one make the other figures.
    pub series: Vec<SeriesPoint>,
    /// What the dump has shown.
    pub survey: Reading<Survey>,
    /// NAT ports of which over half are in use, counted twice.
    pub port_growth: Vec<PortGrowth>,
    /// A signal ended it.
    pub is_interrupted: bool,
}

/// The counters at one time.
struct Sample {
    taken: Nanos,
    occupancy: Result<Occupancy, Error>,
    cpus: Result<Vec<CpuStats>, Error>,
}

impl Measurement {
    /// Nothing was measured, and why.
    pub fn missing(why: &str) -> Self {
        let why = || why.to_owned();
        let (occupancy, window, survey) = (Err(why()), Err(why()), Err(why()));
        Measurement { occupancy, window, series: Vec::new(), survey, port_growth: Vec::new(), is_interrupted: false }
    }

    /// Samples the counters, dumps the table, waits until `window` is over, and samples them again. A signal ends it at
    /// the next datagram or at once: then the window is what had passed. NAT ports of which over half are in use are
    /// counted a second time at its end.
    pub fn take(
        connection: &mut Connection,
        host: &Host,
        survey: Survey,
        window: Seconds,
        watch: &mut Watch<'_>,
    ) -> Self {
        let before = Sample::take(connection, &host.clock);
        watch.expected = before.occupancy.as_ref().map_or(0, |occupancy| occupancy.entries.into());
        let dumped = watch.clock.now().monotonic;
        let survey = survey.take(connection, host, watch).map_err(|error| error.to_string());
        let mut series = vec![before.point(&before)];
        for time in sample_times(before.taken, window) {
            // The dump may have taken longer.
            if host.clock.now().monotonic < time {
                wait_until(time, watch);
                series.push(Sample::take(connection, &host.clock).point(&before));
            }
        }
        wait_until(before.taken.plus(window.into()), watch);
        let after = Sample::take(connection, &host.clock);
        let span = after.taken.since(before.taken);
        series.push(after.point(&before));
        let port_growth = survey
            .as_ref()
            .map_or_else(|_| Vec::new(), |survey| PortGrowth::measure(connection, survey, dumped, watch));
        Measurement {
            occupancy: both(before.occupancy, after.occupancy).map(|(before, after)| OccupancyChange {
                before: with_maximum(host, before),
                after: with_maximum(host, after),
                span,
            }),
            window: both(before.cpus, after.cpus).map(|(before, after)| Window::between(&before, &after, span)),
            series,
            survey,
            port_growth,
            is_interrupted: watch.interrupt.requested(),
        }
    }
}

impl Sample {
    fn take(connection: &mut Connection, clock: &Clock) -> Self {
        // First what changes fastest; both take less than a millisecond.
        let taken = clock.now().monotonic;
        Sample { taken, occupancy: table::count(connection), cpus: table::stats(connection) }
    }

    /// What has changed since the sample `first`.
    fn point(&self, first: &Sample) -> SeriesPoint {
        let at = self.taken.since(first.taken);
        let window = first.cpus.as_ref().ok().zip(self.cpus.as_ref().ok());
        let window = window.map(|(first, cpus)| Window::between(first, cpus, at)).unwrap_or_default();
        SeriesPoint {
            at,
            entries: self.occupancy.as_ref().ok().map(|occupancy| occupancy.entries.into()),
            changes: window.counters.into_iter().map(|counter| (counter.name, counter.change)).collect(),
        }
    }
}

fn both<T>(before: Result<T, Error>, after: Result<T, Error>) -> Reading<(T, T)> {
    let before = before.map_err(|error| error.to_string())?;
    Ok((before, after.map_err(|error| error.to_string())?))
}

/// Waits until the clock shows `end`, or a signal is received.
fn wait_until(end: Nanos, watch: &mut Watch<'_>) {
    let left = end.since(watch.clock.now().monotonic);
    let console = &mut *watch.console;
    watch.interrupt.sleep(left.into(), |left| {
        console.progress(|| format!("measuring the counters: {} s left", left.as_secs() + 1));
    });
}
