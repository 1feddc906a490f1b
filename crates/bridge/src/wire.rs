//! Requests and settings as bytes, for a host in a process of its own.
//!
//! Decoded records borrow from the message, and its lists from vectors that the caller keeps
//! ([`Fields`], [`Lists`]).

mod question;

use wsgi_core::wire::{Malformed, Reader, Writer};

use crate::{
    ABI, Bytes, Cgi, Field, Import, InterpreterOptions, Kind, List, NamedScript, Request, RequestFacts,
    Settings, Tag,
};

/// The lists of a decoded [`Request`].
#[derive(Debug, Default)]
pub struct Fields<'a> {
    headers: Vec<Field<'a>>,
    variables: Vec<Field<'a>>,
}

/// The lists of decoded [`Settings`].
#[derive(Default)]
pub struct Lists<'a> {
    warnings: Vec<Bytes<'a>>,
    interpreters: Vec<InterpreterOptions<'a>>,
    imports: Vec<Import<'a>>,
    named_scripts: Vec<NamedScript<'a>>,
}

/// The position of the counts in an encoded request: behind its kind.
const COUNTS: std::ops::Range<usize> = 4..12;

impl RequestFacts<'_> {
    fn encode(&self, writer: &mut Writer<'_>) {
        // The counts come first, where `set_counts` finds them.
        writer.u32(self.daemon_connects);
        writer.u32(self.daemon_restarts);
        for value in self.cgi {
            writer.optional(value.get());
        }
        for fields in [&self.headers, &self.variables] {
            writer.list(fields.as_slice().iter(), |writer, field| {
                writer.bytes(field.name.or_empty());
                writer.optional(field.value.get());
            });
        }
        for text in [
            self.process_group,
            self.application_group,
            self.script,
            self.listener_host,
            self.listener_port,
            self.request_id,
            self.connection_id,
        ] {
            writer.optional(text.get());
        }
        for time in [self.script_mtime, self.request_start, self.queue_start, self.daemon_start] {
            writer.i64(time);
        }
        for number in [self.queue_ticks, self.server_pid, self.log_level, self.flags] {
            writer.u32(number);
        }
    }
}

impl<'a> RequestFacts<'a> {
    fn decode(reader: &mut Reader<'a>, fields: &'a mut Fields<'a>) -> Result<Self, Malformed> {
        let (daemon_connects, daemon_restarts) = (reader.u32()?, reader.u32()?);
        let mut cgi = [Bytes::ABSENT; Cgi::ALL.len()];
        for value in &mut cgi {
            *value = Bytes::optional(reader.optional()?);
        }
        read_fields(reader, &mut fields.headers)?;
        read_fields(reader, &mut fields.variables)?;
        let mut text = || reader.optional().map(Bytes::optional);
        Ok(Self {
            cgi,
            headers: List::new(&fields.headers),
            variables: List::new(&fields.variables),
            process_group: text()?,
            application_group: text()?,
            script: text()?,
            listener_host: text()?,
            listener_port: text()?,
            request_id: text()?,
            connection_id: text()?,
            script_mtime: reader.i64()?,
            request_start: reader.i64()?,
            queue_start: reader.i64()?,
            daemon_start: reader.i64()?,
            daemon_connects,
            daemon_restarts,
            queue_ticks: reader.u32()?,
            server_pid: reader.u32()?,
            log_level: reader.u32()?,
            flags: reader.u32()?,
            request_rec: std::ptr::null_mut(),
        })
    }
}

impl Request<'_> {
    /// Appends the request to `buffer`, as a call of its [`Kind`], without `request_rec`, which
    /// means nothing elsewhere.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let mut writer = Writer::new(buffer);
        writer.u32(Kind::Wsgi as u32);
        self.facts.encode(&mut writer);
        for text in [
            self.callable_object,
            self.request_handler,
            self.handler_script,
            self.script_name,
            self.path_info,
            self.mount_point,
        ] {
            writer.optional(text.get());
        }
    }

    /// Sets the counts in the encoded request at the beginning of `message`, before it is sent
    /// again.
    pub fn set_counts(message: &mut [u8], daemon_connects: u32, daemon_restarts: u32) {
        let counts = [daemon_connects.to_le_bytes(), daemon_restarts.to_le_bytes()];
        if let Some(place) = message.get_mut(COUNTS) {
            place.copy_from_slice(counts.as_flattened());
        }
    }
}

impl<'a> Request<'a> {
    /// Takes a request from `reader`.
    ///
    /// # Errors
    /// The message is no request, or a call of another kind.
    pub fn decode(reader: &mut Reader<'a>, fields: &'a mut Fields<'a>) -> Result<Self, Malformed> {
        let Some(Kind::Wsgi) = Kind::from_number(reader.u32()?) else { return Err(Malformed) };
        let facts = RequestFacts::decode(reader, fields)?;
        let mut text = || reader.optional().map(Bytes::optional);
        Ok(Self {
            tag: Tag::of::<Request<'_>>(),
            facts,
            callable_object: text()?,
            request_handler: text()?,
            handler_script: text()?,
            script_name: text()?,
            path_info: text()?,
            mount_point: text()?,
        })
    }
}

fn read_fields<'a>(reader: &mut Reader<'a>, fields: &mut Vec<Field<'a>>) -> Result<(), Malformed> {
    let count = reader.count()?;
    fields.clear();
    fields.reserve(count);
    for _ in 0..count {
        let name = Bytes::new(reader.bytes()?);
        fields.push(Field { name, value: Bytes::optional(reader.optional()?) });
    }
    Ok(())
}

/// The status and headers of a response, as a daemon process sends them.
pub struct Head<'a> {
    /// Three digits.
    pub status: u16,
    /// Absent: the standard one.
    pub reason: Bytes<'a>,
    /// As the application gave them, checked.
    pub headers: List<'a, Field<'a>>,
}

impl Head<'_> {
    /// Appends the head to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let mut writer = Writer::new(buffer);
        writer.u16(self.status);
        writer.optional(self.reason.get());
        writer.list(self.headers.as_slice().iter(), |writer, field| {
            writer.bytes(field.name.or_empty());
            writer.optional(field.value.get());
        });
    }
}

impl<'a> Head<'a> {
    /// Decodes the head in `message`.
    ///
    /// # Errors
    /// The message is no head.
    pub fn decode(message: &'a [u8], fields: &'a mut Fields<'a>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let (status, reason) = (reader.u16()?, Bytes::optional(reader.optional()?));
        read_fields(&mut reader, &mut fields.headers)?;
        reader.end().map(|()| Self { status, reason, headers: List::new(&fields.headers) })
    }
}

impl Settings<'_> {
    /// Appends the settings to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let mut writer = Writer::new(buffer);
        writer.u32(ABI);
        for text in [self.program, self.home, self.process_group, self.python_eggs, self.packages] {
            writer.optional(text.get());
        }
        writer.list(self.warnings.as_slice().iter(), |writer, warning| writer.bytes(warning.or_empty()));
        writer.list(self.interpreters.as_slice().iter(), |writer, options| options.encode(writer));
        writer.list(self.imports.as_slice().iter(), |writer, import| {
            writer.bytes(import.script.or_empty());
            writer.bytes(import.application_group.or_empty());
        });
        writer.list(self.named_scripts.as_slice().iter(), |writer, named| {
            writer.bytes(named.script.or_empty());
            writer.bytes(named.module.or_empty());
        });
        for number in self.server_version {
            writer.u32(number);
        }
        for text in [self.server_description, self.server_built, self.mpm_name] {
            writer.optional(text.get());
        }
        for number in [self.processes, self.threads, self.mpm_processes, self.mpm_threads, self.server_parent]
        {
            writer.u32(number);
        }
        writer.optional(self.telemetry_socket.get());
        writer.f64(self.telemetry_interval);
        writer.f64(self.slow_requests);
        writer.u64(self.stuck_timeout);
        writer.bool(self.telemetry_user_agent);
        writer.u32(self.optimize);
        writer.i64(self.hash_seed);
        for flag in [
            self.dont_write_bytecode,
            self.destroy_interpreters,
            self.case_sensitive,
            self.script_reloading,
            self.log_records,
            self.multithread,
            self.multiprocess,
            self.run_once,
            self.single_process,
        ] {
            writer.bool(flag);
        }
    }
}

impl<'a> Settings<'a> {
    /// Decodes the settings in `message`.
    ///
    /// # Errors
    /// The message has no settings, or those of another version of the bridge.
    pub fn decode(message: &'a [u8], lists: &'a mut Lists<'a>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let reader = &mut reader;
        if reader.u32()? != ABI {
            return Err(Malformed);
        }
        let text = |reader: &mut Reader<'a>| reader.optional().map(Bytes::optional);
        let (program, home, process_group, python_eggs, packages) =
            (text(reader)?, text(reader)?, text(reader)?, text(reader)?, text(reader)?);
        lists.warnings = reader.list(|reader| reader.bytes().map(Bytes::new))?;
        lists.interpreters = reader.list(InterpreterOptions::decode)?;
        lists.imports = reader.list(|reader| {
            Ok(Import { script: Bytes::new(reader.bytes()?), application_group: Bytes::new(reader.bytes()?) })
        })?;
        lists.named_scripts = reader.list(|reader| {
            Ok(NamedScript { script: Bytes::new(reader.bytes()?), module: Bytes::new(reader.bytes()?) })
        })?;
        let settings = Self {
            tag: Tag::of::<Settings<'_>>(),
            program,
            home,
            process_group,
            python_eggs,
            warnings: List::new(&lists.warnings),
            interpreters: List::new(&lists.interpreters),
            imports: List::new(&lists.imports),
            named_scripts: List::new(&lists.named_scripts),
            packages,
            // They are the server's own.
            permits: List::new(&[]),
            server_version: [reader.u32()?, reader.u32()?, reader.u32()?],
            server_description: text(reader)?,
            server_built: text(reader)?,
            mpm_name: text(reader)?,
            processes: reader.u32()?,
            threads: reader.u32()?,
            mpm_processes: reader.u32()?,
            mpm_threads: reader.u32()?,
            server_parent: reader.u32()?,
            telemetry_socket: text(reader)?,
            telemetry_interval: reader.f64()?,
            slow_requests: reader.f64()?,
            stuck_timeout: reader.u64()?,
            telemetry_user_agent: reader.bool()?,
            optimize: reader.u32()?,
            hash_seed: reader.i64()?,
            dont_write_bytecode: reader.bool()?,
            destroy_interpreters: reader.bool()?,
            case_sensitive: reader.bool()?,
            script_reloading: reader.bool()?,
            log_records: reader.bool()?,
            multithread: reader.bool()?,
            multiprocess: reader.bool()?,
            run_once: reader.bool()?,
            single_process: reader.bool()?,
        };
        reader.clone().end().map(|()| settings)
    }
}

impl InterpreterOptions<'_> {
    fn encode(&self, writer: &mut Writer<'_>) {
        for text in [self.process_group, self.application_group, self.python_path] {
            writer.optional(text.get());
        }
        writer.f64(self.switch_interval);
        for flag in [
            self.per_interpreter_gil,
            self.free_threading,
            self.restrict_stdin,
            self.restrict_stdout,
            self.restrict_signal,
        ] {
            writer.u8(flag.cast_unsigned());
        }
    }
}

impl<'a> InterpreterOptions<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let text = |reader: &mut Reader<'a>| reader.optional().map(Bytes::optional);
        let flag = |reader: &mut Reader<'a>| reader.u8().map(u8::cast_signed);
        Ok(Self {
            process_group: text(reader)?,
            application_group: text(reader)?,
            python_path: text(reader)?,
            switch_interval: reader.f64()?,
            per_interpreter_gil: flag(reader)?,
            free_threading: flag(reader)?,
            restrict_stdin: flag(reader)?,
            restrict_stdout: flag(reader)?,
            restrict_signal: flag(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request<'a>(headers: &'a [Field<'a>]) -> Request<'a> {
        let mut cgi = [Bytes::ABSENT; Cgi::ALL.len()];
        cgi[Cgi::RequestMethod as usize] = Bytes::new(b"GET");
        cgi[Cgi::QueryString as usize] = Bytes::new(b"");
        let facts = RequestFacts {
            cgi,
            headers: List::new(headers),
            variables: List::new(&[]),
            process_group: Bytes::new(b"group"),
            application_group: Bytes::new(b""),
            script: Bytes::new(b"/w/app.wsgi"),
            listener_host: Bytes::new(b""),
            listener_port: Bytes::new(b"80"),
            request_id: Bytes::new(b"id"),
            connection_id: Bytes::ABSENT,
            script_mtime: -1,
            request_start: 2,
            queue_start: 3,
            queue_ticks: 9,
            daemon_start: 4,
            daemon_connects: 7,
            daemon_restarts: 8,
            server_pid: 5,
            log_level: 7,
            flags: 6,
            request_rec: std::ptr::null_mut(),
        };
        Request {
            tag: Tag::of::<Request<'_>>(),
            facts,
            callable_object: Bytes::new(b"application"),
            request_handler: Bytes::new(b"wsgi-script"),
            handler_script: Bytes::new(b""),
            script_name: Bytes::new(b""),
            path_info: Bytes::new(b"/"),
            mount_point: Bytes::ABSENT,
        }
    }

    #[test]
    fn requests_come_back() {
        let headers = [
            Field { name: Bytes::new(b"Host"), value: Bytes::new(b"localhost") },
            Field { name: Bytes::new(b"X"), value: Bytes::ABSENT },
        ];
        let mut message = Vec::new();
        request(&headers).encode(&mut message);
        let mut fields = Fields::default();
        let mut reader = Reader::new(&message);
        let decoded = Request::decode(&mut reader, &mut fields).unwrap();
        assert_eq!(reader.end(), Ok(()));
        let facts = &decoded.facts;
        assert_eq!(facts.variable(Cgi::RequestMethod).get(), Some(&b"GET"[..]));
        assert_eq!(facts.variable(Cgi::QueryString).get(), Some(&b""[..]));
        assert_eq!(facts.variable(Cgi::RemoteUser).get(), None);
        assert_eq!(facts.headers.as_slice()[0].value.get(), Some(&b"localhost"[..]));
        assert_eq!(facts.headers.as_slice()[1].value.get(), None);
        assert_eq!((facts.script_mtime, facts.server_pid, facts.flags), (-1, 5, 6));
        assert_eq!((facts.daemon_connects, facts.daemon_restarts), (7, 8));
        assert_eq!(decoded.path_info.get(), Some(&b"/"[..]));
        assert_eq!(decoded.mount_point.get(), None);
        for cut in 0..message.len() {
            let mut fields = Fields::default();
            let result = Request::decode(&mut Reader::new(&message[..cut]), &mut fields).map(|_| ());
            assert_eq!(result, Err(Malformed), "cut at {cut}");
        }
    }

    #[test]
    fn a_request_that_is_sent_again_has_other_counts() {
        let (mut once, mut again) = (Vec::new(), Vec::new());
        request(&[]).encode(&mut once);
        let mut recounted = request(&[]);
        (recounted.facts.daemon_connects, recounted.facts.daemon_restarts) = (300, 2);
        recounted.encode(&mut again);
        assert_ne!(once, again);
        Request::set_counts(&mut once, 300, 2);
        assert_eq!(once, again);
        // There is no request in it.
        Request::set_counts(&mut once[..COUNTS.end - 1], 1, 1);
        assert_eq!(once, again);
    }

    #[test]
    fn a_call_of_another_kind_is_no_request() {
        let mut message = Vec::new();
        request(&[]).encode(&mut message);
        message[0] = 2;
        let mut fields = Fields::default();
        let result = Request::decode(&mut Reader::new(&message), &mut fields).map(|_| ());
        assert_eq!(result, Err(Malformed));
    }

    #[test]
    fn heads_come_back() {
        let headers = [Field { name: Bytes::new(b"Content-Type"), value: Bytes::new(b"text/plain") }];
        for reason in [Bytes::ABSENT, Bytes::new(b"Fine")] {
            let mut message = Vec::new();
            Head { status: 200, reason, headers: List::new(&headers) }.encode(&mut message);
            let mut fields = Fields::default();
            let head = Head::decode(&message, &mut fields).unwrap();
            assert_eq!((head.status, head.reason.get()), (200, reason.get()));
            assert_eq!(head.headers.as_slice()[0].value.get(), Some(&b"text/plain"[..]));
            for cut in 0..message.len() {
                let mut fields = Fields::default();
                assert!(Head::decode(&message[..cut], &mut fields).is_err(), "cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut fields = Fields::default();
            let _ = Request::decode(&mut Reader::new(&bytes), &mut fields).map(|_| ());
            let mut fields = Fields::default();
            let _ = Head::decode(&bytes, &mut fields).map(|_| ());
            let mut lists = Lists::default();
            let _ = Settings::decode(&bytes, &mut lists).map(|_| ());
        }

        #[test]
        fn a_damaged_request_is_read_without_panic(at in 0_usize..600, byte in any::<u8>()) {
            let headers = [Field { name: Bytes::new(b"Host"), value: Bytes::new(b"localhost") }];
            let mut message = Vec::new();
            request(&headers).encode(&mut message);
            let at = at % message.len();
            message[at] = byte;
            let mut fields = Fields::default();
            let _ = Request::decode(&mut Reader::new(&message), &mut fields).map(|_| ());
        }
    }
}
