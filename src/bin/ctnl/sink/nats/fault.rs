//! Why a line was not published, and what to do about it.

use std::error::Error;
use std::fmt::Write;

use async_nats::jetstream::context::{GetStreamByNameErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};

/// Why the lines of a chunk are not all in JetStream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No server answers, or none lets us in.
    Unreachable(String),
    /// The connection ended, or the server complained.
    Lost(String),
    /// Nobody took the message.
    NoResponders,
    /// No acknowledgement came in time.
    Silent,
    /// JetStream said no.
    Refused(String, ErrorCode),
}

impl Fault {
    /// What became of one message.
    pub fn of(error: &PublishError) -> Self {
        let cause = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        match (error.kind(), cause) {
            (_, Some(cause)) => Fault::Refused(cause.to_string(), cause.error_code()),
            (PublishErrorKind::StreamNotFound, _) => Fault::NoResponders,
            (PublishErrorKind::TimedOut, _) => Fault::Silent,
            _ => Fault::Lost(in_full(error)),
        }
    }

    /// Whether another connection might do better at once.
    pub fn is_of_the_connection(&self) -> bool {
        matches!(self, Fault::Lost(_))
    }

    /// Whether it is this one message that will never be taken.
    pub fn is_of_the_message(&self) -> bool {
        let sizes = [ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM];
        matches!(self, Fault::Refused(_, code) if sizes.contains(code))
    }

    /// What happened; `streams` is what a question for the stream of the subject brought.
    pub fn words(&self, subject: &str, streams: &Streams) -> String {
        match (self, streams) {
            (Fault::Unreachable(why), _) => format!("cannot connect: {why}"),
            (Fault::Lost(why), _) => format!("the connection was lost: {why}"),
            (Fault::Refused(why, code), _) => format!("JetStream refused a line: {why}{}", advice(*code)),
            (_, Streams::None) => format!(
                "no stream takes the subject {subject}; make one: \
                 nats stream add NAME --subjects={subject} --storage=file --replicas=3 --discard=new --dupe-window=10m"
            ),
            (Fault::NoResponders, Streams::Named(name)) => {
                format!("the stream {name} has no leader now: see nats stream info {name}")
            }
            (_, Streams::Named(name)) => format!("no acknowledgement came from the stream {name}"),
            (_, Streams::NoAnswer) => "JetStream does not answer: it is not on (nats-server -js), not for this \
                                       account, or most servers of the cluster are down"
                .into(),
        }
    }
}

fn advice(code: ErrorCode) -> &'static str {
    match code.0 {
        // Maximum messages, bytes, messages per subject.
        10077 => " (raise the stream's limits, or let it discard old messages: nats stream edit)",
        10023 | 10047 | 10072 => " (the server's JetStream storage is full)",
        _ => "",
    }
}

/// The stream that takes a subject, as far as the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Streams {
    /// This one.
    Named(String),
    /// There is none.
    None,
    /// The question was not answered.
    NoAnswer,
}

impl Streams {
    /// Asks for the stream of `subject`.
    pub async fn ask(context: &jetstream::Context, subject: &str) -> Self {
        match context.stream_by_subject(subject).await {
            Ok(name) => Streams::Named(name),
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => Streams::None,
            Err(_) => Streams::NoAnswer,
        }
    }
}

/// An error with its causes, each said once.
pub fn in_full(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.contains(&text) {
            let _ = write!(words, ": {text}");
        }
        cause = next.source();
    }
    words
}
