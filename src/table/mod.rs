//! One kernel verb per file, streaming.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use ctnl::model::Protocol;
//! use ctnl::netlink::{Connection, Netns};
//! use ctnl::table::{self, DumpRequest};
//!
//! let mut connection = Connection::open(&Netns::Current)?;
//! let mut udp = 0;
//! let totals = table::dump(&mut connection, DumpRequest::default(), |flow| {
//!     udp += u64::from(flow.orig.protocol == Protocol::Udp);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{udp} of {} entries", totals.entries);
//! # Ok::<(), ctnl::netlink::Error>(())
//! ```
//!
//! [`Dump`] and [`dump()`] read the table, [`get()`] one entry, [`count()`] the number of entries, [`stats()`] the counters,
//! [`expectations()`] and [`expect_get()`] the expectations;
//! [`create()`], [`delete()`] and [`update()`], which takes a [`Patch`], change entries in batches, and a [`Deleter`]
//! deletes or updates on a thread of its own while the table is being dumped, each entry only while its sample is
//! recent. [`expect_create()`] and [`expect_delete()`] do the same for expectations.
//! [`timeouts()`] and [`policies()`] read the timeouts in force. [`Events`] subscribes to changes.
//!
//! To the kernel, a delete request without a tuple is a flush of the whole table
//! (`ctnetlink_del_conntrack` in net/netfilter/nf_conntrack_netlink.c). It cannot be expressed here:
//! what is deleted is a [`Target`], and a target is only made from a whole dumped entry. So it is with expectations and
//! [`ExpectationTarget`].

mod action;
mod batch;
mod count;
mod create;
mod dedup_set;
mod delete;
mod deleter;
mod dump;
mod events;
mod expect_create;
mod expect_delete;
mod expect_get;
mod expect_stats;
mod expectation_target;
mod expectations;
mod get;
mod halves;
mod kernel_filter;
mod losses;
mod patch;
#[cfg(test)]
mod patch_tests;
mod policies;
mod recent_entries;
mod recheck;
#[cfg(test)]
mod recheck_tests;
mod sampled_at;
mod stats;
mod target;
mod timeouts;
mod update;
mod zones;

pub use crate::model::Family;
pub use action::Action;
pub use batch::{BATCH, Outcome};
pub use count::{Occupancy, count};
pub use create::{create, create_missing, create_or_update};
pub use delete::delete;
pub use deleter::Deleter;
pub use dump::{Dump, DumpRequest, DumpSource, DumpTotals, dump};
pub use events::{Buffer, Events, Queue, Step, Subscription};
pub use expect_create::expect_create;
pub use expect_delete::{expect_delete, expect_flush, expect_zone, expect_zones};
pub use expect_get::expect_get;
pub use expect_stats::{ExpectStats, expect_stats};
pub use expectation_target::{ExpectationTarget, NotExpectable};
pub use expectations::expectations;
pub use get::get;
pub use halves::SharedDedup;
pub use kernel_filter::{KernelFilter, Masked, OrigFilter};
pub use patch::{NotUpdatable, Patch, SctpPatch, TcpPatch};
pub use policies::policies;
pub use recheck::{Deletions, Judgement, MAX_AGE, MAX_AGE_WITHOUT_QUEUE, Recheck};
pub use sampled_at::{DatagramTime, SampledAt};
pub use stats::{COUNTERS, Counter, Counters, CpuStats, stats};
pub use target::{NotDeletable, Target};
pub use timeouts::timeouts;
pub use update::{lower_timeout, update};
pub use zones::zones_of;
