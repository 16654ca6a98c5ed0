//! Why TLS failed, and what to do about it.

use std::error::Error as StdError;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

/// What is known about the certificate of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAuth {
    /// There is one.
    pub has_certificate: bool,
    /// The server has requested one, as far as is known.
    pub is_requested: bool,
}

impl ClientAuth {
    fn is_missing(self, alert: AlertDescription) -> bool {
        !self.has_certificate && (self.is_requested || concerns_certificate(alert))
    }
}

/// The error for the operator.
pub fn describe(error: &Error, client: ClientAuth) -> String {
    match error {
        Error::InvalidCertificate(why) => describe_certificate(why),
        Error::AlertReceived(alert) if client.is_missing(*alert) => rejected(&format!("alert {}", name_of(*alert))),
        Error::AlertReceived(alert) => {
            let hint = hint_for_alert(*alert).map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            format!("the server ended TLS with the alert {}{hint}", name_of(*alert))
        }
        Error::InvalidMessage(_) => {
            format!("the server's answer is not TLS ({error})\n  hint: does it expect TLS at this port?")
        }
        Error::PeerIncompatible(_) => format!("{error}\n  hint: TLS 1.2 with ECDHE and AEAD, or TLS 1.3, is required"),
        error => format!("TLS: {error}"),
    }
}

/// The same, for the error of a client with TLS inside.
#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "nothing else has such errors"))]
pub fn describe_cause(error: &(dyn StdError + 'static), client: ClientAuth) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref());
        if let Some(tls) = tls {
            return Some(describe(tls, client));
        }
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The server has requested a client certificate, got none, and answered with `how`.
pub fn rejected(how: &str) -> String {
    format!("the server requires a client certificate ({how})\n  hint: use --tls-cert FILE and --tls-key FILE")
}

fn describe_certificate(error: &CertificateError) -> String {
    let (why, hint) = match error {
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| without_type(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            let why = format!("is not valid for '{}': its subjectAltName has {names}", expected.to_str());
            (why, "use a host name that is in the certificate")
        }
        CertificateError::UnknownIssuer => {
            ("was issued by an unknown certificate authority".into(), "--tls-ca FILE names the authorities to trust")
        }
        CertificateError::BadSignature => {
            ("was not signed by the authority of that name".into(), "--tls-ca FILE names the authorities to trust")
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("expired on {}", shown(*not_after)), "renew it, or check the clock of this host")
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            (format!("is not valid before {}", shown(*not_before)), "check the clock of this host")
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => (
            "is that of a certificate authority".into(),
            "a self-signed certificate must not have CA:TRUE; or sign a certificate for the server with it",
        ),
        error => return format!("the server's certificate is not valid: {error}"),
    };
    format!("the server's certificate {why}\n  hint: {hint}")
}

/// `DnsName("a")` and `IpAddress(192.0.2.1)`: rustls has types around the names.
fn without_type(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

fn shown(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s since 1970"), |time| time.to_string())
}

/// As RFC 8446 section 6 writes it.
fn name_of(alert: AlertDescription) -> String {
    let camel = format!("{alert:?}");
    let (mut name, mut follows_lowercase) = (String::new(), false);
    for char in camel.chars() {
        if char.is_ascii_uppercase() && follows_lowercase {
            name.push('_');
        }
        name.push(char.to_ascii_lowercase());
        follows_lowercase = char.is_ascii_lowercase();
    }
    name
}

/// Whether a server that gets no client certificate may answer with it.
fn concerns_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(alert, Alert::CertificateRequired | Alert::BadCertificate | Alert::CertificateUnknown)
}

fn hint_for_alert(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as Alert;
    match alert {
        Alert::DecryptError
        | Alert::BadCertificate
        | Alert::UnknownCA
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate => {
            Some("the server does not accept the certificate of --tls-cert: does it trust its issuer?")
        }
        Alert::CertificateExpired => Some("renew the certificate of --tls-cert"),
        Alert::CertificateRevoked => Some("the certificate of --tls-cert was revoked"),
        Alert::UnrecognisedName => Some("the server has no certificate for this host name"),
        Alert::HandshakeFailure | Alert::ProtocolVersion => Some(
            "TLS 1.2 with ECDHE and AEAD, or TLS 1.3, is required; or the server requires --tls-cert and --tls-key",
        ),
        _ => None,
    }
}
