//! A daemon process that keeps to nothing: it poses as the Python executable of a process group,
//! speaks the wire, and answers each request in the way that the query of its URL names.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use bridge::{Answer, Bytes, Cgi, Field, Fields, Head, Kind as Call, List, Question, Request, Times};
use nix::fcntl::OFlag;
use os::descriptors::{self, Wait, inherited, next_length, receive_with, send_with};
use wsgi_core::wire::control::{Order, Report};
use wsgi_core::wire::frame::{HEADER, Header, Kind, LONGEST_BLOCK, LONGEST_END, append, flag};
use wsgi_core::wire::{Reader, Schema, Writer};

/// The number of the control socket, as the supervisor hands it over.
const CONTROL: i32 = 3;

/// The fate of the connection.
enum Then {
    /// It serves the next request.
    Keep,
    /// It is closed.
    Close,
    /// It stays open and silent for longer than anybody waits.
    Hang,
}

fn main() -> io::Result<()> {
    let control = inherited(CONTROL)?;
    let (_, received) = order(&control)?;
    // The order itself, the channel, the page, the pipes for reports and for lines.
    let [_, channel, _page, reports, _lines] = received.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    File::from(reports.try_clone()?).write_all(&Report::Ready(true).encode())?;
    let serving = thread::spawn(move || serve(&channel));
    // Until it is to go, or its supervisor has gone.
    loop {
        match order(&control) {
            Ok((message, _)) if Order::decode(&message) == Ok(Order::Serve) => {}
            _ => break,
        }
    }
    drop(serving);
    Ok(())
}

fn order(control: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut message = vec![0; next_length(control, Wait::Allowed)?];
    let (length, received) = receive_with(control, &mut message, Wait::Allowed)?;
    if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((message, received)) }
}

fn serve(channel: &OwnedFd) -> io::Result<()> {
    loop {
        let (length, received) = receive_with(channel, &mut [0; 64], Wait::Allowed)?;
        if length == 0 {
            return Ok(());
        }
        for socket in received {
            thread::spawn(move || converse(UnixStream::from(socket)));
        }
    }
}

fn converse(stream: UnixStream) -> io::Result<()> {
    let mut wire = Wire { stream };
    wire.hello(Schema::own())?;
    while let Ok((Kind::Request, payload)) = wire.read() {
        let query = query(&payload).unwrap_or_default();
        let (case, value) = query.split_once('/').unwrap_or((&query, ""));
        let then = match Call::of_message(&payload) {
            Some(Call::Question) => wire.answer_question(case, number(value)),
            _ => wire.answer(case, value),
        };
        match then? {
            Then::Keep => {}
            Then::Close => return Ok(()),
            Then::Hang => thread::sleep(Duration::from_secs(60)),
        }
    }
    Ok(())
}

fn query(payload: &[u8]) -> Option<String> {
    let (mut fields, mut reader) = (Fields::default(), Reader::new(payload));
    let facts = match Call::of_message(payload)? {
        Call::Wsgi => Request::decode(&mut reader, &mut fields).ok()?.facts,
        Call::Question => Question::decode(&mut reader, &mut fields).ok()?.facts,
    };
    Some(String::from_utf8_lossy(facts.variable(Cgi::QueryString).or_empty()).into_owned())
}

/// Returns the number that a case's value is, or else 0.
fn number<N: std::str::FromStr + Default>(value: &str) -> N {
    value.parse().unwrap_or_default()
}

struct Wire {
    stream: UnixStream,
}

/// The header of `Content-Length`.
const LENGTH: &[u8] = b"Content-Length";

/// Nobody would close it, but for the end of the process.
const DEVICE: &str = "/dev/zero";

impl Wire {
    /// Answers a request as the case says. An unknown case is its own body.
    fn answer(&mut self, case: &str, value: &str) -> io::Result<Then> {
        let groups = [
            Self::answer_with_fields,
            Self::answer_with_heads,
            Self::answer_with_bodies,
            Self::answer_with_frames,
            Self::answer_with_halves,
            Self::answer_with_pulls,
            Self::answer_with_floods_and_files,
        ];
        for group in groups {
            if let Some(then) = group(self, case, value)? {
                return Ok(then);
            }
        }
        self.complete(case.as_bytes())?;
        Ok(Then::Keep)
    }

    /// Answers with a status and fields that no application may send. Returns `None` if the case is
    /// another one.
    fn answer_with_fields(&mut self, case: &str, value: &str) -> io::Result<Option<Then>> {
        match case {
            "fine" => self.complete(b"fine")?,
            "status" => {
                self.head(number(value), None, &[(LENGTH, b"4")])?;
                self.data(b"body")?;
                self.end(0)?;
            }
            "reason" => {
                let reason: &[u8] = match value {
                    "break" => b"OK\r\nX-Evil: 1",
                    "nul" => b"O\0K",
                    "tab" => b"O\tK",
                    _ => &[b'x'; 100_000],
                };
                self.head(200, Some(reason), &[])?;
                self.end(0)?;
            }
            "name" => {
                let name: &[u8] = match value {
                    "empty" => b"",
                    "space" => b"X Y",
                    "break" => b"X: y\r\nX-Evil",
                    "nul" => b"X\0Y",
                    "colon" => b"X-Evil: 1\n",
                    _ => &[b'x'; 70_000],
                };
                self.head(200, None, &[(name, b"value")])?;
                self.end(0)?;
            }
            "value" => {
                let value: &[u8] = match value {
                    "break" => b"y\r\nX-Evil: 1",
                    "line" => b"y\nX-Evil: 1",
                    "return" => b"y\rX-Evil: 1",
                    "nul" => b"y\0X-Evil: 1",
                    _ => &[b'x'; 70_000],
                };
                self.head(200, None, &[(b"X-Name", value)])?;
                self.end(0)?;
            }
            "hop" => {
                let fields: &[(&[u8], &[u8])] = &[
                    (LENGTH, b"4"),
                    (b"Transfer-Encoding", b"chunked"),
                    (b"Connection", b"Upgrade"),
                    (b"Upgrade", b"websocket"),
                    (b"Keep-Alive", b"timeout=1000"),
                    (b"Trailer", b"X"),
                ];
                self.head(200, None, fields)?;
                self.data(b"fine")?;
                self.end(0)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Then::Keep))
    }

    /// Answers with too much of a head, or with one that makes no sense. Returns `None` if the case
    /// is another one.
    fn answer_with_heads(&mut self, case: &str, value: &str) -> io::Result<Option<Then>> {
        match case {
            "length" => {
                self.head(200, None, &[(LENGTH, value.as_bytes())])?;
                self.data(b"body")?;
                self.end(0)?;
            }
            "lengths" => {
                self.head(200, None, &[(LENGTH, b"4"), (LENGTH, b"40")])?;
                self.data(b"body")?;
                self.end(0)?;
            }
            "many" => {
                let value = vec![b'x'; if value == "long" { 800 } else { 0 }];
                self.head(200, None, &vec![(&b"X"[..], &value[..]); 8000])?;
                self.end(0)?;
            }
            "redirect" => {
                self.head(
                    200,
                    None,
                    &[(b"Location", if value == "loop" { b"/?redirect/loop" } else { b"/?fine" })],
                )?;
                self.end(0)?;
            }
            "heads" => {
                self.head(200, None, &[])?;
                self.head(200, None, &[])?;
                self.end(0)?;
            }
            "late-head" => {
                self.head(200, None, &[])?;
                self.data(b"data")?;
                self.head(200, None, &[(b"X-Evil", b"1")])?;
                self.end(0)?;
            }
            "huge-head" => {
                // All that a frame may say that it has, after what makes the child expect more.
                self.raw(&Header { kind: Kind::Head, flags: 0, length: Kind::Head.longest() }.bytes())?;
                self.raw(&vec![0; Kind::Head.longest()])?;
            }
            "odd-head" => {
                let payload: &[u8] = match value {
                    "empty" => b"",
                    "count" => &[200, 0, 255, 255, 255, 255, 255, 255, 255, 255],
                    "tail" => &[200, 0, 255, 255, 255, 255, 0, 0, 0, 0, 1],
                    "long-name" => &[200, 0, 255, 255, 255, 255, 1, 0, 0, 0, 254, 255, 255, 255, 1],
                    _ => &[200, 0, 9],
                };
                self.frame(Kind::Head, 0, payload)?;
                self.end(0)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Then::Keep))
    }

    /// Answers with a result or a body that does not fit its head. Returns `None` if the case is
    /// another one.
    fn answer_with_bodies(&mut self, case: &str, value: &str) -> io::Result<Option<Then>> {
        match case {
            "result" => self.end(number(value))?,
            "late-result" => {
                self.head(200, None, &[])?;
                self.data(b"begun")?;
                self.end(number(value))?;
            }
            "longer" => {
                self.head(200, None, &[(LENGTH, b"4")])?;
                self.data(b"fineHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")?;
                self.end(0)?;
            }
            "shorter" => {
                self.head(200, None, &[(LENGTH, b"40")])?;
                self.data(b"fine")?;
                self.end(0)?;
            }
            "no-body" => {
                self.head(200, None, &[(LENGTH, b"4")])?;
                self.end(0)?;
            }
            "no-end" => {
                self.head(200, None, &[])?;
                self.data(b"begun")?;
                return Ok(Some(Then::Close));
            }
            "bodiless" => {
                self.head(number(value), None, &[])?;
                self.data(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")?;
                self.end(0)?;
            }
            "early-data" => {
                self.data(b"evil")?;
                self.end(0)?;
            }
            "after-end" => {
                let mut bytes = Vec::new();
                append_response(&mut bytes, b"fine");
                append_body(&mut bytes, b"evil");
                // At once: what comes later would be in the way of whose turn it is then.
                self.raw(&bytes)?;
            }
            "answer-ahead" => {
                let mut both = Vec::new();
                append_response(&mut both, b"fine");
                append_response(&mut both, b"evil");
                self.raw(&both)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Then::Keep))
    }

    /// Answers with frames that make no sense. Returns `None` if the case is another one.
    fn answer_with_frames(&mut self, case: &str, value: &str) -> io::Result<Option<Then>> {
        match case {
            "kind" => {
                self.raw(&[0, 0, 0, 0, number(value), 0, 0, 0])?;
                self.complete(b"evil")?;
            }
            "late-kind" => {
                self.head(200, None, &[])?;
                self.data(b"begun")?;
                self.raw(&[0, 0, 0, 0, number(value), 0, 0, 0])?;
                self.end(0)?;
            }
            "reserved" => self.raw(&[0, 0, 0, 0, Kind::End as u8, 0, 1, 1])?,
            "short-end" => {
                self.head(200, None, &[])?;
                self.data(b"begun")?;
                self.frame(Kind::End, 0, &[0; LONGEST_END - 1])?;
            }
            "longest" => self.raw(&[255, 255, 255, 255, number(value), 0, 0, 0])?,
            "flags" => {
                self.head(200, None, &[(LENGTH, b"4")])?;
                self.frame(Kind::Data, 255, b"fine")?;
                self.frame(Kind::End, 255, &[0; LONGEST_END])?;
            }
            "reject" => self.frame(Kind::Reject, 0, &[number(value)])?,
            "late-reject" => {
                self.head(200, None, &[])?;
                self.data(b"begun")?;
                self.frame(Kind::Reject, 0, &[1])?;
            }
            "hello" => {
                self.hello(Schema::own())?;
                self.complete(b"fine")?;
            }
            "wrong-hello" => {
                self.frame(Kind::Hello, 0, &[1; 12])?;
                self.complete(b"evil")?;
            }
            "log" => {
                self.frame(
                    Kind::Log,
                    0,
                    b"\x00text\r\n[Thu Jan 01 00:00:00 1970] [core:crit] forged\x1b[2J\0end",
                )?;
                self.complete(b"fine")?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Then::Keep))
    }

    /// Answers with a part, and ends or falls silent. Returns `None` if the case is another one.
    fn answer_with_halves(&mut self, case: &str, _: &str) -> io::Result<Option<Then>> {
        let then = match case {
            "half-header" => {
                self.raw(&[0, 0, 0])?;
                Then::Close
            }
            "half-frame" => {
                self.raw(&Header { kind: Kind::Head, flags: 0, length: 1000 }.bytes())?;
                Then::Close
            }
            "half-silence" => {
                self.raw(&Header { kind: Kind::Head, flags: 0, length: 1000 }.bytes())?;
                Then::Hang
            }
            "data-silence" => {
                self.head(200, None, &[])?;
                self.raw(&Header { kind: Kind::Data, flags: flag::FLUSH, length: LONGEST_BLOCK }.bytes())?;
                self.raw(b"begun")?;
                Then::Hang
            }
            "silence" => Then::Hang,
            "close" => Then::Close,
            _ => return Ok(None),
        };
        Ok(Some(then))
    }

    /// Asks for the body of the request in ways that make no sense. Returns `None` if the case is
    /// another one.
    fn answer_with_pulls(&mut self, case: &str, _: &str) -> io::Result<Option<Then>> {
        match case {
            "pull-much" => {
                self.frame(Kind::Pull, 0, &[255; 4])?;
                let body = self.read();
                let is_whole =
                    body.is_ok_and(|(kind, body)| kind == Kind::Body && body.len() <= LONGEST_BLOCK);
                self.complete(if is_whole { b"fine" } else { b"evil" })?;
            }
            "pull-file" | "pull-file-twice" => {
                self.frame(Kind::Pull, 0, &[1, 0, 0, 0])?;
                let is_file = self.read().is_ok_and(|(kind, length)| {
                    kind == Kind::BodyFile && length == 200_000_u64.to_le_bytes()
                });
                if case == "pull-file-twice" {
                    self.frame(Kind::Pull, 0, &[1, 0, 0, 0])?;
                }
                self.complete(if is_file { b"fine" } else { b"evil" })?;
            }
            "pulls" => {
                for _ in 0..100 {
                    self.frame(Kind::Pull, 0, &[255; 4])?;
                }
                return Ok(Some(Then::Hang));
            }
            "pull-and-stop" => {
                self.frame(Kind::Pull, 0, &[255; 4])?;
                return Ok(Some(Then::Hang));
            }
            "pull-and-close" => {
                self.frame(Kind::Pull, 0, &[255; 4])?;
                // The rest stays unread, which makes the kernel reset the connection.
                self.stream.read_exact(&mut [0])?;
                return Ok(Some(Then::Close));
            }
            "pull-after-end" => {
                self.complete(b"fine")?;
                self.frame(Kind::Pull, 0, &[0, 1, 0, 0])?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Then::Keep))
    }

    /// Sends too much, or files and descriptors that were not asked for. Returns `None` if the case
    /// is another one.
    fn answer_with_floods_and_files(&mut self, case: &str, value: &str) -> io::Result<Option<Then>> {
        match case {
            "flood" => {
                let mut frames = Vec::new();
                let (kind, payload, count): (_, &[u8], _) = match value {
                    "pull" => (Kind::Pull, &[0; 4], 50_000),
                    "log" => (Kind::Log, b"\x08line", 2_000),
                    "data" => (Kind::Data, b"", 100_000),
                    _ => (Kind::Data, &[b'x'; 4096], 2_000),
                };
                self.head(200, None, &[])?;
                for _ in 0..count {
                    append(&mut frames, kind, flag::FLUSH, |frame| frame.extend_from_slice(payload));
                }
                self.raw(&frames)?;
                self.end(0)?;
            }
            "file" => return self.send_file(value).map(Some),
            "no-file" => {
                self.head(200, None, &[])?;
                self.frame(Kind::File, 0, &[0; 16])?;
                self.end(0)?;
            }
            "early-file" => {
                let file = memory(b"evil")?;
                self.file(&file, 0, 4)?;
                self.end(0)?;
            }
            "descriptors" => {
                let device = File::open(DEVICE)?;
                self.head(200, None, &[])?;
                for _ in 0..50 {
                    self.descriptors(b"", &[&device, &device, &device, &device], Kind::Data)?;
                }
                self.end(0)?;
            }
            "descriptor" => {
                // With a frame that has none.
                self.head(200, None, &[(LENGTH, b"4")])?;
                self.descriptors(b"fine", &[&File::open(DEVICE)?], Kind::Data)?;
                self.end(0)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Then::Keep))
    }

    fn send_file(&mut self, what: &str) -> io::Result<Then> {
        let open =
            |path: &str, flags: OFlag| File::options().read(true).custom_flags(flags.bits()).open(path);
        let mut shrunk = None;
        let file: OwnedFd = match what {
            "device" => open(DEVICE, OFlag::O_RDONLY)?.into(),
            "directory" => open("/", OFlag::O_DIRECTORY)?.into(),
            "path" => open("/proc/self/exe", OFlag::O_PATH)?.into(),
            "process" => open("/proc/self/status", OFlag::O_RDONLY)?.into(),
            "socket" => descriptors::pair(descriptors::Kind::Stream)?.0,
            "pipe" => descriptors::pipe()?.0,
            "writer" => {
                let file = on_disk(b"fine")?;
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
                File::options().write(true).open(path)?.into()
            }
            "memory" => memory(b"fine")?.into(),
            _ if what.starts_with('/') => open(what, OFlag::O_RDONLY)?.into(),
            "shrunk" => {
                let file = on_disk(&vec![b'x'; 48 << 20])?;
                shrunk = Some(file.try_clone()?);
                file.into()
            }
            _ => on_disk(b"fine")?.into(),
        };
        let (offset, length, declared): (u64, u64, &[u8]) = match what {
            "beyond" => (100, 4, b"4"),
            "overflow" => (u64::MAX, 4, b"4"),
            "huge" => (0, u64::MAX, b"4"),
            "sum" => (u64::MAX - 1, u64::MAX, b"4"),
            "shrunk" => (0, 48 << 20, b"50331648"),
            "longer" => (0, 4, b"2"),
            "shorter" => (0, 4, b"400"),
            _ => (0, 4, b"4"),
        };
        self.head(200, None, &[(LENGTH, declared)])?;
        self.file(&file, offset, length)?;
        if let Some(file) = shrunk {
            // What Apache has not read is gone now.
            file.set_len(1000)?;
        }
        self.end(0)?;
        Ok(Then::Keep)
    }

    /// Answers a question as the case says: with `True`, unless the case is known.
    fn answer_question(&mut self, case: &str, number: u8) -> io::Result<Then> {
        let mut answer = Vec::new();
        match case {
            "text" => Answer::Text(b"somebody\0else".to_vec()).encode(&mut answer),
            "groups" => Answer::Groups(vec![b"staff".to_vec()]).encode(&mut answer),
            "number" => answer.push(number),
            "count" => answer.extend_from_slice(&[5, 0xff, 0xff, 0xff, 0xff]),
            "tail" => answer.extend_from_slice(&[1, 1]),
            "empty" => {}
            _ => Answer::Yes.encode(&mut answer),
        }
        match case {
            "silence" => return Ok(Then::Hang),
            "close" => return Ok(Then::Close),
            "half" => {
                let length = Kind::Answer.longest();
                self.raw(&Header { kind: Kind::Answer, flags: 0, length }.bytes())?;
                return Ok(Then::Hang);
            }
            "kind" => self.raw(&[0, 0, 0, 0, number, 0, 0, 0])?,
            "late-reject" => {
                self.frame(Kind::Log, 0, b"\x03a line")?;
                self.frame(Kind::Reject, 0, &[1])?;
            }
            "lookups" => {
                // Their answers are not read.
                for _ in 0..1_000_000 {
                    self.frame(Kind::Lookup, 0, b"SSL_PROTOCOL")?;
                }
            }
            "lines" => {
                for _ in 0..1_000 {
                    self.frame(Kind::Log, 0, b"\x03[Thu Jan 01 00:00:00 1970] [core:crit] forged\n")?;
                }
            }
            _ => {}
        }
        if case == "descriptor" {
            self.descriptors(&answer, &[&File::open(DEVICE)?], Kind::Answer)?;
        } else {
            self.frame(Kind::Answer, 0, &answer)?;
        }
        Ok(Then::Keep)
    }

    fn complete(&mut self, body: &[u8]) -> io::Result<()> {
        self.head(200, None, &[(LENGTH, body.len().to_string().as_bytes())])?;
        self.data(body)?;
        self.end(0)
    }

    fn hello(&mut self, schema: Schema) -> io::Result<()> {
        let mut payload = Vec::new();
        let mut writer = Writer::new(&mut payload);
        schema.encode(&mut writer);
        writer.u32(std::process::id());
        self.frame(Kind::Hello, 0, &payload)
    }

    fn head(&mut self, status: u16, reason: Option<&[u8]>, fields: &[(&[u8], &[u8])]) -> io::Result<()> {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| Field { name: Bytes::new(name), value: Bytes::new(value) })
            .collect();
        let head = Head { status, reason: Bytes::optional(reason), headers: List::new(&fields) };
        let mut payload = Vec::new();
        head.encode(&mut payload);
        self.frame(Kind::Head, 0, &payload)
    }

    fn data(&mut self, block: &[u8]) -> io::Result<()> {
        self.frame(Kind::Data, 0, block)
    }

    fn end(&mut self, result: u32) -> io::Result<()> {
        // It has never taken that long.
        let times = Times { queue: u32::MAX, lock_wait: u32::MAX, application: u32::MAX };
        self.frame(Kind::End, 0, &[&result.to_le_bytes()[..], &times.bytes()].concat())
    }

    fn file(&mut self, file: &impl AsFd, offset: u64, length: u64) -> io::Result<()> {
        self.descriptors([offset.to_le_bytes(), length.to_le_bytes()].as_flattened(), &[file], Kind::File)
    }

    fn descriptors(&mut self, payload: &[u8], files: &[&impl AsFd], kind: Kind) -> io::Result<()> {
        let mut frame = Vec::new();
        append(&mut frame, kind, 0, |buffer| buffer.extend_from_slice(payload));
        let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        send_with(&self.stream, &frame, &files, Wait::Allowed).map(drop)
    }

    fn frame(&mut self, kind: Kind, flags: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        append(&mut frame, kind, flags, |buffer| buffer.extend_from_slice(payload));
        self.raw(&frame)
    }

    /// Sends bytes as they are.
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn read(&mut self) -> io::Result<(Kind, Vec<u8>)> {
        let mut header = [0; HEADER];
        self.stream.read_exact(&mut header)?;
        let parsed = Header::parse(&header).ok().flatten().ok_or(io::ErrorKind::InvalidData)?;
        let mut payload = vec![0; parsed.length];
        self.stream.read_exact(&mut payload)?;
        Ok((parsed.kind, payload))
    }
}

fn append_response(bytes: &mut Vec<u8>, body: &[u8]) {
    append(bytes, Kind::Head, 0, |payload| {
        payload.extend_from_slice(&[200, 0, 255, 255, 255, 255, 0, 0, 0, 0])
    });
    append_body(bytes, body);
}

fn append_body(bytes: &mut Vec<u8>, body: &[u8]) {
    append(bytes, Kind::Data, 0, |payload| payload.extend_from_slice(body));
    append(bytes, Kind::End, 0, |payload| payload.extend_from_slice(&[0; LONGEST_END]));
}

/// A file that only this process has.
fn on_disk(content: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(content)?;
    Ok(file)
}

/// A file in memory.
fn memory(content: &[u8]) -> io::Result<File> {
    const NAME: &CStr = c"hostile";
    let mut file = File::from(nix::sys::memfd::memfd_create(NAME, nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}
