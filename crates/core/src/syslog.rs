//! `ErrorLog syslog[:facility[:tag]]`: where the server's errors go then.

use crate::wire::launch::Syslog;

/// The socket that the C library writes to.
const SOCKET: &[u8] = b"/dev/log";
/// Facilities with their numbers, as in syslog.h.
const FACILITIES: [(&[u8], u8); 20] = [
    (b"auth", 4),
    (b"authpriv", 10),
    (b"cron", 9),
    (b"daemon", 3),
    (b"ftp", 11),
    (b"kern", 0),
    (b"lpr", 6),
    (b"mail", 2),
    (b"news", 7),
    (b"syslog", 5),
    (b"user", USER),
    (b"uucp", 8),
    (b"local0", 16),
    (b"local1", 17),
    (b"local2", 18),
    (b"local3", 19),
    (b"local4", 20),
    (b"local5", 21),
    (b"local6", 22),
    (b"local7", LOCAL7),
];
/// The system's own default, which stands for what is no facility.
const USER: u8 = 1;
/// Apache's default.
const LOCAL7: u8 = 23;

/// Parses the argument of `ErrorLog` in a server whose program has this name. Returns `None` if it
/// names no syslog.
#[must_use]
pub fn parse(error_log: &[u8], program: &[u8]) -> Option<Syslog> {
    let mut parts = error_log.splitn(3, |byte| *byte == b':');
    if parts.next() != Some(b"syslog") {
        return None;
    }
    let given = |part: Option<&'_ [u8]>| part.filter(|part| !part.is_empty()).map(<[u8]>::to_vec);
    let (facility, tag) = (given(parts.next()), given(parts.next()));
    let facility = facility.map_or(LOCAL7, |name| {
        let known = FACILITIES.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map_or(USER, |(_, number)| number)
    });
    let tag = tag.map_or_else(|| program.into(), Vec::into_boxed_slice);
    Some(Syslog { socket: SOCKET.into(), facility, tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facility_and_tag_have_defaults() {
        for (error_log, facility, tag) in [
            (&b"syslog"[..], 23, &b"httpd"[..]),
            (b"syslog:", 23, b"httpd"),
            (b"syslog:Local1", 17, b"httpd"),
            (b"syslog:daemon:", 3, b"httpd"),
            (b"syslog::site", 23, b"site"),
            (b"syslog:user:a:b", 1, b"a:b"),
            (b"syslog:nonsense", 1, b"httpd"),
        ] {
            let expected = Syslog { socket: SOCKET.into(), facility, tag: tag.into() };
            assert_eq!(parse(error_log, b"httpd"), Some(expected), "{}", error_log.escape_ascii());
        }
        for file in [&b"syslogs"[..], b"/var/log/syslog", b"|syslog", b""] {
            assert_eq!(parse(file, b"httpd"), None);
        }
    }
}
