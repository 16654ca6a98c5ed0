//! `nats:`: NATS JetStream. Every line is published as one message, which the stream acknowledges,
//! with an id by which the stream drops repeated messages.
//!
//! `address` parses the argument, `session` is one connection, `stored` finds out what a stream still has,
//! `error` describes what failed.

mod address;
mod error;
mod session;
mod stored;

use std::fs;
use std::path::Path;

use self::address::{Address, Login};
use self::error::{NatsError, StreamLookup};
use self::session::{Published, Session};
use self::stored::LostLines;
use super::deliver::{Deliver, DeliveryError, Receipt};
use super::options::TlsFiles;
use super::tls::TlsClient;
use crate::chunk::Chunk;

/// Checks what follows `nats:`.
pub fn validate(address: &str) -> Result<(), String> {
    Address::parse(address).map(|_| ())
}

/// The sink: a subject.
pub struct Nats {
    address: Address,
    login: Option<Login>,
    tls: TlsFiles,
    session: Option<Session>,
    /// The last error was that no stream acknowledged.
    is_unacknowledged: bool,
    refused: Vec<u64>,
    /// For the last delivered chunk.
    receipt: Option<Receipt>,
    lost: LostLines,
}

impl Nats {
    /// A sink that connects later. `credentials` is a file as `nsc` writes it; without one the URL
    /// and then the environment have the login. `tls` has the files for servers with TLS.
    pub fn new(
        address: &str,
        credentials: Option<&Path>,
        tls: &TlsFiles,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let address = Address::parse(address)?;
        let file = credentials.map(Path::to_owned).or_else(|| environment("NATS_CREDS").map(Into::into));
        let login = match file {
            Some(file) => Some(read_credentials(&file)?),
            None => address.login.clone().or_else(|| Login::from_environment(environment)),
        };
        if tls.are_given() {
            TlsClient::load(tls)?;
        }
        Ok(Nats {
            address,
            login,
            tls: tls.clone(),
            session: None,
            is_unacknowledged: false,
            refused: Vec::new(),
            receipt: None,
            lost: LostLines::default(),
        })
    }

    /// Publishes over the existing connection or a new one. The existing one may have ended while
    /// nothing was sent: then a new one is tried immediately.
    fn publish(&mut self, chunk: &Chunk) -> Result<Published, NatsError> {
        let subject = self.address.subject.as_str();
        if let Some(session) = &mut self.session {
            self.lost.ensure_restored()?;
            match session.publish(subject, chunk, self.lost.still_stored(&chunk.stream)) {
                Err(error) if error.is_disconnect() => self.session = None,
                done => return done,
            }
        }
        let mut session = self.connect()?;
        let subject = self.address.subject.as_str();
        let ready = self.lost.ensure_restored();
        let published = ready.and_then(|()| session.publish(subject, chunk, self.lost.still_stored(&chunk.stream)));
        self.session = Some(session);
        published
    }

    /// Connects, and checks that the stream still has the last acknowledged line.
    fn connect(&mut self) -> Result<Session, NatsError> {
        let mut session = Session::open(&self.address, self.login.as_ref(), &self.tls)?;
        match self.lost.check(&mut session, self.address.subject.as_str()) {
            Err(error) if error.is_forbidden_request() => {
                self.lost.on_forbidden();
                Session::open(&self.address, self.login.as_ref(), &self.tls)
            }
            Err(error @ (NatsError::LinesLost(_) | NatsError::NoResponders)) => {
                // It is asked for what it still has, or whether there is a stream.
                self.session = Some(session);
                Err(error)
            }
            checked => checked.map(|()| session),
        }
    }

    /// Describes an error and closes the connection: what is still on its way over it must not
    /// arrive behind what is published next.
    fn on_error(&mut self, error: &NatsError) -> DeliveryError {
        if let NatsError::LinesLost(_) = error {
            return self.describe(error, &StreamLookup::NoAnswer);
        }
        let session = self.session.take();
        self.is_unacknowledged = matches!(error, NatsError::NoResponders | NatsError::Timeout);
        let session = session.filter(|_| self.is_unacknowledged);
        let stream = session.map(|mut session| session.look_up_stream(self.address.subject.as_str()));
        self.describe(error, &stream.unwrap_or(StreamLookup::NoAnswer))
    }

    fn describe(&self, error: &NatsError, stream: &StreamLookup) -> DeliveryError {
        let reason = error.describe(self.address.subject.as_str(), stream);
        DeliveryError::temporary(format!("{}: {reason}", self.address.without_login()))
    }

    /// Connects before there are lines to publish. After a missing acknowledgement the connection
    /// is no use until there is a stream; a user without the right to look it up has to try.
    fn open(&mut self) -> Result<(), DeliveryError> {
        let mut session = match self.connect() {
            Ok(session) => session,
            Err(error) => return Err(self.on_error(&error)),
        };
        if self.is_unacknowledged && session.look_up_stream(self.address.subject.as_str()) == StreamLookup::NotFound {
            return Err(self.describe(&NatsError::NoResponders, &StreamLookup::NotFound));
        }
        self.session = Some(session);
        Ok(())
    }
}

fn read_credentials(file: &Path) -> Result<Login, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let login = Login::Credentials(text);
    login.apply(async_nats::ConnectOptions::new()).map_err(|why| format!("{}: {why}", file.display()))?;
    Ok(login)
}

impl Deliver for Nats {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), DeliveryError> {
        let published = self.publish(chunk).and_then(|published| self.lost.on_published(published));
        match published {
            Ok(published) => {
                self.is_unacknowledged = false;
                self.refused.extend(published.refused);
                self.receipt = published.receipt;
                Ok(())
            }
            Err(error) => Err(self.on_error(&error)),
        }
    }

    fn gives_receipts(&self) -> bool {
        true
    }

    fn take_receipt(&mut self) -> Option<Receipt> {
        self.receipt.take()
    }

    fn keep(&mut self, last: Option<Receipt>) {
        self.lost.keep(last);
    }

    fn has_lost_lines(&self) -> bool {
        self.lost.are_to_be_restored()
    }

    fn first_lost(&mut self, receipts: &[Receipt]) -> Result<usize, DeliveryError> {
        let session = match self.session.take() {
            Some(session) => Ok(session),
            None => Session::open(&self.address, self.login.as_ref(), &self.tls),
        };
        let found = session.and_then(|mut session| {
            let found = self.lost.first_lost(&mut session, self.address.subject.as_str(), receipts)?;
            self.session = Some(session);
            Ok(found)
        });
        found.map_err(|error| self.describe(&error, &StreamLookup::NoAnswer))
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.lost.take_warnings()
    }

    fn take_refused(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.refused)
    }

    fn idle(&mut self) -> Result<(), DeliveryError> {
        match &mut self.session {
            Some(session) => {
                self.lost.ensure_restored().and_then(|()| session.poll()).map_err(|error| self.on_error(&error))
            }
            None => self.open(),
        }
    }
}
