//! `HOST:PORT` and `HOST[:PORT]`.

/// Checks an address. `default` is the port of one without.
pub fn validate(address: &str, default: Option<u16>) -> Result<(), String> {
    let (host, port) = match (split(address), default) {
        ((host, Some(port)), _) => (host, Some(port)),
        ((host, None), Some(_)) => (host, None),
        _ => return Err("missing port".into()),
    };
    if host.is_empty() || host == "[]" {
        return Err("missing host".into());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("IPv6 address '{host}' without brackets"));
    }
    match port.map(str::parse::<u16>) {
        None => Ok(()),
        Some(Ok(number)) if number > 0 => Ok(()),
        _ => Err(format!("not a port: '{}'", port.unwrap_or_default())),
    }
}

/// The address with a port.
pub fn with_port(address: &str, default: u16) -> String {
    match split(address) {
        (_, Some(_)) => address.to_owned(),
        (host, None) => format!("{host}:{default}"),
    }
}

/// The host, an IPv6 address without brackets.
#[cfg(any(feature = "tls", test))]
pub fn host(address: &str) -> &str {
    let (host, _) = split(address);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The colons of an IPv6 address stand in brackets.
fn split(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_missing_only_where_there_is_a_default() {
        for (address, host_alone, whole) in [
            ("a", "a", "a:6514"),
            ("a:1", "a", "a:1"),
            ("[::1]", "::1", "[::1]:6514"),
            ("[::1]:7", "::1", "[::1]:7"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1:6514"),
        ] {
            assert_eq!(validate(address, Some(6514)), Ok(()), "{address}");
            assert_eq!((host(address), &*with_port(address, 6514)), (host_alone, whole));
            assert_eq!(validate(address, None).is_ok(), address == whole, "{address}");
        }
        for address in ["", ":1", "a:", "a:0", "a:65536", "::1", "fe80::1:2:3:4", "[]", "[]:1"] {
            assert!(validate(address, Some(1)).is_err(), "{address}");
        }
    }
}
