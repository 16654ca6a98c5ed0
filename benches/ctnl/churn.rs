//! Checks that a flush deletes every stale entry and no other, while other entries are created and
//! deleted at full speed.
//!
//! Runs as a child process, because it keeps the table's content in memory.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use ctnl::clock::Clock;
use ctnl::model::Tuple;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{BATCH, Dump, DumpRequest};
use ctnl::wire::uapi::{cta, ipctnl_msg_ct, nfnl_subsys};
use ctnl::wire::{Batch, Header, MessageClass};
use netlink_packet_core::NLM_F_ACK;

use crate::cases::FLUSH;
use crate::population::{CHURN_NET, FRESH_NET, Families, Population, STALE_NET, Table, create_range, flow, number_of};

/// Flushes the stale half of a table of `entries` with the program `ctnl`. The result, in a sentence.
pub fn check(ctnl: &str, entries: u32) -> Result<String> {
    let population = Population { entries, families: Families::V4, stale: entries / 2 };
    let mut table = Table::open()?;
    table.fill(population)?;
    let (stop, step) = (AtomicBool::new(false), u32::try_from(BATCH)?);
    let mut churn = Churn::start(entries / 10 / step * step)?;
    let churned = thread::scope(|scope| {
        let churning = scope.spawn(|| churn.run(step, &stop));
        let flushed = flush(ctnl);
        stop.store(true, Ordering::Relaxed);
        let churned = churning.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        flushed.and(churned)
    })?;
    let content = TableContent::in_table(&mut table.connection, population, &churn)?;
    content.verify(population, &churn)?;
    Ok(format!(
        "{} stale of {entries} deleted, none missed, nothing else deleted, while {churned} others were created and deleted",
        population.stale
    ))
}

fn flush(ctnl: &str) -> Result<()> {
    let status = Command::new(ctnl).args(FLUSH.split(' ')).stdout(Stdio::null()).status().context("start ctnl")?;
    ensure!(status.success(), "ctnl flush: {status}");
    Ok(())
}

/// Flows of which the oldest are deleted as fast as new ones are created. Those numbered
/// `first..next` exist.
struct Churn {
    connection: Connection,
    first: u32,
    next: u32,
}

impl Churn {
    fn start(ring: u32) -> Result<Self> {
        let mut churn = Churn { connection: Connection::open(&Netns::Current)?, first: 0, next: 0 };
        churn.insert(ring)?;
        Ok(churn)
    }

    /// The number of flows that were replaced before `stop`.
    fn run(&mut self, step: u32, stop: &AtomicBool) -> Result<u32> {
        while !stop.load(Ordering::Relaxed) {
            self.insert(step)?;
            self.delete(step)?;
        }
        Ok(self.first)
    }

    fn insert(&mut self, step: u32) -> Result<()> {
        create_range(&mut self.connection, self.next..self.next + step, |number| {
            flow(Families::V4, CHURN_NET, number)
        })?;
        self.next += step;
        Ok(())
    }

    /// Deletes by tuple alone. Fails if one is missing: the flush has deleted it.
    fn delete(&mut self, step: u32) -> Result<()> {
        let mut batch = Batch::new();
        let last = self.first + step - 1;
        for number in self.first..=last {
            let flags = if number == last { NLM_F_ACK } else { 0 };
            push_delete(&mut batch, number, flags, &flow(Families::V4, CHURN_NET, number).orig);
        }
        self.connection.send("delete", &batch)?;
        self.first += step;
        loop {
            for message in self.connection.receive("delete")? {
                let message = message?;
                if let MessageClass::Answer(answer) = message.classify()? {
                    ensure!(
                        answer.errno.is_none(),
                        "the flush deleted a flow that is not stale: error {:?}",
                        answer.errno
                    );
                    if message.sequence == last {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn push_delete(batch: &mut Batch, sequence: u32, flags: u16, tuple: &Tuple) {
    let subsystem = nfnl_subsys::CTNETLINK;
    let header = Header { subsystem, command: ipctnl_msg_ct::DELETE, flags, family: tuple.family(), sequence };
    batch.push(header, |writer| tuple.emit(writer, cta::TUPLE_ORIG));
}

/// The content of the table after the flush.
struct TableContent {
    stale: u32,
    fresh: Vec<bool>,
    churn: Vec<bool>,
    unexpected: u32,
}

impl TableContent {
    fn in_table(connection: &mut Connection, population: Population, churn: &Churn) -> Result<Self> {
        let slots = |length: u32| vec![false; length as usize];
        let (fresh, live) = (population.entries - population.stale, churn.next - churn.first);
        let mut content = TableContent { stale: 0, fresh: slots(fresh), churn: slots(live), unexpected: 0 };
        let mut dump = Dump::start(connection, DumpRequest::default(), &Clock::system())?;
        while dump.next_datagram(|flow, _| match number_of(flow) {
            Some((STALE_NET, _)) => content.stale += 1,
            Some((FRESH_NET, number)) => mark(&mut content.fresh, number, population.stale, &mut content.unexpected),
            Some((CHURN_NET, number)) => mark(&mut content.churn, number, churn.first, &mut content.unexpected),
            _ => content.unexpected += 1,
        })? {}
        Ok(content)
    }

    fn verify(&self, population: Population, churn: &Churn) -> Result<()> {
        let absent = |slots: &[bool]| slots.iter().filter(|there| !**there).count();
        let (fresh, churned) = (absent(&self.fresh), absent(&self.churn));
        ensure!(self.stale == 0, "{} of {} stale entries were missed", self.stale, population.stale);
        ensure!(fresh == 0, "{fresh} entries that were not stale were deleted");
        ensure!(churned == 0, "{churned} of the {} entries created meanwhile were deleted", churn.next - churn.first);
        ensure!(self.unexpected == 0, "{} unexpected entries", self.unexpected);
        Ok(())
    }
}

fn mark(slots: &mut [bool], number: u32, first: u32, unexpected: &mut u32) {
    match number.checked_sub(first).and_then(|place| slots.get_mut(place as usize)) {
        Some(place) => *place = true,
        None => *unexpected += 1,
    }
}
