//! `ctnl lab`: a conntrack table to rehearse on.
//!
//! A private user and network namespace, a realistic mixed table in it, and a
//! command or a shell that sees no other table. `population` is pure and says
//! what is in the table; `fill` makes it so; `namespace` is the place; `run` puts
//! them together.

mod fill;
mod namespace;
mod population;
mod run;

pub use run::{Options, run};
