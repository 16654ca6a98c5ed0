//! Processes that use a processor without doing anything.

use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use crate::measure::Line;

/// They are killed when this is dropped.
pub struct Busy(Vec<Child>);

impl Busy {
    /// Starts one process for each line.
    pub fn start<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Result<Self> {
        let mut busy = Busy(Vec::new());
        for line in lines {
            let child = line.command()?.stdout(Stdio::null()).spawn().context("start a busy process")?;
            busy.0.push(child);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
