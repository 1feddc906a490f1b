//! URLs of collectors.

/// Checks the URL of a collector.
///
/// # Errors
/// The reason why it is none, as the end of a sentence.
pub fn check_endpoint(url: &str) -> Result<(), &'static str> {
    let lower = url.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://")) else {
        return Err("it must be a URL that begins with http:// or https://, such as http://127.0.0.1:4318");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a URL has no blanks and no letters with accents");
    }
    if url.contains(['?', '#']) {
        return Err("it must be without a query: the path of the signal is added to it");
    }
    if authority.contains('@') {
        return Err("it must be without a user and a password: headers (headers-file=) carry them");
    }
    let host_and_port = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']').and_then(|(host, rest)| match rest {
            "" => Some((host, None)),
            _ => rest.strip_prefix(':').map(|port| (host, Some(port))),
        }),
        None => match authority.split_once(':') {
            Some((host, port)) => Some((host, Some(port))),
            None => Some((authority, None)),
        },
    };
    match host_and_port {
        Some((host, port)) if !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok()) => {
            Ok(())
        }
        _ => Err("it must have a host, and a port that is a number, such as http://127.0.0.1:4318"),
    }
}

/// Returns the URL of a signal below that of a collector.
pub(super) fn of_signal(endpoint: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", endpoint.trim_end_matches('/'))
}

/// Decodes `%41` and the like; `None` if a `%` begins nothing.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}
