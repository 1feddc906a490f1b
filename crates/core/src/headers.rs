//! The request headers that an application sees, and their keys (Python contract, 3.3).

/// Returns whether `name` consists of ASCII letters, digits and `-`. A request header with any
/// other name is removed before anything looks at it: `_` and `-` are the same in an environ, and
/// one could pose as the other.
#[must_use]
#[inline]
pub fn is_plain_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().fold(false, |is_odd, byte| is_odd | ODD[usize::from(*byte)])
}

/// Whether a byte is one that plain names do not have. (Each header of each request is looked at, so
/// there is no branch for each byte.)
static ODD: [bool; 256] = {
    let mut odd = [true; 256];
    let mut byte = 0;
    while byte < odd.len() {
        odd[byte] = !((byte as u8).is_ascii_alphanumeric() || byte as u8 == b'-');
        byte += 1;
    }
    odd
};

/// Credentials of the client that an application sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Credentials {
    /// httpd's `CGIPassAuth`: all of them.
    pub cgi_pass_auth: bool,
    /// `WSGIPassAuthorization`: those for the server itself.
    pub pass_authorization: bool,
}

/// Returns whether the request header `name` becomes an `HTTP_*` variable.
///
/// `Content-Type` and `Content-Length` have variables of their own; `Proxy` would be taken for the
/// setting `HTTP_PROXY` by HTTP clients that the application runs.
#[must_use]
#[inline]
pub fn is_visible(name: &[u8], credentials: Credentials) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    is_plain_name(name)
        && match name.len() {
            5 => !is(b"proxy"),
            12 => !is(b"content-type"),
            13 if is(b"authorization") => credentials.cgi_pass_auth || credentials.pass_authorization,
            14 => !is(b"content-length"),
            19 if is(b"proxy-authorization") => credentials.cgi_pass_auth,
            _ => true,
        }
}

/// Writes the key of the request header `name` into `key`, whose content is replaced.
pub fn environ_key(name: &[u8], key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(b"HTTP_");
    key.extend(name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
}

/// Returns whether the request variable `name` is kept from applications: `PATH`, `HTTPS` (it has
/// become `wsgi.url_scheme`) and what the module keeps for itself.
#[must_use]
#[inline]
pub fn is_hidden_variable(name: &[u8]) -> bool {
    matches!(name, b"PATH" | b"HTTPS") || name.starts_with(b"mod_wsgi.x-")
}

/// Returns whether the value of the variable `HTTPS` means an encrypted connection.
#[must_use]
pub fn is_https(value: &[u8]) -> bool {
    value == b"1" || value.eq_ignore_ascii_case(b"on")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: Credentials = Credentials { cgi_pass_auth: false, pass_authorization: false };

    #[test]
    fn odd_names_are_removed() {
        for name in ["Host", "x", "X-1-y", "-"] {
            assert!(is_plain_name(name.as_bytes()) && is_visible(name.as_bytes(), NONE), "{name}");
        }
        for name in ["", "X_Y", "X.Y", "X Y", "X:Y", "Caf\u{e9}", "X\0"] {
            assert!(!is_plain_name(name.as_bytes()) && !is_visible(name.as_bytes(), NONE), "{name}");
        }
    }

    #[test]
    fn some_headers_are_not_variables() {
        let all = Credentials { cgi_pass_auth: true, pass_authorization: true };
        for name in ["Proxy", "PROXY", "Content-Type", "content-length"] {
            assert!(!is_visible(name.as_bytes(), all), "{name}");
        }
        for name in ["Proxies", "Content-Types", "Content-Range", "Transfer-Encoding", "Cookie"] {
            assert!(is_visible(name.as_bytes(), NONE), "{name}");
        }
    }

    #[test]
    fn credentials_are_passed_on_demand() {
        let cgi = Credentials { cgi_pass_auth: true, ..NONE };
        let wsgi = Credentials { pass_authorization: true, ..NONE };
        for (credentials, authorization, proxy) in
            [(NONE, false, false), (cgi, true, true), (wsgi, true, false)]
        {
            assert_eq!(is_visible(b"Authorization", credentials), authorization);
            assert_eq!(is_visible(b"authorization", credentials), authorization);
            assert_eq!(is_visible(b"Proxy-Authorization", credentials), proxy);
        }
    }

    #[test]
    fn keys_are_cgis() {
        let mut key = b"left over".to_vec();
        environ_key(b"X-Forwarded-for", &mut key);
        assert_eq!(key, b"HTTP_X_FORWARDED_FOR");
    }

    #[test]
    fn hidden_variables() {
        for name in ["PATH", "HTTPS", "mod_wsgi.x-anything"] {
            assert!(is_hidden_variable(name.as_bytes()), "{name}");
        }
        for name in ["PATH_INFO", "HTTPS_X", "mod_wsgi.version", "SSL_PROTOCOL"] {
            assert!(!is_hidden_variable(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn https_is_on_or_1() {
        for (value, https) in
            [("on", true), ("On", true), ("1", true), ("", false), ("0", false), ("yes", false)]
        {
            assert_eq!(is_https(value.as_bytes()), https, "{value}");
        }
    }

    #[test]
    fn each_byte_of_a_name_counts() {
        for byte in 0..=u8::MAX {
            let is_plain = byte.is_ascii_alphanumeric() || byte == b'-';
            for name in [vec![byte], vec![byte, b'x', b'y'], vec![b'x', b'y', byte]] {
                assert_eq!(is_plain_name(&name), is_plain, "{name:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn visible_names_make_valid_keys(name in proptest::collection::vec(any::<u8>(), 0..20)) {
            if is_visible(&name, NONE) {
                let mut key = Vec::new();
                environ_key(&name, &mut key);
                prop_assert!(key.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_'));
            }
        }
    }
}
