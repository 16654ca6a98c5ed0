//! Change the settings of connection tracking: validated, applied, read back, written to a log, and undone.
//!
//! `setting` has the settings, `limits` what would hurt, `change` what a change is and in which order changes are made,
//! `places` reads and writes them, `apply` applies and undoes, `persist`, `at_boot` and `max_at_boot` have the files of the boot, `recommend` what `show` recommends, `record`
//! and `log` the log of operations, `operation` their course, `watch` the process that rolls back what is not confirmed.

mod apply;
mod at_boot;
mod change;
mod limits;
mod log;
mod max_at_boot;
mod operation;
mod persist;
mod places;
mod recommend;
mod record;
mod setting;
mod watch;

pub use apply::{NotUndone, undo};
pub use at_boot::{BootPlan, deciding, plan as plan_files};
pub use change::{Change, Place, sort_safely};
pub use limits::{Refusal, Sizes, Words, judge};
pub use log::{Locked, Log, boot_id, is_denied};
pub use max_at_boot::MaxAtBoot;
pub use operation::{End, Rollback, Session, now, reverting};
pub use persist::diff;
pub use places::{HostPlaces, Places};
pub use recommend::{Table, recommend};
pub use record::{Begun, Lowered, Operation, Record, State, Step, VERSION};
pub use setting::Setting;
pub use watch::{Seen, WaitEnd, detach, is_applier_alive, report_ready, start, wait};
