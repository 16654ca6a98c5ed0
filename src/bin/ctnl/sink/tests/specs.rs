//! The argument of `--to`.

use super::*;

#[test]
fn every_kind_has_a_unique_prefix_a_syntax_and_a_doc() {
    for (index, kind) in SINK_KINDS.iter().enumerate() {
        assert!(kind.syntax.starts_with(kind.prefix) && !kind.doc.is_empty(), "{}", kind.prefix);
        assert!(SINK_KINDS[..index].iter().all(|other| !kind.prefix.starts_with(other.prefix)), "{}", kind.prefix);
    }
}

#[test]
fn an_argument_is_split_behind_the_prefix_of_its_kind() {
    for (text, prefix, address) in [
        ("-", "-", ""),
        ("file:/a:b", "file:", "/a:b"),
        ("unix:/run/x", "unix:", "/run/x"),
        ("tcp:[::1]:514", "tcp:", "[::1]:514"),
        ("syslog:", "syslog:", ""),
        ("syslog:/run/log", "syslog:", "/run/log"),
        ("syslog:tcp:a:514", "syslog:", "tcp:a:514"),
        ("syslog:udp:a", "syslog:", "udp:a"),
        ("syslog:udp:[2001:db8::1]:514", "syslog:", "udp:[2001:db8::1]:514"),
        ("syslog:tls:a", "syslog:", "tls:a"),
        ("tls:a:6514", "tls:", "a:6514"),
        ("journald:", "journald:", ""),
        ("nats:nats://a:4222/ct.events", "nats:", "nats://a:4222/ct.events"),
        ("nats:a/x", "nats:", "a/x"),
    ] {
        if prefix == "nats:" && cfg!(not(feature = "nats")) || text.contains("tls:") && cfg!(not(feature = "tls")) {
            continue;
        }
        let spec: SinkSpec = text.parse().unwrap();
        assert_eq!((spec.kind.prefix, &*spec.address, &*spec.text), (prefix, address, text));
    }
}

#[test]
fn a_build_without_tls_reports_that() {
    for text in ["tls:a:1", "syslog:tls:a"] {
        let parsed = text.parse::<SinkSpec>();
        let is_reported = parsed.as_ref().err().is_some_and(|why| why.contains("built without TLS"));
        assert_eq!(is_reported, cfg!(not(feature = "tls")), "{parsed:?}");
    }
}

#[test]
fn a_file_has_a_mode_and_its_name_has_none() {
    for (text, address, mode) in [
        ("file:/a", "/a", Mode::Block),
        ("file:/a,mode=block", "/a", Mode::Block),
        ("file:/a,mode=spool", "/a", Mode::Spool),
        ("file:/a,b,mode=drop", "/a,b", Mode::Drop),
        ("file:/a,mode=x,mode=drop", "/a,mode=x", Mode::Drop),
    ] {
        let spec: SinkSpec = text.parse().unwrap();
        assert_eq!((&*spec.address, spec.mode, spec.name()), (address, mode, format!("file:{address}")));
    }
    for text in ["file:/a,mode=", "file:/a,mode=0640", "file:/a,mode=spool,x"] {
        let why = text.parse::<SinkSpec>().unwrap_err();
        assert!(why.starts_with("unknown mode '") && why.contains("mode=block|spool|drop"), "{why}");
    }
    assert_eq!("unix:/a,mode=drop".parse::<SinkSpec>().unwrap().address, "/a,mode=drop");
}

#[test]
fn a_name_contains_no_password() {
    let name = |text: &str| text.parse::<SinkSpec>().unwrap().name();
    #[cfg(feature = "nats")]
    assert_eq!(name("nats:nats://me:secret@a:4222/x"), "nats:nats://a:4222/x");
    assert_eq!(name("file:/a@b"), "file:/a@b");
}

#[test]
fn an_invalid_argument_is_refused_with_the_expected_syntax() {
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
        "syslog:udp:",
        "syslog:udp:a:0",
        "syslog:tls:::1",
        "tls:a",
        "nats:a",
        "nats:nats://a/",
    ] {
        let why = text.parse::<SinkSpec>().unwrap_err();
        let kind = SINK_KINDS.iter().find(|kind| text.starts_with(kind.prefix));
        let syntax = kind.map_or("-, file:PATH[,mode=block|spool|drop], unix:PATH", |kind| kind.syntax);
        assert!(why.contains(&format!(": expected {syntax}")), "{text}: {why}");
    }
}
