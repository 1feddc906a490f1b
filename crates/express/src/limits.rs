//! Limits and timeouts of clients' connections and of requests, as far as Apache sets them.

use minijinja::{Value, context};

use crate::failure::Failure;
use crate::parse::Parsed;
use crate::spec::{MOST_OF_APACHE, Spec, section};
use crate::values::number;

section! {
    LIMITS {
        title: "Limits of connections and requests",
        about: "The amount of data that clients may send, and the time that they may take. 0 means no limit, unless \
                another meaning is given.",
        example: "mod_wsgi-express start-server app.wsgi --limit-request-body 100M --body-timeout 60 --chunked-request",
    }

    HEADER_TIMEOUT = Spec::seconds("--header-timeout",
        "Seconds for the headers of a request to arrive.")
        .within(0, MOST_OF_APACHE)
        .default("15");
    HEADER_MAX_TIMEOUT = Spec::seconds("--header-max-timeout",
        "Seconds to which that time is extended while they keep arriving.")
        .within(0, MOST_OF_APACHE)
        .default("30");
    HEADER_MIN_RATE = Spec::bytes("--header-min-rate",
        "Bytes of headers that extend it by one second.")
        .within(0, MOST_OF_APACHE)
        .default("500");
    BODY_TIMEOUT = Spec::seconds("--body-timeout",
        "Seconds for the body of a request to arrive.")
        .within(0, MOST_OF_APACHE)
        .default("15");
    BODY_MAX_TIMEOUT = Spec::seconds("--body-max-timeout",
        "Seconds to which that time is extended while it keeps arriving.")
        .within(0, MOST_OF_APACHE)
        .default("no limit");
    BODY_MIN_RATE = Spec::bytes("--body-min-rate",
        "Bytes of the body that extend it by one second.")
        .within(0, MOST_OF_APACHE)
        .default("500");
    KEEP_ALIVE_TIMEOUT = Spec::seconds("--keep-alive-timeout",
        "Seconds for which an idle connection is kept for the client's next request.")
        .within(0, MOST_OF_APACHE)
        .default("2")
        .note("0 closes connections after each request.");
    LIMIT_REQUEST_BODY = Spec::bytes("--limit-request-body",
        "Bytes that the body of a request may have; larger ones get 413.")
        .default("10485760");
    SERVER_BACKLOG = Spec::integer("--server-backlog",
        "Connections that may wait to be accepted.")
        .within(1, MOST_OF_APACHE)
        .default("500");
    CHUNKED_REQUEST = Spec::flag("--chunked-request",
        "Accepts bodies whose length is not known at the beginning; otherwise such requests get 411.");
    MAP_HEAD_TO_GET = Spec::text("--map-head-to-get", &["MODE"],
        "Has HEAD requests reach the application as GET: On, Off, or Auto (if a filter needs the content).")
        .default("Auto");
}

/// The limits of a server.
#[derive(Debug)]
pub(crate) struct Limits {
    header: ReadTimeout,
    body: ReadTimeout,
    /// In seconds; 0 for connections that carry one request.
    keep_alive: i64,
    /// In bytes; 0 for no limit.
    request_body: i64,
    pub(crate) backlog: i64,
    chunked_request: bool,
    map_head_to_get: &'static str,
}

/// The time that a part of a request may take, in seconds, and the bytes that extend it.
#[derive(Debug)]
struct ReadTimeout {
    base: i64,
    most: i64,
    rate: i64,
}

impl Limits {
    /// # Errors
    /// A value is out of range.
    pub(crate) fn new(parsed: &Parsed) -> Result<Self, Failure> {
        let seconds = |spec, default| number(parsed, spec, default);
        Ok(Self {
            header: ReadTimeout::new(
                parsed,
                [(&HEADER_TIMEOUT, 15), (&HEADER_MAX_TIMEOUT, 30), (&HEADER_MIN_RATE, 500)],
            )?,
            body: ReadTimeout::new(
                parsed,
                [(&BODY_TIMEOUT, 15), (&BODY_MAX_TIMEOUT, 0), (&BODY_MIN_RATE, 500)],
            )?,
            keep_alive: seconds(&KEEP_ALIVE_TIMEOUT, 2),
            request_body: number(parsed, &LIMIT_REQUEST_BODY, 10_485_760),
            backlog: number(parsed, &SERVER_BACKLOG, 500),
            chunked_request: parsed.has(&CHUNKED_REQUEST),
            map_head_to_get: map_head_to_get(parsed.text(&MAP_HEAD_TO_GET).unwrap_or("Auto"))?,
        })
    }

    /// Returns the values for the template.
    pub(crate) fn context(&self) -> Value {
        context! {
            header => self.header.to_string(),
            body => self.body.to_string(),
            keep_alive => self.keep_alive,
            request_body => self.request_body,
            backlog => self.backlog,
            chunked_request => self.chunked_request,
            map_head_to_get => self.map_head_to_get,
        }
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self) -> impl Iterator<Item = &'static str> {
        [("MOD_WSGI_KEEP_ALIVE", self.keep_alive != 0), ("MOD_WSGI_CHUNKED_REQUEST", self.chunked_request)]
            .into_iter()
            .filter_map(|(name, applies)| applies.then_some(name))
    }
}

impl ReadTimeout {
    fn new(parsed: &Parsed, specs: [(&Spec, i64); 3]) -> Result<Self, Failure> {
        let read = |(spec, default)| number(parsed, spec, default);
        let [base, most, rate] = specs;
        let (own, limit) = (read(base), read(most));
        // Only if it was given: a longer timeout alone does not contradict the default.
        if own > limit && limit > 0 && parsed.has(most.0) {
            return Err(Failure::usage(format!(
                "option {}: {limit} is less than {own}, the time of {} that it extends",
                most.0.name, base.0.name
            )));
        }
        Ok(Self { base: own, most: if limit > 0 { limit.max(own) } else { 0 }, rate: read(rate) })
    }
}

/// Writes the value of `header=` or `body=` of `RequestReadTimeout`.
impl std::fmt::Display for ReadTimeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.base)?;
        // Without a rate, nothing extends the timeout, and Apache refuses a range.
        if self.base == 0 || self.rate == 0 {
            return Ok(());
        }
        if self.most > 0 {
            write!(f, "-{}", self.most)?;
        }
        write!(f, ",MinRate={}", self.rate)
    }
}

fn map_head_to_get(text: &str) -> Result<&'static str, Failure> {
    let found = ["Auto", "On", "Off"].into_iter().find(|mode| mode.eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        Failure::usage(format!("option {}: '{text}' is not one of Auto, On, Off", MAP_HEAD_TO_GET.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn limits(arguments: &[&str]) -> Result<Limits, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        parse(&options::server(), arguments).and_then(|parsed| Limits::new(&parsed))
    }

    #[test]
    fn read_timeouts_are_written_as_apache_reads_them() {
        let plain = limits(&[]).unwrap();
        assert_eq!(
            (plain.header.to_string(), plain.body.to_string()),
            ("15-30,MinRate=500".into(), "15,MinRate=500".into())
        );
        for (arguments, expected) in [
            (&["--header-timeout", "0"][..], "0"),
            (&["--header-timeout", "40"], "40-40,MinRate=500"),
            (&["--header-min-rate", "0"], "15"),
            (&["--header-max-timeout", "0"], "15,MinRate=500"),
            (&["--header-timeout", "5", "--header-max-timeout", "1m"], "5-60,MinRate=500"),
        ] {
            assert_eq!(limits(arguments).unwrap().header.to_string(), expected, "{arguments:?}");
        }
    }

    #[test]
    fn values_are_checked() {
        for arguments in [
            &["--header-max-timeout", "10"][..],
            &["--body-max-timeout", "10"],
            &["--body-timeout", "-1"],
            &["--limit-request-body", "-1"],
            &["--server-backlog", "0"],
            &["--keep-alive-timeout", "-1"],
            &["--map-head-to-get", "maybe"],
        ] {
            let text = limits(arguments).unwrap_err().to_string();
            assert!(text.contains(arguments[0]), "{text}");
        }
        assert_eq!(limits(&["--map-head-to-get", "off"]).unwrap().map_head_to_get, "Off");
    }
}
