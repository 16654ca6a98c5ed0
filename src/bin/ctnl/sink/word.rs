//! The words of `--to`.

use std::str::FromStr;

use anyhow::{Result, anyhow};

#[cfg(feature = "nats")]
use super::nats;
use super::{Deliver, Options, file, journald, remote, stdout, syslog};

/// A kind of place.
#[derive(Debug)]
pub struct Kind {
    /// The word's beginning.
    pub name: &'static str,
    /// The whole word.
    pub form: &'static str,
    /// What it is, for the help.
    pub doc: &'static str,
    /// Whether it holds the reader back when its queue is full, so that the kernel's own
    /// queue fills and the kernel counts. The others can be down for long: for them lines
    /// go to the spool, or are left out and counted.
    pub holds: bool,
    /// Makes it. Only files are opened by that.
    pub make: fn(&Word, &Options) -> Result<Box<dyn Deliver>>,
    /// What is wrong with what stands behind the name.
    check: fn(&str) -> std::result::Result<(), String>,
}

/// Every kind of place.
pub const KINDS: &[Kind] = &[
    Kind { name: "-", form: "-", doc: "standard output", holds: true, make: stdout::make, check: nothing },
    Kind {
        name: "file:",
        form: "file:PATH",
        doc: "appended to a file, which is rotated by size or time where asked for, and opened anew on SIGHUP",
        holds: true,
        make: file::make,
        check: path,
    },
    Kind {
        name: "unix:",
        form: "unix:PATH",
        doc: "lines to a unix stream socket",
        holds: false,
        make: remote::unix,
        check: path,
    },
    Kind {
        name: "tcp:",
        form: "tcp:HOST:PORT",
        doc: "lines over TCP",
        holds: false,
        make: remote::tcp,
        check: host_and_port,
    },
    Kind {
        name: "syslog:",
        form: "syslog:[PATH|tcp:HOST:PORT]",
        doc: "RFC 5424 to /dev/log or another local socket, or over TCP with octet counting",
        holds: false,
        make: syslog::make,
        check: syslog,
    },
    Kind {
        name: "journald:",
        form: "journald:[PATH]",
        doc: "the systemd journal",
        holds: false,
        make: journald::make,
        check: anything,
    },
    Kind {
        name: "nats:",
        form: "nats:URL/SUBJECT",
        doc: "a subject of NATS JetStream, each line acknowledged and with an id against repeats",
        holds: false,
        make: to_nats,
        check: nats_address,
    },
];

/// A word of `--to` that is understood.
#[derive(Debug, Clone)]
pub struct Word {
    /// The whole word, as it was typed.
    pub text: String,
    /// What stands behind the kind's name.
    pub rest: String,
    /// Which kind of place.
    pub kind: &'static Kind,
}

impl Word {
    /// The word without a password: the name of the place in messages and of its spool.
    pub fn name(&self) -> String {
        match (self.text.find("://"), self.text.rfind('@')) {
            (Some(scheme), Some(at)) if scheme < at => {
                let (before, beyond) = (self.text.get(..scheme + 3), self.text.get(at + 1..));
                format!("{}{}", before.unwrap_or_default(), beyond.unwrap_or_default())
            }
            _ => self.text.clone(),
        }
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let kind = KINDS.iter().find(|kind| text.starts_with(kind.name)).ok_or_else(|| {
            let forms: Vec<_> = KINDS.iter().map(|kind| kind.form).collect();
            format!("no such place; there are {}", forms.join(", "))
        })?;
        let rest = text.strip_prefix(kind.name).unwrap_or_default();
        (kind.check)(rest).map_err(|why| format!("{why}: it is written {}", kind.form))?;
        Ok(Word { text: text.to_owned(), rest: rest.to_owned(), kind })
    }
}

#[cfg(feature = "nats")]
fn to_nats(word: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    let environment = |name: &str| std::env::var(name).ok();
    let nats = nats::Nats::new(&word.rest, options.nats_credentials.as_deref(), environment);
    nats.map(|nats| Box::new(nats) as Box<dyn Deliver>).map_err(|why| anyhow!("{}: {why}", word.name()))
}

#[cfg(not(feature = "nats"))]
fn to_nats(word: &Word, _: &Options) -> Result<Box<dyn Deliver>> {
    Err(anyhow!("{}: this ctnl was built without NATS (cargo build --features nats)", word.name()))
}

fn anything(_: &str) -> std::result::Result<(), String> {
    Ok(())
}

fn nothing(rest: &str) -> std::result::Result<(), String> {
    if rest.is_empty() { Ok(()) } else { Err("nothing stands behind the -".into()) }
}

fn path(rest: &str) -> std::result::Result<(), String> {
    if rest.is_empty() { Err("a path is missing".into()) } else { Ok(()) }
}

fn host_and_port(rest: &str) -> std::result::Result<(), String> {
    let (host, port) = rest.rsplit_once(':').ok_or("a port is missing")?;
    if host.is_empty() {
        return Err("a host is missing".into());
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err("an IPv6 address stands in [ ]".into());
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => Err(format!("{port:?} is no port")),
    }
}

fn syslog(rest: &str) -> std::result::Result<(), String> {
    rest.strip_prefix("tcp:").map_or(Ok(()), host_and_port)
}

#[cfg(feature = "nats")]
fn nats_address(rest: &str) -> std::result::Result<(), String> {
    nats::check(rest)
}

#[cfg(not(feature = "nats"))]
fn nats_address(_: &str) -> std::result::Result<(), String> {
    Err("this ctnl was built without NATS (cargo build --features nats)".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_a_form_and_a_doc() {
        for (place, kind) in KINDS.iter().enumerate() {
            assert!(kind.form.starts_with(kind.name) && !kind.doc.is_empty(), "{}", kind.name);
            assert!(KINDS[..place].iter().all(|other| !kind.name.starts_with(other.name)), "{}", kind.name);
        }
    }

    #[test]
    fn words_are_split_behind_the_name_of_their_kind() {
        for (text, name, rest) in [
            ("-", "-", ""),
            ("file:/a:b", "file:", "/a:b"),
            ("unix:/run/x", "unix:", "/run/x"),
            ("tcp:[::1]:514", "tcp:", "[::1]:514"),
            ("syslog:", "syslog:", ""),
            ("syslog:/run/log", "syslog:", "/run/log"),
            ("syslog:tcp:a:514", "syslog:", "tcp:a:514"),
            ("journald:", "journald:", ""),
            ("nats:nats://a:4222/ct.events", "nats:", "nats://a:4222/ct.events"),
            ("nats:a/x", "nats:", "a/x"),
        ] {
            if name == "nats:" && cfg!(not(feature = "nats")) {
                continue;
            }
            let word: Word = text.parse().unwrap();
            assert_eq!((word.kind.name, &*word.rest, &*word.text), (name, rest, text));
        }
    }

    #[test]
    fn a_name_has_no_password() {
        let name = |text: &str| text.parse::<Word>().unwrap().name();
        #[cfg(feature = "nats")]
        assert_eq!(name("nats:nats://me:secret@a:4222/x"), "nats:nats://a:4222/x");
        assert_eq!(name("file:/a@b"), "file:/a@b");
    }

    #[test]
    fn a_word_that_cannot_work_is_refused_with_its_form() {
        for text in [
            "",
            "x",
            "-x",
            "file:",
            "tcp:a",
            "tcp::1",
            "tcp:a:0",
            "tcp:::1:5",
            "syslog:tcp:a",
            "nats:a",
            "nats:nats://a/",
        ] {
            let why = text.parse::<Word>().unwrap_err();
            assert!(why.contains("there are -,") || why.contains("it is written"), "{text}: {why}");
        }
    }
}
