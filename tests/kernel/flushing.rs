//! soon
crate::harness::tests![];
