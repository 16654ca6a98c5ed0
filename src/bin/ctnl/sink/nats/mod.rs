//! NATS JetStream: every line is a message of its own, acknowledged by the stream, with
//! an id by which the stream knows what it has already.
//!
//! `address` reads the word, `session` is one connection, `fault` says what is wrong.

mod address;
mod fault;
mod session;

use std::fs;
use std::path::Path;

use self::address::{Address, Login};
use self::fault::{Fault, Streams};
use self::session::Session;
use super::{Deliver, Down};
use crate::chunk::Chunk;

/// What is wrong with what stands behind `nats:`.
pub fn check(rest: &str) -> Result<(), String> {
    Address::parse(rest).map(|_| ())
}

/// The subject of a cluster.
pub struct Nats {
    address: Address,
    login: Option<Login>,
    session: Option<Session>,
    /// The last fault was that nobody took the lines.
    unheard: bool,
    refused: Vec<u64>,
}

impl Nats {
    /// For what stands behind `nats:`. Nothing is connected yet. `credentials` names a
    /// file as `nsc` makes it; without it the URL and then the environment say who logs in.
    pub fn new(
        rest: &str,
        credentials: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let address = Address::parse(rest)?;
        let file = credentials.map(Path::to_owned).or_else(|| environment("NATS_CREDS").map(Into::into));
        let login = match file {
            Some(file) => Some(read(&file)?),
            None => address.login.clone().or_else(|| Login::from_environment(environment)),
        };
        Ok(Nats { address, login, session: None, unheard: false, refused: Vec::new() })
    }

    /// Publishes over the connection that there is, or over a new one. A connection may
    /// have ended while nothing was sent: then a new one is tried at once.
    fn publish(&mut self, chunk: &Chunk) -> Result<Vec<u64>, Fault> {
        let subject = self.address.subject.as_str();
        if let Some(session) = &mut self.session {
            match session.publish(subject, chunk) {
                Err(fault) if fault.is_of_the_connection() => self.session = None,
                done => return done,
            }
        }
        let session = Session::open(&self.address, self.login.as_ref())?;
        self.session.insert(session).publish(subject, chunk)
    }

    /// Puts a fault in words, and the connection away: whatever was on its way over it
    /// must not arrive behind what is published next.
    fn down(&mut self, fault: &Fault) -> Down {
        let ended = self.session.take();
        self.unheard = matches!(fault, Fault::NoResponders | Fault::Silent);
        let asked = ended.filter(|_| self.unheard).map(|mut session| session.ask(self.address.subject.as_str()));
        self.words(fault, &asked.unwrap_or(Streams::NoAnswer))
    }

    fn words(&self, fault: &Fault, streams: &Streams) -> Down {
        let words = fault.words(self.address.subject.as_str(), streams);
        Down::for_now(format!("{}: {words}", self.address.shown()))
    }

    /// Opens a connection before there are lines for it. Where there was no stream, it is
    /// no use as long as there is none. Who may not ask for it has to try.
    fn open(&mut self) -> Result<(), Down> {
        let opened = Session::open(&self.address, self.login.as_ref());
        let mut session = opened.map_err(|fault| self.words(&fault, &Streams::NoAnswer))?;
        if self.unheard && session.ask(self.address.subject.as_str()) == Streams::None {
            return Err(self.words(&Fault::NoResponders, &Streams::None));
        }
        self.session = Some(session);
        Ok(())
    }
}

fn read(file: &Path) -> Result<Login, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let login = Login::Credentials(text);
    login.apply(async_nats::ConnectOptions::new()).map_err(|why| format!("{}: {why}", file.display()))?;
    Ok(login)
}

impl Deliver for Nats {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), Down> {
        match self.publish(chunk) {
            Ok(refused) => {
                self.unheard = false;
                self.refused.extend(refused);
                Ok(())
            }
            Err(fault) => Err(self.down(&fault)),
        }
    }

    fn refused(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.refused)
    }

    fn idle(&mut self) -> Result<(), Down> {
        match &mut self.session {
            Some(session) => session.breathe().map_err(|fault| self.down(&fault)),
            None => self.open(),
        }
    }
}
