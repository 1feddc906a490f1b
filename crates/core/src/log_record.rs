//! Lines of the error log with fields, which become JSON objects (`WSGILogFormat json`).
//!
//! A host gives the server either text or a [`Record`]; the beginning tells them apart, so both go
//! the same ways. Whoever writes the line adds what it knows ([`Origin`]).

use std::borrow::Cow;

use crate::json::{Object, shortened};
use crate::level::Level;
use crate::tracing::TraceContext;

/// The beginning of a record. No text begins so, since NUL is escaped in it.
const MARK: &[u8] = b"\0wsgi{";

/// The longest record, in bytes.
pub const LONGEST: usize = 60 << 10;

/// The number of bytes before the value of a field.
const HEAD: usize = 5;

/// The beginning of each object.
const BEGIN: &str = "{\"time\":\"";

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $key:literal, $longest:expr;)*) => {
        /// A field of a record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Field { $($(#[$doc])* $name = $number,)* }

        impl Field {
            /// Returns the field with this number, or `None` if there is none.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Returns its name in an object.
            const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// Returns the number of bytes that it may have.
            const fn longest(self) -> usize {
                match self { $(Self::$name => $longest,)* }
            }
        }
    };
}

fields! {
    /// The text.
    Message = 1, "message", 12 << 10;
    /// The name of the logger.
    Logger = 2, "logger", 512;
    /// The class of an exception.
    Exception = 3, "exception", 512;
    /// Its traceback, with causes.
    Traceback = 4, "traceback", 24 << 10;
    /// The name of the thread, in Python.
    Thread = 5, "thread", 256;
    /// The path of the script.
    Script = 6, "script", 1024;
    /// The process group.
    Group = 7, "group", 256;
    /// The application group.
    Application = 8, "application_group", 256;
    /// The process, in digits.
    Process = 9, "pid", 20;
    /// The system's id of the thread, in digits.
    ThreadId = 10, "tid", 20;
    /// The number of the level to show, in place of the one that decides whether the line is written.
    Level = 11, "level", 2;
    /// The name of a further value, which follows.
    Name = 12, "", 256;
    /// A further value: a text.
    Text = 13, "", 2048;
    /// A further value: a number, `true`, `false` or `null`.
    Token = 14, "", 40;
    /// Something was left out.
    Cut = 15, "truncated", 0;
    /// The server's id of the request.
    Id = 16, "id", 256;
    /// The method of the request.
    Method = 17, "method", 256;
    /// The path of the request, without its query.
    Path = 18, "path", 1024;
}

/// The number of bytes of an object that further values may fill.
const LONGEST_EXTRA: usize = 6 << 10;

/// The number of bytes that there has to be room for if a value is to be written.
const LEAST_EXTRA: usize = 64;

/// A line with fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Record {
    /// Creates a record of a text.
    #[must_use]
    pub fn new(message: &[u8]) -> Self {
        let mut record = Self { bytes: MARK.to_vec(), is_cut: false };
        record.add(Field::Message, message);
        record
    }

    /// Adds a field, as much of it as is written at most.
    pub fn add(&mut self, field: Field, value: &[u8]) {
        let (value, is_cut) = shortened(value, field.longest());
        let fits = self.bytes.len() + value.len() + 2 * HEAD <= LONGEST;
        if fits {
            self.push(field, &value);
        }
        if (is_cut || !fits) && !self.is_cut {
            self.is_cut = true;
            self.push(Field::Cut, b"");
        }
    }

    /// Adds fields that [`fields()`] has encoded.
    pub fn add_encoded(&mut self, fields: &[u8]) {
        if self.bytes.len() + fields.len() <= LONGEST - HEAD {
            self.bytes.extend_from_slice(fields);
        }
    }

    /// Returns the bytes that stand for the record.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn push(&mut self, field: Field, value: &[u8]) {
        self.bytes.push(field as u8);
        self.bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_le_bytes());
        self.bytes.extend_from_slice(value);
    }
}

/// Encodes fields that many records have in common, for [`Record::add_encoded`].
#[must_use]
pub fn fields(fields: &[(Field, &[u8])]) -> Vec<u8> {
    let mut record = Record { bytes: Vec::new(), is_cut: false };
    for (field, value) in fields {
        record.add(*field, value);
    }
    record.bytes
}

/// Returns whether a line for the log is a record.
#[must_use]
pub fn is_record(line: &[u8]) -> bool {
    line.starts_with(MARK)
}

/// A line for the log: text, or the fields of a record.
#[derive(Debug)]
pub struct Line<'a>(Vec<(Field, &'a [u8])>);

impl<'a> Line<'a> {
    /// Parses any bytes: a record as far as it is one, or else text.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let Some(mut rest) = line.strip_prefix(MARK) else { return Self(vec![(Field::Message, line)]) };
        let mut fields = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
            let [number, length @ ..] = *head;
            let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
            let (value, after) = after.split_at(length.min(after.len()));
            rest = after;
            fields.extend(Field::from_number(number).map(|field| (field, value)));
        }
        Self(fields)
    }

    /// Returns the text, and the traceback behind it, for a log without fields.
    #[must_use]
    pub fn plain(&self) -> Cow<'a, [u8]> {
        match (self.get(Field::Message).unwrap_or_default(), self.get(Field::Traceback)) {
            (message, None) => message.into(),
            (message, Some(traceback)) => [message, b"\n", traceback].concat().into(),
        }
    }

    /// Returns the line as a JSON object, with its end.
    #[must_use]
    pub fn json(&self, origin: &Origin<'_>) -> String {
        const LONGEST_TEXT: usize = 1024;
        let mut json = Object::new();
        json.text("time", origin.time.as_bytes(), 64);
        let own = self.get(Field::Level).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let level = match own.and_then(Level::from_number) {
            Some(own) => own.name(),
            None => origin.level,
        };
        json.text("level", level.as_bytes(), 16);
        json.text("module", b"wsgi", 16);
        self.write(&mut json, &[Field::Logger]);
        let message = self.get(Field::Message).unwrap_or_default();
        if let Some(code) = code(message) {
            json.text("code", code, code.len());
        }
        json.text(Field::Message.key(), message, Field::Message.longest());
        self.write(&mut json, &[Field::Exception, Field::Traceback]);
        for (name, value) in [
            ("id", origin.id.or(self.get(Field::Id))),
            ("trace_id", origin.trace_id),
            ("client", origin.client),
            ("host", origin.host),
            ("method", origin.method.or(self.get(Field::Method))),
            ("path", origin.path.or(self.get(Field::Path))),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                json.text(name, value, LONGEST_TEXT);
            }
        }
        match (self.get(Field::Group), origin.group) {
            (None, Some(group)) if !group.is_empty() => {
                json.text(Field::Group.key(), group, Field::Group.longest())
            }
            _ => self.write(&mut json, &[Field::Group]),
        }
        self.write(&mut json, &[Field::Application, Field::Script]);
        for (field, own) in [(Field::Process, origin.process), (Field::ThreadId, origin.thread)] {
            let is_written = self.get(field).is_some_and(|digits| json.token(field.key(), digits));
            if !is_written && own != 0 {
                json.number(field.key(), own.into());
            }
        }
        self.write(&mut json, &[Field::Thread]);
        let extra = self.extra();
        if !extra.is_empty() {
            json.object("extra", extra);
        }
        if self.get(Field::Cut).is_some() {
            json.mark_cut();
        }
        json.into_line()
    }

    /// Adds those of the fields that there are and that are not empty.
    fn write(&self, json: &mut Object, fields: &[Field]) {
        for field in fields {
            if let Some(value) = self.get(*field).filter(|value| !value.is_empty()) {
                json.text(field.key(), value, field.longest());
            }
        }
    }

    /// Returns the further values.
    fn extra(&self) -> Object {
        let mut extra = Object::new();
        let (mut name, mut names) = (None, Vec::new());
        for (field, value) in &self.0 {
            match (field, name.take()) {
                (Field::Name, _) => name = Some(String::from_utf8_lossy(value)),
                // Names may be the same once they are text; the first one counts.
                (Field::Text | Field::Token, Some(name)) if !names.contains(&name) => {
                    // The name may be escaped, too.
                    let taken = extra.length() + 6 * name.len();
                    let room = LONGEST_EXTRA.saturating_sub(taken).min(Field::Text.longest());
                    if room < LEAST_EXTRA {
                        extra.mark_cut();
                    } else if *field != Field::Token || !extra.token(&name, value) {
                        extra.text(&name, value, room);
                    }
                    names.push(name);
                }
                _ => {}
            }
        }
        extra
    }

    fn get(&self, field: Field) -> Option<&'a [u8]> {
        self.0.iter().find(|(name, _)| *name == field).map(|(_, value)| *value)
    }
}

/// The facts about a line that whoever writes it knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The time, as RFC 3339 has it.
    pub time: &'a str,
    /// The name of the level.
    pub level: &'a str,
    /// The process that writes it, for lines that name none.
    pub process: u32,
    /// The thread that writes it, for lines that name none; 0: not known.
    pub thread: u32,
    /// The process group, for lines that name none.
    pub group: Option<&'a [u8]>,
    /// The server's id of the request.
    pub id: Option<&'a [u8]>,
    /// The id of its trace.
    pub trace_id: Option<&'a [u8]>,
    /// The address of the client.
    pub client: Option<&'a [u8]>,
    /// The name of the virtual host.
    pub host: Option<&'a [u8]>,
    /// The method of the request.
    pub method: Option<&'a [u8]>,
    /// The path of the request, without its query.
    pub path: Option<&'a [u8]>,
}

/// Returns whether a line looks like an object that [`Line::json`] has made.
#[must_use]
pub fn is_object(line: &[u8]) -> bool {
    line.starts_with(BEGIN.as_bytes()) && line.trim_ascii_end().ends_with(b"}")
}

/// Returns the place where something like such an object begins behind other text, if it does.
#[must_use]
pub fn object_behind_text(line: &[u8]) -> Option<usize> {
    let at = line.windows(BEGIN.len()).position(|bytes| bytes == BEGIN.as_bytes())?;
    (at > 0 && is_object(&line[at..])).then_some(at)
}

/// Returns the trace id of a `traceparent` header, or `None` if that is not valid.
#[must_use]
pub fn trace_id(traceparent: &[u8]) -> Option<&[u8]> {
    TraceContext::parse(traceparent).and(traceparent.get(TraceContext::TRACE))
}

/// Returns the code that a message begins with.
fn code(message: &[u8]) -> Option<&[u8]> {
    const PREFIX: &[u8] = b"WSGI";
    let (code, rest) = message.split_at_checked(PREFIX.len() + 4)?;
    let digits = code.strip_prefix(PREFIX)?;
    (digits.iter().all(u8::is_ascii_digit) && rest.starts_with(b": ")).then_some(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codes::THREAD_LOST;

    fn origin() -> Origin<'static> {
        Origin { time: "2026-11-27T05:00:00.000001+01:00", level: "error", process: 7, ..Origin::default() }
    }

    const BEGINNING: &str =
        "{\"time\":\"2026-11-27T05:00:00.000001+01:00\",\"level\":\"error\",\"module\":\"wsgi\",";

    #[test]
    fn text_becomes_a_message() {
        let code = THREAD_LOST;
        let line = Line::parse(format!("{code}: a \"text\"").as_bytes()).json(&origin());
        let rest = format!("\"code\":\"{code}\",\"message\":\"{code}: a \\\"text\\\"\",\"pid\":7}}\n");
        assert_eq!(line, format!("{BEGINNING}{rest}"));
        assert!(is_object(line.as_bytes()) && !is_object(b"{\"a\":1}"));
    }

    #[test]
    fn records_have_their_fields() {
        let mut record = Record::new(b"it failed");
        record.add_encoded(&fields(&[(Field::Script, b"/app.wsgi"), (Field::Application, b"a|")]));
        for (field, value) in [
            (Field::Logger, &b"shop"[..]),
            (Field::Level, b"4"),
            (Field::Exception, b"KeyError"),
            (Field::Traceback, b"Traceback\nKeyError: 'a'"),
            (Field::Process, b"12"),
            (Field::ThreadId, b"1,\"x\":2"),
            (Field::Name, b"user"),
            (Field::Text, b"J\xc3\xb6rg"),
            (Field::Name, b"count"),
            (Field::Token, b"3"),
            (Field::Name, b"forged"),
            (Field::Token, b"3,\"pid\":4"),
            (Field::Name, b"count"),
            (Field::Text, b"again"),
        ] {
            record.add(field, value);
        }
        let line = Line::parse(record.bytes());
        assert_eq!(&*line.plain(), b"it failed\nTraceback\nKeyError: 'a'");
        let origin = Origin { id: Some(b"abc"), thread: 9, group: Some(b"g"), path: Some(b""), ..origin() };
        let expected = BEGINNING.replace("error", "warn")
            + "\"logger\":\"shop\",\"message\":\"it failed\",\"exception\":\"KeyError\",\
               \"traceback\":\"Traceback\\nKeyError: 'a'\",\"id\":\"abc\",\"group\":\"g\",\
               \"application_group\":\"a|\",\"script\":\"/app.wsgi\",\"pid\":12,\"tid\":9,\
               \"extra\":{\"user\":\"J\u{f6}rg\",\"count\":3,\"forged\":\"3,\\\"pid\\\":4\"}}\n";
        assert_eq!(line.json(&origin), expected);
    }

    #[test]
    fn lines_are_bounded() {
        let mut record = Record::new(&[1; 100_000]);
        for field in [Field::Traceback, Field::Logger, Field::Exception, Field::Thread, Field::Script] {
            record.add(field, &[1; 100_000]);
        }
        for _ in 0..100 {
            record.add(Field::Name, &[1; 1000]);
            record.add(Field::Text, &[1; 10_000]);
        }
        assert!(record.bytes().len() <= LONGEST);
        let long = [b'"'; 10_000];
        let origin = Origin { id: Some(&long), path: Some(&long), host: Some(&long), ..origin() };
        let line = Line::parse(record.bytes()).json(&origin);
        assert!(line.len() < 56 << 10 && line.ends_with("\"truncated\":true}\n"), "{}", line.len());
    }

    #[test]
    fn trace_ids_are_those_of_valid_headers() {
        let id = b"0af7651916cd43dd8448eb211c80319c";
        for (valid, header) in [
            (true, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (true, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"),
            (false, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"),
            (false, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
            (false, "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (false, "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (false, "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            (false, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333"),
            (false, ""),
        ] {
            assert_eq!(trace_id(header.as_bytes()), valid.then_some(&id[..]), "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_line(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for line in [bytes.clone(), [MARK, &bytes].concat()] {
                let json = Line::parse(&line).json(&origin());
                let is_one_line = json.ends_with("}\n") && json.matches('\n').count() == 1;
                prop_assert!(is_one_line, "{}", json);
            }
        }
    }
}
