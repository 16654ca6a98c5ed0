//! `nats:URL[,URL…]/SUBJECT`, and who logs in.

use async_nats::{ConnectOptions, ServerAddr, Subject};
use percent_encoding::percent_decode_str;

/// Which servers, and which subject.
#[derive(Debug, Clone)]
pub struct Address {
    /// Any of them will do: they are one cluster.
    pub servers: Vec<ServerAddr>,
    /// What every line is published to.
    pub subject: Subject,
    /// What the first URL says about who logs in.
    pub login: Option<Login>,
}

impl Address {
    /// Reads what stands behind `nats:`. Of the answer nothing is a secret.
    pub fn parse(rest: &str) -> Result<Self, String> {
        let missing = "a server or a subject is missing";
        let start = rest.rfind("://").map_or(0, |at| at + 3);
        let slash = rest.rfind('/').filter(|slash| *slash >= start).ok_or(missing)?;
        let (servers, subject) = rest.split_at(slash);
        let subject = subject.trim_start_matches('/');
        if let Some(why) = fault_of(subject) {
            return Err(format!("{subject:?} is no subject to publish to: {why}"));
        }
        let servers = servers.split(',').map(server).collect::<Result<Vec<_>, _>>()?;
        let login = servers.iter().find_map(Login::of);
        Ok(Address { servers, subject: subject.into(), login })
    }

    /// The servers as they may be shown: without users and passwords.
    pub fn shown(&self) -> String {
        let shown = |server: &ServerAddr| match server.host() {
            host if host.contains(':') => format!("[{host}]:{}", server.port()),
            host => format!("{host}:{}", server.port()),
        };
        self.servers.iter().map(shown).collect::<Vec<_>>().join(",")
    }
}

fn server(text: &str) -> Result<ServerAddr, String> {
    let server: ServerAddr = text.parse().map_err(|error| format!("{error}"))?;
    if server.host().is_empty() || server.is_websocket() {
        return Err("a server is written nats://HOST:PORT or, with TLS, tls://HOST:PORT".into());
    }
    Ok(server)
}

/// Why lines cannot be published to a subject.
fn fault_of(subject: &str) -> Option<&'static str> {
    if subject.split('.').any(str::is_empty) {
        Some("a part of it is empty")
    } else if subject.split('.').any(|part| matches!(part, "*" | ">")) {
        Some("it has a wildcard")
    } else if subject.starts_with('$') {
        Some("those with a $ are the server's own")
    } else if subject.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Some("it has a blank")
    } else {
        None
    }
}

/// Who logs in.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User and password.
    User(String, String),
    /// A token.
    Token(String),
    /// What stands in a credentials file.
    Credentials(String),
}

impl Login {
    /// What a URL says: `nats://USER:PASSWORD@…` or `nats://TOKEN@…`.
    fn of(server: &ServerAddr) -> Option<Self> {
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = plain(server.username()?);
        Some(match server.password() {
            Some(password) => Login::User(user, plain(password)),
            None => Login::Token(user),
        })
    }

    /// What the environment says, by the names that the `nats` program reads.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let read = |name| read(name).filter(|value| !value.is_empty());
        match (read("NATS_USER"), read("NATS_PASSWORD"), read("NATS_TOKEN")) {
            (Some(user), password, _) => Some(Login::User(user, password.unwrap_or_default())),
            (None, _, token) => token.map(Login::Token),
        }
    }

    /// Adds itself to the options of a connection.
    pub fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, String> {
        match self {
            Login::User(user, password) => Ok(options.user_and_password(user.clone(), password.clone())),
            Login::Token(token) => Ok(options.token(token.clone())),
            Login::Credentials(text) => {
                options.credentials(text).map_err(|error| format!("the credentials are not understood: {error}"))
            }
        }
    }
}

/// Secrets are not printed.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Login::User(..) => "user and password",
            Login::Token(_) => "token",
            Login::Credentials(_) => "credentials",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_subject_are_read_and_no_secret_is_shown() {
        for (text, shown, subject) in [
            ("nats://127.0.0.1:4222/ctnl.events", "127.0.0.1:4222", "ctnl.events"),
            ("127.0.0.1/ct", "127.0.0.1:4222", "ct"),
            ("nats://a,b:99,tls://[::1]:7/x.y.z", "a:4222,b:99,[::1]:7", "x.y.z"),
            ("nats://me:secret@a:4222,b/x", "a:4222,b:4222", "x"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((&*address.shown(), address.subject.as_str()), (shown, subject), "{text}");
            assert!(!format!("{:?}{}", address.login, address.shown()).contains("secret"));
        }
        assert!(Address::parse("tls://a/x").unwrap().servers[0].tls_required());
    }

    #[test]
    fn what_cannot_be_published_to_is_refused() {
        for text in [
            "",
            "/x",
            "nats://a",
            "nats://a:4222",
            "nats://a/",
            "a/x.*",
            "a/>",
            "a/x..y",
            "a/$JS.API",
            "a/x y",
            "http://a/x",
            "ws://a/x",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_login_comes_from_the_url_or_the_environment() {
        let login = |text| Address::parse(text).unwrap().login;
        assert_eq!(login("a/x"), None);
        assert_eq!(login("nats://t%40ken@a/x"), Some(Login::Token("t@ken".into())));
        assert_eq!(login("nats://me:p%2Fw@a,b/x"), Some(Login::User("me".into(), "p/w".into())));
        let set = |given: &'static [(&str, &str)]| {
            Login::from_environment(move |name| {
                given.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(set(&[]), None);
        assert_eq!(set(&[("NATS_USER", "")]), None);
        assert_eq!(set(&[("NATS_TOKEN", "t")]), Some(Login::Token("t".into())));
        assert_eq!(set(&[("NATS_USER", "u"), ("NATS_PASSWORD", "p")]), Some(Login::User("u".into(), "p".into())));
    }

    #[test]
    fn a_credentials_file_is_understood_as_nsc_writes_it_and_not_without_its_seed() {
        let jwt =
            "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1Qi.eyJqdGki-_x.sig_-\n------END NATS USER JWT------\n\n";
        let words = "************************* IMPORTANT *************************\nNKEYs are sensitive.\n\n";
        let seed = "-----BEGIN USER NKEY SEED-----\n\
            SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM\n------END USER NKEY SEED------\n";
        let is_understood = |text: &str| Login::Credentials(text.into()).apply(ConnectOptions::new()).is_ok();
        let whole = [jwt, words, seed].concat();
        assert!(is_understood(&whole));
        assert!(is_understood(&whole.replace('\n', "\r\n")));
        assert!(!is_understood(&[jwt, words].concat()));
        assert!(!is_understood(&whole.replace("SUAIO", "SUAIP")));
        assert!(!is_understood(""));
    }
}
