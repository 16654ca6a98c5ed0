//! One connection to a server, until its first error.
//!
//! It is never reconnected, only replaced: the client's own reconnect would send what is still
//! buffered in it after messages that were lost, and lines would change places.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{ConnectOptions, Event, ServerAddr};
use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::options::TlsFiles;
use super::super::tls::{ClientAuth, TlsClient, describe_cause};
use super::address::{Address, Login};
use super::error::{NatsError, StreamLookup, with_causes};
use crate::chunk::Chunk;
use crate::sink::deliver::Receipt;

/// Timeout for one server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout for all servers, including their name lookups.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for the oldest pending acknowledgement. Without a leader the servers send no answer at
/// all, and the election of a new one takes some seconds.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for looking up the stream.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of pending acknowledgements.
const MAX_IN_FLIGHT: usize = 4096;
/// Delay of the client's own reconnect.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A runtime with the one thread that looks up names. tokio starts that thread with the first lookup, and
/// panics where the system has none left (`spawn_blocking`); it starts no other as long as there is one.
fn start_runtime() -> std::io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).thread_keep_alive(NEVER).build()?;
    let probe = thread::Builder::new().name("probe".into()).spawn(|| ())?;
    let _ = probe.join();
    drop(runtime.spawn_blocking(|| ()));
    Ok(runtime)
}

/// A connection, with the runtime that drives it while it is used.
pub struct Session {
    runtime: Option<Runtime>,
    context: jetstream::Context,
    /// The first error of the connection.
    error: watch::Receiver<Option<String>>,
}

impl Session {
    /// Connects to one of the servers.
    pub fn open(address: &Address, login: Option<&Login>, tls: &TlsFiles) -> Result<Self, NatsError> {
        let runtime = start_runtime().map_err(|error| NatsError::Unreachable(format!("no runtime: {error}")))?;
        let (report, error) = watch::channel(None);
        let opened = runtime.block_on(async { timeout(OPEN_TIMEOUT, connect(address, login, tls, report)).await });
        match opened.unwrap_or_else(|_| Err(NatsError::Unreachable("no server answers".into()))) {
            Ok(context) => Ok(Session { runtime: Some(runtime), context, error }),
            Err(failed) => {
                runtime.shutdown_background();
                Err(failed)
            }
        }
    }

    /// Publishes every line of a chunk, apart from those with the numbers `except`, and waits for all
    /// acknowledgements.
    pub fn publish(
        &mut self,
        subject: &str,
        chunk: &Chunk,
        except: Option<&BTreeSet<u64>>,
    ) -> Result<Published, NatsError> {
        let context = self.context.clone();
        self.run(Publishing::new(&context, subject, chunk, except).run())
    }

    /// A client of JetStream over this connection.
    pub(super) fn context(&self) -> jetstream::Context {
        self.context.clone()
    }

    /// Drives the client for a moment: it answers pings, and detects that the server is gone.
    pub fn poll(&mut self) -> Result<(), NatsError> {
        self.run(async {
            sleep(Duration::from_millis(1)).await;
            Ok(())
        })
    }

    /// Looks up the subject's stream, to describe an error.
    pub fn look_up_stream(&mut self, subject: &str) -> StreamLookup {
        let context = self.context.clone();
        let lookup = StreamLookup::request(&context, subject);
        let lookup = async { timeout(LOOKUP_TIMEOUT, lookup).await.map_err(|_| NatsError::Timeout) };
        self.run(lookup).unwrap_or(StreamLookup::NoAnswer)
    }

    /// Runs `operation` until it ends or the connection has an error.
    pub(super) fn run<T>(&mut self, operation: impl Future<Output = Result<T, NatsError>>) -> Result<T, NatsError> {
        let Some(runtime) = &self.runtime else { return Err(NatsError::Disconnected("closed".into())) };
        let error = &mut self.error;
        runtime.block_on(async {
            tokio::select! {
                biased;
                why = first_error(error) => Err(NatsError::Disconnected(why)),
                done = operation => done,
            }
        })
    }
}

impl Drop for Session {
    /// Does not wait for a name lookup in progress.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect(
    address: &Address,
    login: Option<&Login>,
    tls: &TlsFiles,
    report: watch::Sender<Option<String>>,
) -> Result<jetstream::Context, NatsError> {
    let connected = Arc::new(AtomicBool::new(false));
    let is_connected = Arc::clone(&connected);
    let options = ConnectOptions::new()
        .name(concat!("ctnl ", env!("CARGO_PKG_VERSION")))
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(LOOKUP_TIMEOUT))
        // One attempt per server: the caller decides when to try again.
        .reconnect_delay_callback(move |_| if is_connected.load(Ordering::Relaxed) { NEVER } else { Duration::ZERO })
        .skip_subject_validation(true)
        .event_callback(move |event| {
            if let Some(why) = error_of(&event) {
                // The first error is the cause, later ones are its consequences.
                report.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(why);
                    is_first
                });
            }
            std::future::ready(())
        });
    let options = match login {
        Some(login) => login.apply(options).map_err(NatsError::Unreachable)?,
        None => options,
    };
    let tls = match tls.are_given() || address.servers.iter().any(ServerAddr::tls_required) {
        true => Some(TlsClient::load(tls).map_err(NatsError::Unreachable)?),
        // If a server requires it all the same, the client trusts the authorities of the host.
        false => None,
    };
    let options = match &tls {
        Some(tls) => options.tls_client_config((*tls.config).clone()),
        None => options,
    };
    let client = options.connect(&address.servers[..]).await.map_err(|error| {
        let unknown = ClientAuth { has_certificate: false, is_requested: false };
        let client = tls.as_ref().map_or(unknown, |tls| tls.identity.client_auth());
        NatsError::Unreachable(describe_cause(&error, client).unwrap_or_else(|| with_causes(&error)))
    })?;
    connected.store(true, Ordering::Relaxed);
    Ok(ContextBuilder::new()
        .timeout(ACK_TIMEOUT)
        .ack_timeout(ACK_TIMEOUT)
        .max_ack_inflight(2 * MAX_IN_FLIGHT)
        .build(client))
}

/// The error after which a connection is not used any more.
fn error_of(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected | Event::Closed => Some("the server is gone".into()),
        Event::ServerError(error) => Some(error.to_string()),
        _ => None,
    }
}

/// Waits for the first error.
async fn first_error(error: &mut watch::Receiver<Option<String>>) -> String {
    match error.wait_for(Option::is_some).await {
        Ok(why) => why.clone().unwrap_or_default(),
        Err(_) => "the client is gone".into(),
    }
}

/// A published chunk.
#[derive(Debug, Default)]
pub struct Published {
    /// Numbers of the lines that are too long for the server or the stream.
    pub refused: Vec<u64>,
    /// Where the others are stored.
    pub receipt: Option<Receipt>,
    /// The least number under which one of them was stored now, and not before.
    pub stored_from: Option<u64>,
}

/// The lines of a chunk that are being published.
struct Publishing<'a> {
    context: &'a jetstream::Context,
    subject: async_nats::Subject,
    chunk: &'a Chunk,
    except: Option<&'a BTreeSet<u64>>,
    /// Numbers of sent lines, and their pending acknowledgements, oldest first.
    pending: VecDeque<(u64, PublishAckFuture)>,
    published: Published,
}

impl<'a> Publishing<'a> {
    fn new(
        context: &'a jetstream::Context,
        subject: &str,
        chunk: &'a Chunk,
        except: Option<&'a BTreeSet<u64>>,
    ) -> Self {
        let (subject, published) = (subject.into(), Published::default());
        Publishing { context, subject, chunk, except, pending: VecDeque::new(), published }
    }

    async fn run(mut self) -> Result<Published, NatsError> {
        let bytes = Bytes::copy_from_slice(&self.chunk.bytes);
        for (line, number) in self.chunk.bytes.split_inclusive(|byte| *byte == b'\n').zip(self.chunk.first..) {
            if self.except.is_some_and(|except| except.contains(&number)) {
                continue;
            }
            // A message contains the line without its newline.
            let length = line.len() - usize::from(line.ends_with(b"\n"));
            let start = line.as_ptr().addr() - self.chunk.bytes.as_ptr().addr();
            self.send(bytes.slice(start..start + length), number).await?;
            if self.pending.len() >= MAX_IN_FLIGHT {
                self.await_oldest().await?;
            }
        }
        while !self.pending.is_empty() {
            self.await_oldest().await?;
        }
        Ok(self.published)
    }

    /// Sends one line. If it is sent again after a lost acknowledgement, the stream recognises its
    /// id and drops it.
    async fn send(&mut self, line: Bytes, number: u64) -> Result<(), NatsError> {
        let message = PublishMessage::build().payload(line).message_id(line_id(&self.chunk.stream, number));
        match self.context.send_publish(self.subject.clone(), message).await {
            Ok(acknowledgement) => self.pending.push_back((number, acknowledgement)),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => self.published.refused.push(number),
            Err(error) => return Err(NatsError::from_publish(&error)),
        }
        Ok(())
    }

    /// Waits for the oldest acknowledgement.
    async fn await_oldest(&mut self) -> Result<(), NatsError> {
        let Some((number, oldest)) = self.pending.pop_front() else { return Ok(()) };
        match oldest.await.map_err(|error: PublishError| NatsError::from_publish(&error)) {
            Ok(acknowledgement) => {
                self.on_stored(number, &acknowledgement);
                Ok(())
            }
            Err(error) if error.is_message_too_long() => {
                self.published.refused.push(number);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn on_stored(&mut self, line: u64, acknowledgement: &PublishAck) {
        let PublishAck { stream: store, sequence, duplicate, .. } = acknowledgement;
        let stored_from = self.published.stored_from.map_or(*sequence, |least| least.min(*sequence));
        self.published.stored_from = if *duplicate { self.published.stored_from } else { Some(stored_from) };
        match &mut self.published.receipt {
            Some(receipt) => {
                receipt.first = receipt.first.min(*sequence);
                if *sequence > receipt.last {
                    (receipt.last, receipt.line) = (*sequence, line);
                }
            }
            receipt => {
                let (store, stream) = (store.as_str().into(), Arc::clone(&self.chunk.stream));
                *receipt = Some(Receipt { store, first: *sequence, last: *sequence, stream, line });
            }
        }
    }
}

/// The id of a line.
pub fn line_id(stream: &str, line: u64) -> String {
    format!("{stream}-{line}")
}
