//! The files of one `file:` sink: rotated by the program, renamed from outside, and read between two runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::received::Arrived;
use super::stream_run::StreamRun;

pub struct Files {
    pub name: String,
    folder: PathBuf,
    renamed: u32,
}

impl Files {
    pub fn new(folder: &Path, name: &str) -> Self {
        Files { name: name.to_owned(), folder: folder.to_owned(), renamed: 0 }
    }

    /// The argument of `--to`.
    pub fn sink(&self) -> String {
        format!("file:{}", self.folder.join(&self.name).display())
    }

    /// Renames the file as logrotate does, and tells the program.
    pub fn rename(&mut self, run: &StreamRun) -> Result<()> {
        let from = self.folder.join(&self.name);
        // Right after a rotation of its own there is none.
        if from.exists() {
            self.renamed += 1;
            let to = self.folder.join(format!("{}.renamed-{}", self.name, self.renamed));
            fs::rename(&from, &to).with_context(|| format!("rename {}", from.display()))?;
            run.hang_up()?;
        }
        Ok(())
    }

    /// Reads all files of the sink and removes them.
    pub fn collect(&self, arrived: &mut Arrived) -> Result<()> {
        let received = arrived.of(&self.name).context("the file is a sink")?;
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_own = name.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if !is_own {
                continue;
            }
            let file = fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
            let mut reader = BufReader::with_capacity(1 << 20, file);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                // SIGKILL may cut the last line of a file short.
                ensure!(line.pop() == Some(b'\n') || self.is_last(&path), "{} ends within a line", path.display());
                received.add(&line);
                line.clear();
            }
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    fn is_last(&self, path: &Path) -> bool {
        *path == self.folder.join(&self.name)
    }
}
