//! One connection to a server, from its opening to its first trouble.
//!
//! It is never mended, only replaced: a client that reconnects by itself would send what
//! still waits in it behind what was lost on the way, and the lines would change places.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{ConnectOptions, Event};
use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::address::{Address, Login};
use super::fault::{Fault, Streams, in_full};
use crate::chunk::Chunk;

/// For one server to answer.
const CONNECT: Duration = Duration::from_secs(3);
/// For all of them, and for their names to be looked up.
const OPEN: Duration = Duration::from_secs(10);
/// For the oldest line that waits for its acknowledgement. Without a leader the servers
/// say nothing at all, and a new one takes some seconds to be found.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);
/// For the question what is wrong.
const ASK: Duration = Duration::from_secs(2);
/// How many lines are on their way at once.
const IN_FLIGHT: usize = 4096;
/// After a connection was lost there is no second one.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A connection, with the runtime that drives it while it is used.
pub struct Session {
    runtime: Option<Runtime>,
    context: jetstream::Context,
    trouble: watch::Receiver<Option<String>>,
}

impl Session {
    /// Connects to one of the servers.
    pub fn open(address: &Address, login: Option<&Login>) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::Unreachable(format!("no runtime: {error}")))?;
        let (tell, trouble) = watch::channel(None);
        let opened = runtime.block_on(async { timeout(OPEN, connect(address, login, tell)).await });
        match opened.unwrap_or_else(|_| Err(Fault::Unreachable("no server answers".into()))) {
            Ok(context) => Ok(Session { runtime: Some(runtime), context, trouble }),
            Err(fault) => {
                runtime.shutdown_background();
                Err(fault)
            }
        }
    }

    /// Publishes every line of a chunk and waits for each acknowledgement. Says which
    /// lines JetStream will never take, being too long for it.
    pub fn publish(&mut self, subject: &str, chunk: &Chunk) -> Result<Vec<u64>, Fault> {
        let context = self.context.clone();
        self.run(Publishing::of(&context, subject, chunk).run())
    }

    /// Answers the server's pings, and notices that it is gone.
    pub fn breathe(&mut self) -> Result<(), Fault> {
        self.run(async {
            sleep(Duration::from_millis(1)).await;
            Ok(())
        })
    }

    /// Asks what is wrong with the subject's stream.
    pub fn ask(&mut self, subject: &str) -> Streams {
        let context = self.context.clone();
        let question = async { timeout(ASK, Streams::ask(&context, subject)).await.map_err(|_| Fault::Silent) };
        self.run(question).unwrap_or(Streams::NoAnswer)
    }

    /// Does `work` unless there is trouble before it ends.
    fn run<T>(&mut self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let Some(runtime) = &self.runtime else { return Err(Fault::Lost("closed".into())) };
        let trouble = &mut self.trouble;
        runtime.block_on(async {
            tokio::select! {
                biased;
                why = first(trouble) => Err(Fault::Lost(why)),
                done = work => done,
            }
        })
    }
}

impl Drop for Session {
    /// Without waiting for a name that is still being looked up.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect(
    address: &Address,
    login: Option<&Login>,
    tell: watch::Sender<Option<String>>,
) -> Result<jetstream::Context, Fault> {
    let connected = Arc::new(AtomicBool::new(false));
    let again = Arc::clone(&connected);
    let options = ConnectOptions::new()
        .name(concat!("ctnl ", env!("CARGO_PKG_VERSION")))
        .connection_timeout(CONNECT)
        .request_timeout(Some(ASK))
        // One attempt per server; the caller knows when to try again.
        .reconnect_delay_callback(move |_| if again.load(Ordering::Relaxed) { NEVER } else { Duration::ZERO })
        .skip_subject_validation(true)
        .event_callback(move |event| {
            if let Some(why) = trouble(&event) {
                // The first word is the cause, what follows its consequence.
                tell.send_if_modified(|told| {
                    let first = told.is_none();
                    told.get_or_insert(why);
                    first
                });
            }
            std::future::ready(())
        });
    let options = match login {
        Some(login) => login.apply(options).map_err(Fault::Unreachable)?,
        None => options,
    };
    let client = options.connect(&address.servers[..]).await;
    let client = client.map_err(|error| Fault::Unreachable(in_full(&error)))?;
    connected.store(true, Ordering::Relaxed);
    Ok(ContextBuilder::new()
        .timeout(ACKNOWLEDGE)
        .ack_timeout(ACKNOWLEDGE)
        .max_ack_inflight(2 * IN_FLIGHT)
        .build(client))
}

/// What makes a connection useless.
fn trouble(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected | Event::Closed => Some("the server is gone".into()),
        Event::ServerError(error) => Some(error.to_string()),
        _ => None,
    }
}

/// Waits for the first trouble.
async fn first(trouble: &mut watch::Receiver<Option<String>>) -> String {
    match trouble.wait_for(Option::is_some).await {
        Ok(why) => why.clone().unwrap_or_default(),
        Err(_) => "the client is gone".into(),
    }
}

/// The lines of a chunk on their way.
struct Publishing<'a> {
    context: &'a jetstream::Context,
    subject: async_nats::Subject,
    chunk: &'a Chunk,
    waiting: VecDeque<(u64, PublishAckFuture)>,
    refused: Vec<u64>,
}

impl<'a> Publishing<'a> {
    fn of(context: &'a jetstream::Context, subject: &str, chunk: &'a Chunk) -> Self {
        Publishing { context, subject: subject.into(), chunk, waiting: VecDeque::new(), refused: Vec::new() }
    }

    async fn run(mut self) -> Result<Vec<u64>, Fault> {
        let bytes = Bytes::copy_from_slice(&self.chunk.bytes);
        for (line, number) in self.chunk.bytes.split_inclusive(|byte| *byte == b'\n').zip(self.chunk.first..) {
            // Its length without the newline: a message has an end of its own.
            let length = line.len() - usize::from(line.ends_with(b"\n"));
            let place = line.as_ptr().addr() - self.chunk.bytes.as_ptr().addr();
            self.send(bytes.slice(place..place + length), number).await?;
            if self.waiting.len() >= IN_FLIGHT {
                self.settle().await?;
            }
        }
        while !self.waiting.is_empty() {
            self.settle().await?;
        }
        Ok(self.refused)
    }

    /// Sends one line. The id is its name: given again after a lost acknowledgement, it is
    /// known to the server, and left out.
    async fn send(&mut self, line: Bytes, number: u64) -> Result<(), Fault> {
        let id = format!("{}-{number}", self.chunk.stream);
        let message = PublishMessage::build().payload(line).message_id(id);
        match self.context.send_publish(self.subject.clone(), message).await {
            Ok(acknowledgement) => self.waiting.push_back((number, acknowledgement)),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => self.refused.push(number),
            Err(error) => return Err(Fault::of(&error)),
        }
        Ok(())
    }

    /// Waits for the oldest acknowledgement.
    async fn settle(&mut self) -> Result<(), Fault> {
        let Some((number, oldest)) = self.waiting.pop_front() else { return Ok(()) };
        match oldest.await.map_err(|error: PublishError| Fault::of(&error)) {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_of_the_message() => {
                self.refused.push(number);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }
}
