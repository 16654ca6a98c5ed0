//! The files of the cases that restore a table, each with the same entries: a save file, conntrack(8)'s lines, and the
//! requests for the limit.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, ensure};
use ctnl::netlink::Connection;
use ctnl::wire::Messages;

use crate::population::{Population, create_range};

/// The files, which are removed when this is dropped.
#[derive(Debug)]
pub struct SavedFiles(PathBuf);

/// The names of the files.
#[derive(Debug, Clone, Copy)]
pub enum Name {
    /// By `ctnl save`.
    Binary,
    /// By `conntrack -L -o save`.
    Lines,
    /// Datagrams with a batch of requests each, behind their length.
    Requests,
    /// What a case writes.
    Written,
}

impl SavedFiles {
    /// The path of a file of this process.
    pub fn path(name: Name) -> PathBuf {
        folder().join(match name {
            Name::Binary => "table.ctnl",
            Name::Lines => "table.save",
            Name::Requests => "requests",
            Name::Written => "written",
        })
    }

    /// An empty folder for the files.
    pub fn new() -> Result<Self> {
        let folder = folder();
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(SavedFiles(folder))
    }

    /// Writes the files of the table, which has `population`.
    pub fn write(&self, population: Population, ctnl: &str, conntrack_installed: bool) -> Result<()> {
        let path = SavedFiles::path(Name::Binary);
        run(Command::new(ctnl).args(["save", "-q", "--overwrite"]).arg(&path))?;
        if conntrack_installed {
            let lines = File::create(SavedFiles::path(Name::Lines)).context("create a file")?;
            run(Command::new("conntrack").args(["-L", "-o", "save"]).stdout(lines))?;
        }
        record(population)
    }
}

impl Drop for SavedFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("ctnl-benchmark-{}", std::process::id()))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stderr(Stdio::null()).status().with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Writes the requests that create `population`: a fake kernel records and acknowledges them.
fn record(population: Population) -> Result<()> {
    let file = File::create(SavedFiles::path(Name::Requests)).context("create a file")?;
    let file = Arc::new(Mutex::new((BufWriter::new(file), Ok(()))));
    let recorded = Arc::clone(&file);
    let mut kernel = Connection::fake(move |request| {
        if let Ok(mut guard) = recorded.lock() {
            let (file, written) = &mut *guard;
            let length = u32::try_from(request.len()).unwrap_or(0).to_ne_bytes();
            let result = file.write_all(&length).and_then(|()| file.write_all(request));
            if written.is_ok() {
                *written = result;
            }
        }
        vec![acknowledgement(request)]
    });
    create_range(&mut kernel, 0..population.entries, |number| population.flow(number))?;
    let mut guard = file.lock().map_err(|_| anyhow!("a panic while recording"))?;
    let (file, written) = &mut *guard;
    std::mem::replace(written, Ok(())).and_then(|()| file.flush()).context("write the requests")
}

/// The answer to the last request of a datagram: `NLMSG_ERROR` without an error.
fn acknowledgement(request: &[u8]) -> Vec<u8> {
    let sequence = Messages::new(request).flatten().last().map_or(0, |message| message.sequence);
    let mut answer = Vec::with_capacity(36);
    answer.extend_from_slice(&36_u32.to_ne_bytes());
    answer.extend_from_slice(&2_u16.to_ne_bytes());
    answer.extend_from_slice(&0_u16.to_ne_bytes());
    answer.extend_from_slice(&sequence.to_ne_bytes());
    answer.extend_from_slice(&[0; 8]);
    answer.extend(request.iter().take(16));
    answer
}
