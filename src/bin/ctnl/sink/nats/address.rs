//! `URL[,URL…]/SUBJECT`, and the login.

use async_nats::{ConnectOptions, ServerAddr, Subject};
use percent_encoding::percent_decode_str;

/// The servers and the subject.
#[derive(Debug, Clone)]
pub struct Address {
    /// Servers of one cluster: any of them will do.
    pub servers: Vec<ServerAddr>,
    /// The subject to publish to.
    pub subject: Subject,
    /// The login of the first URL that has one.
    pub login: Option<Login>,
}

impl Address {
    /// Parses what follows `nats:`. The error contains no secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let missing = "missing server or subject";
        let start = text.rfind("://").map_or(0, |at| at + 3);
        let slash = text.rfind('/').filter(|slash| *slash >= start).ok_or(missing)?;
        let (servers, subject) = text.split_at(slash);
        let subject = subject.trim_start_matches('/');
        if let Some(why) = subject_error(subject) {
            return Err(format!("invalid subject '{subject}': {why}"));
        }
        let servers = servers.split(',').map(parse_server).collect::<Result<Vec<_>, _>>()?;
        let login = servers.iter().find_map(Login::from_url);
        Ok(Address { servers, subject: subject.into(), login })
    }

    /// The servers, without users and passwords.
    pub fn without_login(&self) -> String {
        let shown = |server: &ServerAddr| match server.host() {
            host if host.contains(':') => format!("[{host}]:{}", server.port()),
            host => format!("{host}:{}", server.port()),
        };
        self.servers.iter().map(shown).collect::<Vec<_>>().join(",")
    }
}

fn parse_server(text: &str) -> Result<ServerAddr, String> {
    let server: ServerAddr = text.parse().map_err(|error| format!("{error}"))?;
    if server.host().is_empty() || server.is_websocket() {
        return Err("invalid server: expected nats://HOST:PORT or, with TLS, tls://HOST:PORT".into());
    }
    Ok(server)
}

/// Why a subject cannot be published to.
fn subject_error(subject: &str) -> Option<&'static str> {
    if subject.split('.').any(str::is_empty) {
        Some("it has an empty token")
    } else if subject.split('.').any(|part| matches!(part, "*" | ">")) {
        Some("it has a wildcard")
    } else if subject.starts_with('$') {
        Some("subjects that begin with $ are reserved by the server")
    } else if subject.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Some("it contains white space")
    } else {
        None
    }
}

/// How to log in.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User and password.
    User(String, String),
    /// A token.
    Token(String),
    /// The contents of a credentials file.
    Credentials(String),
}

impl Login {
    /// The login in a URL: `nats://USER:PASSWORD@…` or `nats://TOKEN@…`.
    fn from_url(server: &ServerAddr) -> Option<Self> {
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = plain(server.username()?);
        Some(match server.password() {
            Some(password) => Login::User(user, plain(password)),
            None => Login::Token(user),
        })
    }

    /// The login in the environment, in the variables that the `nats` program reads.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let read = |name| read(name).filter(|value| !value.is_empty());
        match (read("NATS_USER"), read("NATS_PASSWORD"), read("NATS_TOKEN")) {
            (Some(user), password, _) => Some(Login::User(user, password.unwrap_or_default())),
            (None, _, token) => token.map(Login::Token),
        }
    }

    /// Adds the login to the options of a connection.
    pub fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, String> {
        match self {
            Login::User(user, password) => Ok(options.user_and_password(user.clone(), password.clone())),
            Login::Token(token) => Ok(options.token(token.clone())),
            Login::Credentials(text) => {
                options.credentials(text).map_err(|error| format!("invalid credentials: {error}"))
            }
        }
    }
}

/// Prints no secrets.
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
    fn servers_and_subject_are_parsed_and_no_secret_is_shown() {
        for (text, shown, subject) in [
            ("nats://127.0.0.1:4222/ctnl.events", "127.0.0.1:4222", "ctnl.events"),
            ("127.0.0.1/ct", "127.0.0.1:4222", "ct"),
            ("nats://a,b:99,tls://[::1]:7/x.y.z", "a:4222,b:99,[::1]:7", "x.y.z"),
            ("nats://me:secret@a:4222,b/x", "a:4222,b:4222", "x"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((&*address.without_login(), address.subject.as_str()), (shown, subject), "{text}");
            assert!(!format!("{:?}{}", address.login, address.without_login()).contains("secret"));
        }
        assert!(Address::parse("tls://a/x").unwrap().servers[0].tls_required());
    }

    #[test]
    fn an_address_that_cannot_be_published_to_is_refused() {
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
    fn a_credentials_file_is_parsed_as_nsc_writes_it_and_refused_without_its_seed() {
        let jwt =
            "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1Qi.eyJqdGki-_x.sig_-\n------END NATS USER JWT------\n\n";
        let words = "************************* IMPORTANT *************************\nNKEYs are sensitive.\n\n";
        let seed = "-----BEGIN USER NKEY SEED-----\n\
            SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM\n------END USER NKEY SEED------\n";
        let is_valid = |text: &str| Login::Credentials(text.into()).apply(ConnectOptions::new()).is_ok();
        let whole = [jwt, words, seed].concat();
        assert!(is_valid(&whole));
        assert!(is_valid(&whole.replace('\n', "\r\n")));
        assert!(!is_valid(&[jwt, words].concat()));
        assert!(!is_valid(&whole.replace("SUAIO", "SUAIP")));
        assert!(!is_valid(""));
    }
}
