//! `ctnl lab`: a conntrack table to rehearse on.
//!
//! Private namespaces, a realistic mixed table, and a command or a shell that can reach no other table
//! and change nothing of the host. `population` generates the entries, `fill` creates them;
//! `namespace` and `mounts` isolate; `run` puts it together. Two processes wait for the command:
//! `outside`, which the user started, and `init`, process 1 of the PID namespace.

mod fill;
mod init;
mod mounts;
mod namespace;
mod outside;
mod population;
mod run;
mod signals;

pub use run::{INSIDE, Options, run, run_inside};
