//! What a stream still has of the lines that it has acknowledged.
//!
//! nats-server acknowledges a message before it is on the disk (`sync_interval`). After a power loss a
//! stream goes back to an earlier state: its later messages are lost, and their numbers are given to others.
//! So the last acknowledged line is looked up after each connect; and a number that is not greater
//! than that of an earlier line shows it too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::jetstream::{self, ErrorCode};
use tokio::time::timeout;

use super::error::{NatsError, StreamLookup, with_causes};
use super::session::{Published, Session, line_id};
use crate::sink::deliver::Receipt;

/// Timeout for a request. After a restart a stream needs some time for the election of a leader.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that are read to find the lines of one chunk. Where other publishers have stored more in between,
/// the whole chunk is sent again, and the stream recognises the ids of its window.
const MAX_MESSAGES: u64 = 4096;

/// Detects lost lines.
#[derive(Debug, Default)]
pub struct LostLines {
    /// The newest receipt.
    last: Option<Receipt>,
    /// Whether delivered lines are kept: then nothing is published until the lost ones are to be sent again.
    is_kept: bool,
    is_lost: bool,
    /// The user has no permission to look up messages.
    is_forbidden: bool,
    still_stored: Option<StillStored>,
    warnings: Vec<String>,
}

/// Lines of the chunk with which sending again begins that the stream has.
#[derive(Debug)]
struct StillStored {
    stream: Arc<str>,
    lines: BTreeSet<u64>,
    /// The number that the stream has given to the chunk's first line.
    first: u64,
}

impl LostLines {
    /// Lines are kept from now on, and `last` is what the stream is known to have.
    pub fn keep(&mut self, last: Option<Receipt>) {
        (self.last, self.is_kept, self.is_lost) = (last, true, false);
    }

    /// Whether lines were lost that are kept.
    pub fn are_to_be_restored(&self) -> bool {
        self.is_kept && self.is_lost
    }

    /// An error while lost lines are still to be sent again: what is published before them would be behind a
    /// hole, and the receipt for it would hide that they are lost.
    pub fn ensure_restored(&self) -> Result<(), NatsError> {
        match &self.last {
            Some(last) if self.are_to_be_restored() => Err(NatsError::LinesLost(last.store.to_string())),
            _ => Ok(()),
        }
    }

    /// The lines of `stream` that are not to be published.
    pub fn still_stored(&self, stream: &str) -> Option<&BTreeSet<u64>> {
        self.still_stored.as_ref().filter(|stored| *stored.stream == *stream).map(|stored| &stored.lines)
    }

    /// Returns and clears what the operator must know.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Looking up messages is forbidden.
    pub fn on_forbidden(&mut self) {
        self.is_forbidden = true;
        if self.is_kept {
            let store = self.last.as_ref().map_or("STREAM", |last| &*last.store);
            self.warnings.push(format!(
                "cannot check which lines the stream '{store}' has: no permission\n  hint: allow to publish to \
                 $JS.API.STREAM.MSG.GET.{store} and $JS.API.STREAM.INFO.{store}"
            ));
        }
    }

    /// Checks that the stream has the last acknowledged line.
    pub fn check(&mut self, session: &mut Session, subject: &str) -> Result<(), NatsError> {
        let Some(last) = self.last.clone().filter(|_| !self.is_forbidden) else { return Ok(()) };
        let context = session.context();
        if session.run(is_stored(&context, subject, &last))? { Ok(()) } else { self.on_loss(&last) }
    }

    fn on_loss(&mut self, last: &Receipt) -> Result<(), NatsError> {
        if self.is_kept {
            (self.is_lost, self.still_stored) = (true, None);
            return Err(NatsError::LinesLost(last.store.to_string()));
        }
        self.last = None;
        self.warnings.push(format!(
            "the stream '{}' has lost lines that it had acknowledged: number {} is not the line {} any more\n  hint: run \
             nats-server with jetstream {{ sync_interval: always }}, and ctnl with --spool-keep",
            last.store,
            last.last,
            line_id(&last.stream, last.line)
        ));
        Ok(())
    }

    /// Takes the receipt of a published chunk, unless its numbers show that earlier lines are lost.
    pub fn on_published(&mut self, mut published: Published) -> Result<Published, NatsError> {
        if let (Some(last), Some(receipt), Some(from)) = (&self.last, &published.receipt, published.stored_from)
            && last.store == receipt.store
            && from <= last.last
        {
            let last = last.clone();
            self.on_loss(&last)?;
        }
        if let Some(receipt) = &mut published.receipt {
            // The chunk of which some lines were not published.
            let rest = self.still_stored.take_if(|stored| stored.stream == receipt.stream);
            receipt.first = rest.map_or(receipt.first, |stored| receipt.first.min(stored.first));
            // A repeated chunk has an earlier number.
            let is_newer = |last: &Receipt| last.store != receipt.store || last.last < receipt.last;
            if self.last.as_ref().is_none_or(is_newer) {
                self.last = Some(receipt.clone());
            }
        }
        Ok(published)
    }

    /// The index of the first of `receipts` that the stream has lost, and notes which of its lines it has.
    pub fn first_lost(
        &mut self,
        session: &mut Session,
        subject: &str,
        receipts: &[Receipt],
    ) -> Result<usize, NatsError> {
        if self.is_forbidden {
            return Ok(0);
        }
        let context = session.context();
        // A stream goes back to an earlier state: what is before a line that it has, it has too.
        let (mut stored, mut lost) = (0, receipts.len());
        while let Some(receipt) = receipts.get((stored + lost) / 2).filter(|_| stored < lost) {
            let middle = (stored + lost) / 2;
            if session.run(is_stored(&context, subject, receipt))? {
                stored = middle + 1;
            } else {
                lost = middle;
            }
        }
        if let Some(receipt) = receipts.get(lost) {
            let lines = session.run(lines_of(&context, receipt))?;
            self.still_stored = Some(StillStored { stream: Arc::clone(&receipt.stream), lines, first: receipt.first });
        }
        Ok(lost)
    }
}

/// Whether the stream has the last line of a receipt. A message that was deleted on purpose, or by the limits of
/// the stream, is not lost.
async fn is_stored(context: &jetstream::Context, subject: &str, receipt: &Receipt) -> Result<bool, NatsError> {
    let stream = stream(context, receipt).await?;
    match message_id(&stream, receipt.last).await {
        Ok(Some(id)) => Ok(id == line_id(&receipt.stream, receipt.line)),
        Ok(None) => {
            let info = timeout(TIMEOUT, stream.get_info()).await.map_err(|_| NatsError::Timeout)?;
            let info = info.map_err(|error| NatsError::Unchecked(with_causes(&error)))?;
            Ok(info.state.last_sequence >= receipt.last)
        }
        Err(MessageError::NoStream) => match StreamLookup::request(context, subject).await {
            // Another one has the subject: this one was removed.
            StreamLookup::Found(_) => Ok(false),
            _ => Err(NatsError::NoResponders),
        },
        Err(MessageError::Other(why)) => Err(NatsError::Unchecked(why)),
    }
}

/// The lines of the chunk of a receipt that the stream has under the numbers of the receipt.
async fn lines_of(context: &jetstream::Context, receipt: &Receipt) -> Result<BTreeSet<u64>, NatsError> {
    let stream = stream(context, receipt).await?;
    let mut lines = BTreeSet::new();
    let prefix = format!("{}-", receipt.stream);
    for number in (receipt.first..=receipt.last).take(MAX_MESSAGES as usize) {
        match message_id(&stream, number).await {
            Ok(Some(id)) => lines.extend(id.strip_prefix(&prefix).and_then(|line| line.parse::<u64>().ok())),
            // Behind the last one there is no other.
            Ok(None) | Err(MessageError::NoStream) => break,
            Err(MessageError::Other(why)) => return Err(NatsError::Unchecked(why)),
        }
    }
    Ok(lines)
}

async fn stream(context: &jetstream::Context, receipt: &Receipt) -> Result<Stream<()>, NatsError> {
    let stream = context.get_stream_no_info(&*receipt.store).await;
    stream.map_err(|error| NatsError::Unchecked(with_causes(&error)))
}

/// Why the id of a message is unknown.
enum MessageError {
    NoStream,
    Other(String),
}

/// The id of the message with this number, empty if it has none; None if there is no such message.
async fn message_id(stream: &Stream<()>, number: u64) -> Result<Option<String>, MessageError> {
    let found = timeout(TIMEOUT, stream.get_raw_message(number)).await;
    let found = found.map_err(|_| MessageError::Other("no answer".into()))?;
    match found {
        Ok(message) => {
            let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID);
            Ok(Some(id.map(ToString::to_string).unwrap_or_default()))
        }
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            LastRawMessageErrorKind::JetStream(why) if why.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
            LastRawMessageErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Err(MessageError::NoStream)
            }
            _ => Err(MessageError::Other(with_causes(&error))),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn published(first: u64, line: u64) -> Published {
        let receipt = Receipt { store: "S".into(), first, last: first, stream: "s".into(), line };
        Published { refused: Vec::new(), receipt: Some(receipt), stored_from: Some(first) }
    }

    #[test]
    fn after_a_loss_nothing_is_published_until_the_kept_lines_are_to_be_sent_again() {
        let mut lost = LostLines::default();
        lost.keep(None);
        lost.on_published(published(7, 70)).unwrap();
        lost.ensure_restored().unwrap();
        let error = NatsError::LinesLost("S".into());
        assert_eq!(lost.on_published(published(5, 71)).unwrap_err(), error);
        // Also if restoring them fails for now, and another publisher has stored enough to hide the loss.
        assert_eq!(lost.ensure_restored().unwrap_err(), error);
        lost.keep(Some(published(4, 40).receipt.unwrap()));
        lost.ensure_restored().unwrap();
    }

    #[test]
    fn without_kept_lines_a_loss_is_reported_and_publishing_goes_on() {
        let mut lost = LostLines::default();
        lost.on_published(published(7, 70)).unwrap();
        lost.on_published(published(5, 71)).unwrap();
        lost.ensure_restored().unwrap();
        assert_eq!(lost.take_warnings().len(), 1);
    }
}
