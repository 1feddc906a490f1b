//! Logs as lines of JSON. Apache writes a log to a pipe, with tabs between the fields, and this program
//! converts it: Apache has no notation that escapes text as JSON does.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::SystemTime;

use nix::fcntl::{FcntlArg, fcntl};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use wsgi_core::log_record;

use crate::failure::Failure;
use crate::parse::Parsed;

/// The name of the format, for both logs.
pub(crate) const NAME: &str = "json";

/// The command that converts a log.
pub(crate) const COMMAND: &str = "json-log";

/// The longest line; a longer one is converted in pieces. Apache writes none that is as long.
const LONGEST: u64 = 1 << 20;

/// The room of the pipe that Apache writes to, in bytes: what the system allows everybody. If it is
/// full, lines of different threads that are longer than 4096 bytes are mixed.
const ROOM: i32 = 1 << 20;

/// The size of reads, in bytes.
const CHUNK: usize = 1 << 18;

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

    /// Returns a line as JSON, with its end; `now` is the time as RFC 3339 has it.
    fn json(self, line: &[u8], now: &str) -> String {
        // The module writes objects, and so may an application.
        if self == Self::Error
            && log_record::is_object(line)
            && let Ok(text) = std::str::from_utf8(line)
            && serde_json::from_str::<serde_json::Value>(text).is_ok()
        {
            return text.to_owned() + "\n";
        }
        let fields = self.fields();
        let values: Vec<&[u8]> = line.splitn(fields.len(), |byte| *byte == b'\t').collect();
        let mut json = Object::default();
        if values.len() == fields.len() && values.first().is_some_and(|time| is_time(time)) {
            for (field, value) in fields.iter().zip(values) {
                match (self, field.name) {
                    (Self::Access, "time") => json.text(field.name, &with_colon(value)),
                    (Self::Error, "time") => json.text(field.name, &with_zone(value, now)),
                    _ => json.field(field, value),
                }
            }
        } else {
            // Daemon processes, and Apache before it has a format, write the usual one. What has none
            // at all is an application's own, which nobody has escaped.
            let plain = Plain::parse(line);
            for (field, value) in &plain.fields {
                match field.name {
                    "time" => json.text(field.name, &with_zone(value, now)),
                    _ => json.field(field, value),
                }
            }
            if plain.fields.is_empty() {
                json.verbatim("time", now.as_bytes());
                json.verbatim("message", plain.message);
            } else {
                json.text("message", plain.message);
            }
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
    let refuse = |error: io::Error| Failure::machine(format!("cannot convert a log: {error}"));
    // Apache sends them at a restart, while old processes still write to the pipe, which then ends.
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        flag::register(signal, Default::default()).map_err(refuse)?;
    }
    // Without a buffer: a line is one write, beside those of the program that follows at a restart.
    let output = io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(refuse)?;
    let input = io::stdin();
    // It may be no pipe.
    let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(ROOM));
    let input = BufReader::with_capacity(CHUNK, input.lock());
    convert(log, input, Output { file: output, rest: Vec::new() }).map_err(refuse)?;
    Ok(0)
}

fn convert(log: Log, mut input: impl BufRead, mut output: Output<impl Write>) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        // After an interruption, the beginning of a line is there.
        let room = LONGEST.saturating_sub(line.len() as u64);
        match input.by_ref().take(room).read_until(b'\n', &mut line) {
            Ok(0) if line.is_empty() => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let content = line.strip_suffix(b"\n").unwrap_or(&line);
        let now = os::clock::rfc_3339(SystemTime::now());
        match output.write(log.json(content, &now).into_bytes()) {
            // Apache starts this program and the one that it writes to again.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(error),
            // A full file system must not stop the server, which would wait for this program.
            _ => line.clear(),
        }
    }
}

/// The log that is written.
struct Output<W> {
    file: W,
    /// The rest of the line whose beginning has been written.
    rest: Vec<u8>,
}

impl<W: Write> Output<W> {
    /// Writes a line, after what is missing of the last one. What cannot be begun is left out.
    fn write(&mut self, line: Vec<u8>) -> io::Result<()> {
        self.write_rest()?;
        let length = line.len();
        self.rest = line;
        let written = self.write_rest();
        if self.rest.len() == length {
            self.rest.clear();
        }
        written
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.file.write(&self.rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The beginning of a JSON object.
#[derive(Default)]
struct Object(String);

impl Object {
    fn field(&mut self, field: &Field, value: &[u8]) {
        let is_missing = matches!(value, b"-" | b"");
        let is_decimal = field.is_number
            && value.len() < 19
            && value.iter().all(u8::is_ascii_digit)
            && (value == b"0" || !value.starts_with(b"0"));
        match std::str::from_utf8(value) {
            _ if is_missing && field.name != "message" => {}
            Ok(digits) if is_decimal => {
                self.name(field.name);
                self.0.push_str(digits);
            }
            _ => self.text(field.name, value),
        }
    }

    /// Adds a text that Apache has escaped.
    fn text(&mut self, name: &str, value: &[u8]) {
        self.verbatim(name, &unescaped(value));
    }

    fn verbatim(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.push('"');
        for c in String::from_utf8_lossy(value).chars() {
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
        if let Some(ids) = text.strip_prefix("pid ").filter(|_| !has("pid")) {
            let (pid, tid) = ids.split_once(":tid ").unwrap_or((ids, "-"));
            return Some(vec![("pid", pid.into()), ("tid", tid.into())]);
        }
        if let Some(client) = text.strip_prefix("client ").filter(|_| !has("client")) {
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

/// Returns whether a text begins as the times of the formats do: `2026-11-26 21:28:17` or
/// `2026-11-26T21:28:17`.
fn is_time(text: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000-00-00 00:00:00";
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b' ' => matches!(byte, b' ' | b'T'),
        shape => byte == shape,
    };
    text.len() >= SHAPE.len() && text.iter().zip(SHAPE).all(fits)
}

/// Returns a time with its zone as RFC 3339 has it: `+01:00`.
fn with_colon(time: &[u8]) -> Vec<u8> {
    let (before, minutes) = time.split_at(time.len().saturating_sub(2));
    [before, b":", minutes].concat()
}

/// Returns a local time as RFC 3339 has it, with the zone of another local time.
fn with_zone(time: &[u8], now: &str) -> Vec<u8> {
    let zone = now.get(now.len().saturating_sub("+00:00".len())..).unwrap_or_default();
    let time: Vec<u8> = time.iter().map(|byte| if *byte == b' ' { b'T' } else { *byte }).collect();
    [&time, zone.as_bytes()].concat()
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

    const NOW: &str = "2026-11-26T22:00:00.000000-09:30";

    /// Returns the objects without the time at which they were converted.
    fn untimed(objects: &[u8]) -> String {
        let objects = String::from_utf8_lossy(objects);
        let untimed = objects.lines().map(|line| {
            let (begin, rest) = line.split_once("\",").unwrap_or_default();
            assert!(begin.starts_with("{\"time\":\"20"), "{line}");
            format!("{{{rest}\n")
        });
        untimed.collect()
    }

    #[test]
    fn lines_of_the_access_log_are_objects() {
        let line = "2026-11-26T21:28:17.000123+0100\t127.0.0.1\t-\tGET\tlocalhost\t/a \\\"b\\\" \\xc3\\xa9\\xff\t\tHTTP/1.1\t\
                    200\t12\t345\t-\tan \\\\ agent\\x01\t-";
        let expected = "{\"time\":\"2026-11-26T21:28:17.000123+01:00\",\"client\":\"127.0.0.1\",\"method\":\"GET\",\
                        \"host\":\"localhost\",\"path\":\"/a \\\"b\\\" \u{e9}\u{fffd}\",\"protocol\":\"HTTP/1.1\",\
                        \"status\":200,\"bytes\":12,\"microseconds\":345,\"user_agent\":\"an \\\\ agent\\u0001\"}\n";
        assert_eq!(Log::Access.json(line.as_bytes(), NOW), expected);
    }

    #[test]
    fn lines_of_the_error_log_are_objects_whoever_writes_them() {
        let formatted = "2026-11-26 21:28:17.650875\twsgi\terror\t7\t8\t127.0.0.1:9\tid\tan\terror";
        let expected = "{\"time\":\"2026-11-26T21:28:17.650875-09:30\",\"module\":\"wsgi\",\"level\":\"error\",\"pid\":7,\"tid\":8,\
                        \"client\":\"127.0.0.1:9\",\"id\":\"id\",\"message\":\"an\\terror\"}\n";
        assert_eq!(Log::Error.json(formatted.as_bytes(), NOW), expected);
        for (line, expected) in [
            (
                "[Thu Nov  6 21:28:17.650875 2026] [wsgi:info] [pid 7:tid 8] [client 1.2.3.4:5] [a] text: \\\"x\\\"",
                "{\"time\":\"2026-11-06T21:28:17.650875-09:30\",\"module\":\"wsgi\",\"level\":\"info\",\"pid\":7,\"tid\":8,\
                 \"client\":\"1.2.3.4:5\",\"message\":\"[a] text: \\\"x\\\"\"}\n",
            ),
            ("Traceback", "{\"time\":\"2026-11-26T22:00:00.000000-09:30\",\"message\":\"Traceback\"}\n"),
            ("[half", "{\"time\":\"2026-11-26T22:00:00.000000-09:30\",\"message\":\"[half\"}\n"),
            ("{\"time\":\"t\",\"message\":1}", "{\"time\":\"t\",\"message\":1}\n"),
            (
                "{\"time\":\"t\",}",
                "{\"time\":\"2026-11-26T22:00:00.000000-09:30\",\"message\":\"{\\\"time\\\":\\\"t\\\",}\"}\n",
            ),
            ("[a:b] c", "{\"time\":\"2026-11-26T22:00:00.000000-09:30\",\"message\":\"[a:b] c\"}\n"),
            ("", "{\"time\":\"2026-11-26T22:00:00.000000-09:30\",\"message\":\"\"}\n"),
        ] {
            assert_eq!(Log::Error.json(line.as_bytes(), NOW), expected, "{line}");
        }
    }

    #[test]
    fn what_an_application_writes_is_no_field() {
        for (line, expected) in [
            (
                "a\tb\tc\td\te\tf\tg\th",
                "{\"time\":\"2026-11-26T22:00:00.000000-09:30\",\"message\":\"a\\tb\\tc\\td\\te\\tf\\tg\\th\"}\n",
            ),
            (
                "C:\\new\\x41",
                "{\"time\":\"2026-11-26T22:00:00.000000-09:30\",\"message\":\"C:\\\\new\\\\x41\"}\n",
            ),
            (
                "[Thu Nov 26 21:28:17.650875 2026] [pid 007] [client a] [pid 1] [client b]",
                "{\"time\":\"2026-11-26T21:28:17.650875-09:30\",\"pid\":\"007\",\"client\":\"a\",\"message\":\"[pid 1] [client b]\"}\n",
            ),
        ] {
            assert_eq!(Log::Error.json(line.as_bytes(), NOW), expected, "{line}");
        }
    }

    /// A file system with room for some bytes.
    struct Full<'f>(&'f mut Vec<u8>, usize);

    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..count]);
            self.1 -= count;
            if count == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_whole_after_a_file_system_was_full() {
        let mut log = Vec::new();
        let mut output = Output { file: Full(&mut log, 6), rest: Vec::new() };
        for (room, line) in [(0, "one\n"), (0, "two\n"), (0, "three\n"), (1, "four\n"), (9, "five\n")] {
            output.file.1 += room;
            let _ = output.write(line.into());
        }
        assert_eq!(String::from_utf8_lossy(&log), "one\ntwo\nfive\n");
    }

    #[test]
    fn a_log_without_a_reader_ends_the_program() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let closed = Output { file: Closed, rest: Vec::new() };
        assert!(convert(Log::Error, &b"one\n"[..], closed).is_err());
    }

    #[test]
    fn long_lines_are_converted_in_pieces() {
        let mut log = Vec::new();
        let input = vec![b'x'; LONGEST as usize + 1];
        assert!(convert(Log::Error, &input[..], Output { file: &mut log, rest: Vec::new() }).is_ok());
        assert!(untimed(&log).ends_with("x\"}\n{\"message\":\"x\"}\n"));
    }

    #[test]
    fn each_line_is_converted_even_if_its_end_is_missing() {
        let mut output = Vec::new();
        let input = &b"one\ntwo\\x"[..];
        assert!(convert(Log::Error, input, Output { file: &mut output, rest: Vec::new() }).is_ok());
        assert_eq!(untimed(&output), "{\"message\":\"one\"}\n{\"message\":\"two\\\\x\"}\n");
    }
}
