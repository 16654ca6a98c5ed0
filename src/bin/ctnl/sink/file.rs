//! `file:PATH`: a file that lines are appended to, rotated by size or time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use ctnl::clock::Clock;

use super::deliver::{Deliver, DeliveryError};
use super::open_file::OpenFile;
use super::options::{SinkOptions, SyncPolicy};
use super::rotation::Rotation;
use crate::chunk::Chunk;

/// The sink.
pub struct FileSink {
    path: PathBuf,
    rotation: Rotation,
    sync: SyncPolicy,
    clock: Clock,
    header: Arc<[u8]>,
    open: Option<OpenFile>,
}

impl FileSink {
    /// Opens the file.
    pub fn open(path: &str, options: &SinkOptions) -> Result<Self> {
        let path = PathBuf::from(path);
        let open = OpenFile::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(FileSink {
            path,
            rotation: options.rotation,
            sync: options.sync,
            clock: options.clock.clone(),
            header: Arc::clone(&options.header),
            open: Some(open),
        })
    }

    fn now(&self) -> u64 {
        self.clock.now().realtime.0
    }

    fn ensure_open(&mut self) -> Result<&mut OpenFile, DeliveryError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => OpenFile::open(&self.path).map_err(|error| self.error("open", &error))?,
        };
        Ok(self.open.insert(open))
    }

    fn error(&self, attempted: &str, error: &io::Error) -> DeliveryError {
        DeliveryError::io(format_args!("{attempted} {}", self.path.display()), error)
    }

    /// Rotates the file if `more` bytes must not be appended to it.
    fn rotate_if_due(&mut self, more: u64) -> Result<(), DeliveryError> {
        let (now, rotation) = (self.now(), self.rotation);
        let open = self.ensure_open()?;
        if !open.is_due(rotation, more, now) {
            return Ok(());
        }
        self.close()?;
        rotation.rotate(&self.path).map_err(|error| self.error("rotate", &error))
    }

    fn close(&mut self) -> Result<(), DeliveryError> {
        if let Some(open) = &self.open
            && self.sync != SyncPolicy::Never
        {
            open.sync().map_err(|error| self.error("synchronise", &error))?;
        }
        self.open = None;
        Ok(())
    }
}

impl Deliver for FileSink {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), DeliveryError> {
        self.rotate_if_due(chunk.bytes.len() as u64)?;
        let (now, sync, header) = (self.now(), self.sync, Arc::clone(&self.header));
        let open = self.ensure_open()?;
        let written = open.write(&header, &chunk.bytes, now);
        let written = written.and_then(|()| if sync == SyncPolicy::Always { open.sync() } else { Ok(()) });
        written.map_err(|error| self.error("write", &error))
    }

    fn idle(&mut self) -> Result<(), DeliveryError> {
        self.rotate_if_due(0)
    }

    fn reopen(&mut self) {
        // If it cannot be synchronised, it is closed all the same.
        let _ = self.close();
        self.open = None;
    }

    fn finish(&mut self) -> Result<(), DeliveryError> {
        self.close()
    }
}
