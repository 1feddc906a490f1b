//! Logs as lines of JSON. Apache writes a log to a pipe, with tabs between the fields, and this program
//! converts it: Apache has no notation that escapes text as JSON does.

use std::io::{self, BufRead, Write};

use signal_hook::consts::SIGTERM;
use signal_hook::flag;

use crate::failure::Failure;
use crate::parse::Parsed;

/// The name of the format, for both logs.
pub(crate) const NAME: &str = "json";

/// The command that converts a log.
pub(crate) const COMMAND: &str = "json-log";

/// A log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    Access,
    Error,
}

/// A field of a line.
struct Field {
    name: &'static str,
    /// The item of Apache's format.
    item: &'static str,
    is_number: bool,
}

const fn text(name: &'static str, item: &'static str) -> Field {
    Field { name, item, is_number: false }
}

const fn number(name: &'static str, item: &'static str) -> Field {
    Field { name, item, is_number: true }
}

static ACCESS: [Field; 14] = [
    text("time", "%{%Y-%m-%dT%H:%M:%S}t.%{usec_frac}t%{%z}t"),
    text("client", "%a"),
    text("user", "%u"),
    text("method", "%m"),
    text("host", "%{Host}i"),
    text("path", "%U"),
    text("query", "%q"),
    text("protocol", "%H"),
    number("status", "%>s"),
    number("bytes", "%B"),
    number("microseconds", "%D"),
    text("referer", "%{Referer}i"),
    text("user_agent", "%{User-Agent}i"),
    text("id", "%L"),
];

static ERROR: [Field; 8] = [
    text("time", "%{cu}t"),
    text("module", "%-m"),
    text("level", "%-l"),
    number("pid", "%-P"),
    number("tid", "%-{g}T"),
    text("client", "%-a"),
    text("id", "%-L"),
    text("message", "%M"),
];

impl Log {
    /// The argument of the command.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Error => "error",
        }
    }

    /// Returns the format in which Apache writes the log to this program.
    pub(crate) fn format(self) -> String {
        self.fields().iter().map(|field| field.item).collect::<Vec<_>>().join("\\t")
    }

    fn fields(self) -> &'static [Field] {
        match self {
            Self::Access => &ACCESS,
            Self::Error => &ERROR,
        }
    }

    /// Returns a line as JSON, with its end.
    fn json(self, line: &[u8]) -> String {
        let fields = self.fields();
        let values: Vec<&[u8]> = line.splitn(fields.len(), |byte| *byte == b'\t').collect();
        let mut json = Object::default();
        if values.len() == fields.len() {
            for (field, value) in fields.iter().zip(values) {
                match (self, field.name) {
                    (Self::Access, "time") => json.text(field.name, &with_colon(value)),
                    _ => json.field(field, value),
                }
            }
        } else {
            // Daemon processes, and Apache before it has a format, write the usual one.
            let plain = Plain::parse(line);
            plain.fields.iter().for_each(|(field, value)| json.field(field, value));
            json.text("message", plain.message);
        }
        json.0 + "}\n"
    }
}

/// Converts the log that is named by the argument from standard input to standard output, until that
/// ends.
///
/// # Errors
/// There is no such log.
pub(crate) fn run(parsed: &Parsed, _line: &str) -> Result<u8, Failure> {
    let name = parsed.positional.first().map_or("", String::as_str);
    let log = [Log::Access, Log::Error].into_iter().find(|log| log.name() == name);
    let log = log.ok_or_else(|| Failure::usage(format!("'{name}' is not the name of a log")))?;
    // Apache sends it at a restart, while old processes still write to the pipe, which then ends.
    let refuse = |error: io::Error| Failure::machine(format!("cannot convert a log: {error}"));
    flag::register(SIGTERM, Default::default()).map_err(refuse)?;
    convert(log, io::stdin().lock(), io::stdout().lock()).map_err(refuse)?;
    Ok(0)
}

fn convert(log: Log, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let content = line.strip_suffix(b"\n").unwrap_or(&line);
        // A full file system must not stop the server, which would wait for this program.
        let _ = output.write_all(log.json(content).as_bytes()).and_then(|()| output.flush());
    }
}

/// The beginning of a JSON object.
#[derive(Default)]
struct Object(String);

impl Object {
    fn field(&mut self, field: &Field, value: &[u8]) {
        let is_missing = matches!(value, b"-" | b"");
        let is_decimal = field.is_number && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
        match std::str::from_utf8(value) {
            _ if is_missing && field.name != "message" => {}
            Ok(digits) if is_decimal => {
                self.name(field.name);
                self.0.push_str(digits);
            }
            _ => self.text(field.name, value),
        }
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.push('"');
        for c in String::from_utf8_lossy(&unescaped(value)).chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                '\n' => self.0.push_str("\\n"),
                '\t' => self.0.push_str("\\t"),
                c if c.is_control() => self.0.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&format!("\"{name}\":"));
    }
}

/// A line of an error log in Apache's usual format.
struct Plain<'l> {
    fields: Vec<(&'static Field, Vec<u8>)>,
    message: &'l [u8],
}

impl<'l> Plain<'l> {
    fn parse(line: &'l [u8]) -> Self {
        let mut plain = Self { fields: Vec::new(), message: line };
        while let Some((group, rest)) = group(plain.message) {
            let Some(known) = plain.known(group) else { break };
            plain.fields.extend(known.into_iter().filter_map(|(name, value)| {
                let field = ERROR.iter().find(|field| field.name == name)?;
                Some((field, value))
            }));
            plain.message = rest;
        }
        plain
    }

    /// The fields that a group in brackets stands for.
    fn known(&self, group: &[u8]) -> Option<Vec<(&'static str, Vec<u8>)>> {
        let has = |name| self.fields.iter().any(|(field, _)| field.name == name);
        let text = std::str::from_utf8(group).ok()?;
        if !has("time") {
            return Some(vec![("time", sortable(text)?.into_bytes())]);
        }
        if let Some(ids) = text.strip_prefix("pid ") {
            let (pid, tid) = ids.split_once(":tid ").unwrap_or((ids, "-"));
            return Some(vec![("pid", pid.into()), ("tid", tid.into())]);
        }
        if let Some(client) = text.strip_prefix("client ") {
            return Some(vec![("client", client.into())]);
        }
        let (module, level) = text.split_once(':').filter(|_| !has("level"))?;
        Some(vec![("module", module.into()), ("level", level.into())])
    }
}

/// Returns the content of the brackets that a line begins with, and what follows them.
fn group(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = line.strip_prefix(b"[")?;
    let end = inner.iter().position(|byte| *byte == b']')?;
    let rest = &inner[end + 1..];
    Some((&inner[..end], rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// Returns a time such as `Thu Nov 26 21:28:17.650875 2026` in the order of the other times.
fn sortable(time: &str) -> Option<String> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let [_, month, day, clock, year] = time.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
        return None;
    };
    let at = MONTHS.find(month).filter(|at| at % 3 == 0 && month.len() == 3)?;
    Some(format!("{year}-{:02}-{day:0>2} {clock}", at / 3 + 1))
}

/// Returns a time with its zone as RFC 3339 has it: `+01:00`.
fn with_colon(time: &[u8]) -> Vec<u8> {
    let (before, minutes) = time.split_at(time.len().saturating_sub(2));
    [before, b":", minutes].concat()
}

/// Returns the text that Apache has escaped: `\"`, `\\`, `\n`, `\x1f` ...
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let plain = match (byte, after) {
            (b'\\', [b'x', high, low, ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => Some((high << 4 | low, 3)),
                _ => None,
            },
            (b'\\', [letter, ..]) => match letter {
                b'b' => Some((0x08, 1)),
                b'n' => Some((b'\n', 1)),
                b'r' => Some((b'\r', 1)),
                b't' => Some((b'\t', 1)),
                b'v' => Some((0x0b, 1)),
                b'"' | b'\\' => Some((*letter, 1)),
                _ => None,
            },
            _ => None,
        };
        let (byte, length) = plain.unwrap_or((byte, 0));
        text.push(byte);
        rest = &rest[length..];
    }
    text
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_access_log_are_objects() {
        let line = "2026-11-26T21:28:17.000123+0100\t127.0.0.1\t-\tGET\tlocalhost\t/a \\\"b\\\" \\xc3\\xa9\\xff\t\tHTTP/1.1\t\
                    200\t12\t345\t-\tan \\\\ agent\\x01\t-";
        let expected = "{\"time\":\"2026-11-26T21:28:17.000123+01:00\",\"client\":\"127.0.0.1\",\"method\":\"GET\",\
                        \"host\":\"localhost\",\"path\":\"/a \\\"b\\\" \u{e9}\u{fffd}\",\"protocol\":\"HTTP/1.1\",\
                        \"status\":200,\"bytes\":12,\"microseconds\":345,\"user_agent\":\"an \\\\ agent\\u0001\"}\n";
        assert_eq!(Log::Access.json(line.as_bytes()), expected);
    }

    #[test]
    fn lines_of_the_error_log_are_objects_whoever_writes_them() {
        let formatted = "2026-11-26 21:28:17.650875\twsgi\terror\t7\t8\t127.0.0.1:9\tid\tan\terror";
        let expected = "{\"time\":\"2026-11-26 21:28:17.650875\",\"module\":\"wsgi\",\"level\":\"error\",\"pid\":7,\"tid\":8,\
                        \"client\":\"127.0.0.1:9\",\"id\":\"id\",\"message\":\"an\\terror\"}\n";
        assert_eq!(Log::Error.json(formatted.as_bytes()), expected);
        for (line, expected) in [
            (
                "[Thu Nov  6 21:28:17.650875 2026] [wsgi:info] [pid 7:tid 8] [client 1.2.3.4:5] [a] text: \\\"x\\\"",
                "{\"time\":\"2026-11-06 21:28:17.650875\",\"module\":\"wsgi\",\"level\":\"info\",\"pid\":7,\"tid\":8,\
                 \"client\":\"1.2.3.4:5\",\"message\":\"[a] text: \\\"x\\\"\"}\n",
            ),
            ("Traceback", "{\"message\":\"Traceback\"}\n"),
            ("[half", "{\"message\":\"[half\"}\n"),
            ("[a:b] c", "{\"message\":\"[a:b] c\"}\n"),
            ("", "{\"message\":\"\"}\n"),
        ] {
            assert_eq!(Log::Error.json(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn each_line_is_converted_even_if_its_end_is_missing() {
        let mut output = Vec::new();
        assert!(convert(Log::Error, &b"one\ntwo\\x"[..], &mut output).is_ok());
        let output = String::from_utf8_lossy(&output).into_owned();
        assert_eq!(output, "{\"message\":\"one\"}\n{\"message\":\"two\\\\x\"}\n");
    }
}
