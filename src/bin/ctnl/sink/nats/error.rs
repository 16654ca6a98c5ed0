//! Why a line was not published, and what to do about it.

use std::error::Error;
use std::fmt::Write;

use async_nats::jetstream::context::{GetStreamByNameErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};

/// Why the lines of a chunk are not all in JetStream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsError {
    /// No server answers, or none accepts the login.
    Unreachable(String),
    /// The connection ended, or the server reported an error on it.
    Disconnected(String),
    /// No stream has the subject, or its leader is gone.
    NoResponders,
    /// No acknowledgement within the timeout.
    Timeout,
    /// JetStream refused a message.
    Refused(String, ErrorCode),
    /// The stream of this name has lost lines that it had acknowledged.
    LinesLost(String),
    /// The stream does not answer what it has.
    Unchecked(String),
}

impl NatsError {
    /// The result for one message.
    pub fn from_publish(error: &PublishError) -> Self {
        let cause = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        match (error.kind(), cause) {
            (_, Some(cause)) => NatsError::Refused(cause.to_string(), cause.error_code()),
            (PublishErrorKind::StreamNotFound, _) => NatsError::NoResponders,
            (PublishErrorKind::TimedOut, _) => NatsError::Timeout,
            _ => NatsError::Disconnected(with_causes(error)),
        }
    }

    /// Whether a new connection may succeed immediately.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, NatsError::Disconnected(_))
    }

    /// Whether the server ended a request to the API of JetStream, for which the user has no permission.
    pub fn is_forbidden_request(&self) -> bool {
        let is_forbidden =
            |why: &String| why.contains("$JS.API") && why.to_lowercase().contains("permissions violation");
        matches!(self, NatsError::Disconnected(why) if is_forbidden(why))
    }

    /// Whether this message is too long for the stream: it will never be accepted.
    pub fn is_message_too_long(&self) -> bool {
        let sizes = [ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM];
        matches!(self, NatsError::Refused(_, code) if sizes.contains(code))
    }

    /// The error for the operator; `stream` is the result of looking up the subject's stream.
    pub fn describe(&self, subject: &str, stream: &StreamLookup) -> String {
        match (self, stream) {
            (NatsError::Unreachable(why), _) => format!("cannot connect: {why}"),
            (NatsError::Disconnected(why), _) => format!("connection lost: {why}"),
            (NatsError::Refused(why, code), _) => format!("JetStream refused a line: {why}{}", hint(*code)),
            (NatsError::LinesLost(stream), _) => {
                format!("the stream '{stream}' has lost lines that it had acknowledged")
            }
            (NatsError::Unchecked(why), _) => format!("cannot check which lines the stream has: {why}"),
            (_, StreamLookup::NotFound) => format!(
                "no stream has the subject '{subject}'\n  hint: nats stream add NAME --subjects={subject} \
                 --storage=file --replicas=3 --discard=new --dupe-window=10m"
            ),
            (NatsError::NoResponders, StreamLookup::Found(name)) => {
                format!("the stream '{name}' has no leader\n  hint: nats stream info {name}")
            }
            (_, StreamLookup::Found(name)) => format!("no acknowledgement from the stream '{name}'"),
            (_, StreamLookup::NoAnswer) => "JetStream does not answer: it is disabled (nats-server -js), not enabled \
                                            for this account, or has no majority of its servers"
                .into(),
        }
    }
}

fn hint(code: ErrorCode) -> &'static str {
    match code {
        // Also for the stream's maximum of messages, bytes and messages per subject.
        ErrorCode::STREAM_STORE_FAILED => {
            "\n  hint: raise the stream's limits, or let it discard old messages: nats stream edit"
        }
        ErrorCode::INSUFFICIENT_RESOURCES | ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::TEMP_STORAGE_FAILED => {
            "\n  hint: free some of the server's JetStream storage"
        }
        _ => "",
    }
}

/// The stream of a subject, as far as the server reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamLookup {
    /// Its name.
    Found(String),
    /// There is none.
    NotFound,
    /// The request was not answered.
    NoAnswer,
}

impl StreamLookup {
    /// Looks up the stream of `subject`.
    pub async fn request(context: &jetstream::Context, subject: &str) -> Self {
        match context.stream_by_subject(subject).await {
            Ok(name) => StreamLookup::Found(name),
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => StreamLookup::NotFound,
            Err(_) => StreamLookup::NoAnswer,
        }
    }
}

/// An error with its causes, without repetitions.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let message = next.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = next.source();
    }
    text
}
