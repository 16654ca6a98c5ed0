//! `file:PATH`: a file that lines are appended to, rotated by size or time.
//!
//! A rotation that fails is reported, and lines are appended to the old file. A file that was
//! removed is created again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ctnl::clock::Clock;
use ctnl::units::Nanos;

use super::compress::Compressor;
use super::deliver::{Deliver, DeliveryError};
use super::open_file::{FileContent, OpenFile};
use super::options::{SinkOptions, SyncPolicy};
use super::rotation::Rotation;
use crate::chunk::Chunk;

/// Delay after a rotation that failed.
const RETRY_ROTATION: Duration = Duration::from_secs(60);

/// The sink.
pub struct FileSink {
    path: PathBuf,
    rotation: Rotation,
    compressor: Option<Compressor>,
    sync: SyncPolicy,
    clock: Clock,
    content: FileContent,
    open: Option<OpenFile>,
    /// After a rotation that failed: its error, and the monotonic time of the next attempt.
    failed_rotation: Option<(String, Nanos)>,
    warnings: Vec<String>,
}

impl FileSink {
    /// Opens the file. A disk that is full is an error unless the sink `may_be_down`: then the next
    /// attempt follows with the first lines.
    pub fn open(path: &str, may_be_down: bool, options: &SinkOptions) -> Result<Self> {
        let path = PathBuf::from(path);
        let content =
            FileContent { header: Arc::clone(&options.header), is_own_line: Arc::clone(&options.is_own_line) };
        let open = match OpenFile::open(&path, &content) {
            Err(error) if may_be_down && is_full(&error) => None,
            opened => Some(opened.with_context(|| format!("open {}", path.display()))?),
        };
        let compression = options.compression.filter(|_| options.rotation.is_active());
        let compressor = compression.map(|compression| Compressor::start(&path, compression)).transpose()?;
        Ok(FileSink {
            path,
            rotation: options.rotation,
            compressor,
            sync: options.sync,
            clock: options.clock.clone(),
            content,
            open,
            failed_rotation: None,
            warnings: Vec::new(),
        })
    }

    fn now(&self) -> u64 {
        self.clock.now().realtime.0
    }

    fn ensure_open(&mut self) -> Result<&mut OpenFile, DeliveryError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => OpenFile::open(&self.path, &self.content).map_err(|error| self.error("open", &error))?,
        };
        Ok(self.open.insert(open))
    }

    fn error(&self, attempted: &str, error: &io::Error) -> DeliveryError {
        DeliveryError::io(format_args!("{attempted} {}", self.path.display()), error)
    }

    fn warn(&mut self, message: &str) {
        self.warnings.push(format!("sink file:{}: {message}", self.path.display()));
    }

    /// Rotates the file if `more` bytes must not be appended to it.
    fn rotate_if_due(&mut self, more: u64) -> Result<(), DeliveryError> {
        let (now, rotation) = (self.clock.now(), self.rotation);
        let is_too_early = self.failed_rotation.as_ref().is_some_and(|(_, retry_at)| now.monotonic < *retry_at);
        let open = self.ensure_open()?;
        if is_too_early || !open.is_due(rotation, more, now.realtime.0) {
            return Ok(());
        }
        self.sync_before_close()?;
        let rotated = match &self.compressor {
            Some(compressor) => compressor.while_no_file_is_replaced(|| rotation.rotate(&self.path)),
            None => rotation.rotate(&self.path),
        };
        match rotated {
            Ok(()) => {
                self.failed_rotation = None;
                // It is compressed once it is closed.
                self.open = None;
                self.compressor.iter().for_each(Compressor::wake);
            }
            Err(error) => self.on_failed_rotation(&error, now.monotonic.plus(RETRY_ROTATION.into())),
        }
        Ok(())
    }

    /// Reports each different error once, and continues with whatever file is at the path.
    fn on_failed_rotation(&mut self, error: &io::Error, retry_at: Nanos) {
        let error = error.to_string();
        self.open = self.open.take().filter(|open| open.is_at(&self.path));
        if self.failed_rotation.as_ref().is_none_or(|(reported, _)| *reported != error) {
            let continued =
                if self.open.is_some() { "lines are appended to the same file" } else { "a new file is begun" };
            self.warn(&format!("rotation failed, {continued}: {error}"));
        }
        self.failed_rotation = Some((error, retry_at));
    }

    /// Creates the file again if it was removed. Returns whether it was.
    fn reopen_if_removed(&mut self) -> Result<bool, DeliveryError> {
        let is_removed = self.open.as_ref().map_or(Ok(false), |open| open.is_removed(&self.path));
        if !is_removed.map_err(|error| self.error("stat", &error))? {
            return Ok(false);
        }
        self.open = None;
        self.warn("the file was removed with all lines in it; creating it again");
        self.ensure_open()?;
        Ok(true)
    }

    fn write(&mut self, chunk: &Chunk) -> Result<(), DeliveryError> {
        let (now, sync, header) = (self.now(), self.sync, Arc::clone(&self.content.header));
        let open = self.ensure_open()?;
        let written = open.write(&header, &chunk.bytes, now);
        let written = written.and_then(|()| if sync == SyncPolicy::Always { open.sync() } else { Ok(()) });
        written.map_err(|error| self.error("write", &error))
    }

    fn sync_before_close(&self) -> Result<(), DeliveryError> {
        match &self.open {
            Some(open) if self.sync != SyncPolicy::Never => {
                open.sync().map_err(|error| self.error("synchronise", &error))
            }
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), DeliveryError> {
        self.sync_before_close()?;
        self.open = None;
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Deliver for FileSink {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), DeliveryError> {
        // Before the write: a removed file occupies a full disk as long as it is open.
        self.reopen_if_removed()?;
        self.rotate_if_due(chunk.bytes.len() as u64)?;
        self.write(chunk)?;
        // After the write: a chunk in a removed file is written again.
        while self.reopen_if_removed()? {
            self.write(chunk)?;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), DeliveryError> {
        self.reopen_if_removed()?;
        self.rotate_if_due(0)
    }

    fn reopen(&mut self) {
        // If it cannot be synchronised, it is closed all the same.
        let _ = self.close();
        self.open = None;
        // At once, and not with the next line: whoever renamed the file waits for that. The next attempt
        // reports an error.
        let _ = self.ensure_open();
    }

    fn finish(&mut self) -> Result<(), DeliveryError> {
        self.close()
    }

    fn take_warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(self.compressor.iter().flat_map(Compressor::take_warnings));
        warnings
    }
}
