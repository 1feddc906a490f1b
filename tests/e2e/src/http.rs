//! An HTTP/1 client that hides nothing: raw bytes out, and how a response ended.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::{PATIENCE, wait_until};

/// The way in which the body of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As its head announced: all of Content-Length, or the last chunk, or no body at all.
    Framed,
    /// With the connection, which the head announced too (no Content-Length, not chunked).
    Closed,
    /// With the connection, before what the head announced.
    Truncated,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Names as received; bytes beyond ASCII read as Latin-1.
    pub headers: Vec<(String, String)>,
    /// The body, with the transfer coding removed.
    pub body: Vec<u8>,
    /// The way in which the body ended.
    pub ending: Ending,
    /// Statuses of the interim responses (1xx) that came before.
    pub interim: Vec<u16>,
}

impl Response {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    /// All headers of that name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body; the status must be the one given.
    ///
    /// # Panics
    /// It is another one, or the response is truncated.
    #[must_use]
    #[track_caller]
    pub fn expect(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_ne!(self.ending, Ending::Truncated, "truncated: {}", self.text());
        self.text()
    }

    /// The value that the test applications print as `name<TAB>value` lines.
    ///
    /// # Panics
    /// The status is not 200.
    #[must_use]
    #[track_caller]
    pub fn value(&self, name: &str) -> Option<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        self.text().lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('\t')?.to_owned()))
    }
}

/// A request to be sent over a connection of its own.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<u8>,
    host: Option<String>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            host: Some(format!("localhost:{}", address.port())),
            body: None,
        }
    }

    /// Adds a header; the value is sent as it is.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(b": ");
        self.headers.extend_from_slice(value.as_ref());
        self.headers.extend_from_slice(b"\r\n");
        self
    }

    /// Adds the credentials of a user, for Basic authentication.
    #[must_use]
    pub fn user(self, name: impl AsRef<[u8]>, password: &str) -> Self {
        let credentials = [name.as_ref(), b":", password.as_bytes()].concat();
        self.header("Authorization", format!("Basic {}", base64(&credentials)))
    }

    /// Replaces the Host header.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Sends a body, with its Content-Length.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Sends the request and waits for the response.
    ///
    /// # Panics
    /// There is no (well-formed) response.
    #[must_use]
    #[track_caller]
    pub fn send(&self) -> Response {
        let mut connection = Connection::open(self.address);
        connection.send(&self.to_bytes("close"));
        connection
            .response(&self.method)
            .unwrap_or_else(|error| panic!("{} {}: no response: {error}", self.method, self.target))
    }

    /// The bytes of the request, for a connection that is kept.
    #[must_use]
    pub fn keep_alive(&self) -> Vec<u8> {
        self.to_bytes("keep-alive")
    }

    fn to_bytes(&self, connection: &str) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if let Some(host) = &self.host {
            bytes.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        bytes.extend_from_slice(&self.headers);
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(format!("Connection: {connection}\r\n\r\n").as_bytes());
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// A TCP connection to the server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    /// # Panics
    /// The server cannot be reached.
    #[must_use]
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        let connected = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let stream = connected.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self { stream, unread: Vec::new() }
    }

    /// The client's port.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.stream.local_addr().map_or(0, |address| address.port())
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// They cannot be sent.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The server has closed the connection, or does not read.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The same connection, to send from another thread.
    ///
    /// # Panics
    /// The system has no descriptor left.
    #[must_use]
    pub fn sender(&self) -> TcpStream {
        self.stream.try_clone().unwrap_or_else(|error| panic!("cannot share a connection: {error}"))
    }

    /// Ends the sending direction.
    pub fn finish_sending(&self) {
        // A peer that has already closed makes this fail, and then there is nothing to end.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes the connection with a reset instead of an end: what a client that is gone for good
    /// looks like.
    ///
    /// # Panics
    /// The socket does not take the option.
    pub fn reset(self) {
        let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        let set = nix::sys::socket::setsockopt(&self.stream, nix::sys::socket::sockopt::Linger, &now);
        assert!(set.is_ok(), "cannot have the connection reset: {set:?}");
    }

    /// Waits until the server has read all that was sent.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait_until_read(&self) {
        let ports = [self.stream.peer_addr(), self.stream.local_addr()];
        let ports = ports.map(|address| format!(":{:04X}", address.map_or(0, |address| address.port())));
        wait_until("the server has read the request", || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
            let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            // Addresses of the server and the client, state, and what waits to be sent and read.
            let mut rows = rows.filter(|row| row.len() > 4);
            let row = rows.find(|row| row[1].ends_with(&ports[0]) && row[2].ends_with(&ports[1]))?;
            row[4].ends_with(":00000000").then_some(())
        });
    }

    /// Reads one response to a request with that method.
    ///
    /// # Errors
    /// The connection ends before the head is complete, or nothing comes for a long time.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let mut response = self.head()?;
            if (100..200).contains(&response.status) {
                interim.push(response.status);
                continue;
            }
            response.interim = interim;
            if method != "HEAD" && !matches!(response.status, 204 | 304) {
                self.body(&mut response)?;
            }
            return Ok(response);
        }
    }

    /// Reads one response as [`response`](Self::response). Returns `None` if the connection ends
    /// before any byte of it.
    ///
    /// # Errors
    /// As for `response`, but for that.
    pub fn response_if_any(&mut self, method: &str) -> io::Result<Option<Response>> {
        if self.unread.is_empty() && !self.more()? {
            return Ok(None);
        }
        self.response(method).map(Some)
    }

    /// Reads one response, of a known length, whose body is too large to be kept: its head with the
    /// last `kept` bytes, and the length of what came.
    ///
    /// # Errors
    /// As for [`response`](Self::response), or there is no Content-Length.
    pub fn large_response(&mut self, kept: usize) -> io::Result<(Response, u64)> {
        let mut response = self.head()?;
        let length = response.header("Content-Length").and_then(|length| length.parse::<u64>().ok());
        let length = length.ok_or_else(|| io::Error::other(format!("no Content-Length: {response:?}")))?;
        let mut come = 0;
        loop {
            let more = usize::try_from(length - come).unwrap_or(usize::MAX).min(self.unread.len());
            // Slices, because this is done often, and in a program that is not optimised.
            response.body.extend_from_slice(&self.unread[more.saturating_sub(kept)..more]);
            let surplus = response.body.len().saturating_sub(kept);
            response.body.drain(..surplus);
            self.unread.drain(..more);
            come += more as u64;
            if come == length {
                return Ok((response, come));
            }
            if !self.more()? {
                response.ending = Ending::Truncated;
                return Ok((response, come));
            }
        }
    }

    /// All bytes until the server closes the connection.
    ///
    /// # Errors
    /// It does not close it for a long time.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Waits until at least `count` bytes have come and returns all that came.
    ///
    /// # Errors
    /// The connection ends before, or nothing comes for a long time.
    pub fn at_least(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.fill(count)?;
        Ok(std::mem::take(&mut self.unread))
    }

    fn head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            if !self.more()? {
                let text = format!("connection closed after {:?}", latin1(&self.unread));
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        };
        let head = latin1(&self.unread[..end]);
        self.unread.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| word.parse().ok());
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
            return Err(io::Error::other(format!("bad status line: {status_line:?}")));
        };
        let headers = lines.filter_map(|line| line.split_once(':'));
        Ok(Response {
            status,
            reason: words.next().unwrap_or_default().to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
            body: Vec::new(),
            ending: Ending::Framed,
            interim: Vec::new(),
        })
    }

    fn body(&mut self, response: &mut Response) -> io::Result<()> {
        if response.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            let whole = self.chunks(&mut response.body);
            return settle(response, whole);
        }
        if let Some(length) = response.header("Content-Length").and_then(|length| length.parse().ok()) {
            let whole = self.fill(length);
            let available = length.min(self.unread.len());
            response.body.extend(self.unread.drain(..available));
            return settle(response, whole);
        }
        response.body = self.rest()?;
        response.ending = Ending::Closed;
        Ok(())
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line_end = loop {
                if let Some(end) = find(&self.unread, b"\r\n") {
                    break end;
                }
                let wanted = self.unread.len() + 1;
                self.fill(wanted)?;
            };
            let line = latin1(&self.unread[..line_end]);
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| io::Error::other(format!("bad chunk size: {line:?}")))?;
            let filled = self.fill(line_end + 2 + size + 2);
            let available = (line_end + 2 + size).min(self.unread.len());
            body.extend_from_slice(&self.unread[line_end + 2..available]);
            filled?;
            self.unread.drain(..line_end + 2 + size + 2);
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn fill(&mut self, count: usize) -> io::Result<()> {
        while self.unread.len() < count {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads what has come; a connection that was reset counts as ended.
    fn more(&mut self) -> io::Result<bool> {
        let mut block = [0; 65536];
        let come = loop {
            match self.stream.read(&mut block) {
                // By a signal that was not for us: a process that is stopped for a moment sees
                // this, too.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match come {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.unread.extend_from_slice(&block[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn settle(response: &mut Response, read: io::Result<()>) -> io::Result<()> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            response.ending = Ending::Truncated;
            Ok(())
        }
        other => other,
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let bits =
            bytes.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - bytes.len()));
        let digit = |place: usize| {
            let is_padding = place > bytes.len();
            if is_padding { '=' } else { char::from(DIGITS[bits >> (18 - 6 * place) & 63]) }
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(raw: &'static [u8]) -> io::Result<Response> {
        connected(raw, |connection| connection.response("GET"))
    }

    fn connected<T>(
        raw: &'static [u8],
        read: impl FnOnce(&mut Connection) -> io::Result<T>,
    ) -> io::Result<T> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server =
            std::thread::spawn(move || listener.accept().and_then(|(mut peer, _)| peer.write_all(raw)));
        let response = read(&mut Connection::open(address));
        assert!(server.join().is_ok_and(|sent| sent.is_ok()));
        response
    }

    #[test]
    fn says_how_a_body_ended() -> io::Result<()> {
        let whole = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")?;
        assert_eq!((whole.body.as_slice(), whole.ending), (&b"ab"[..], Ending::Framed));
        let cut = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")?;
        assert_eq!((cut.body.as_slice(), cut.ending), (&b"ab"[..], Ending::Truncated));
        let short = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")?;
        assert_eq!((short.body.as_slice(), short.ending), (&b"ab"[..], Ending::Truncated));
        let open = answered(b"HTTP/1.1 200 OK\r\n\r\nab")?;
        assert_eq!((open.body.as_slice(), open.ending), (&b"ab"[..], Ending::Closed));
        Ok(())
    }

    #[test]
    fn keeps_the_end_of_a_large_body() -> io::Result<()> {
        for (raw, body, come, ending) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"[..], "cde", 5, Ending::Framed),
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"[..], "ab", 2, Ending::Framed),
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcde"[..], "cde", 5, Ending::Truncated),
        ] {
            let (response, length) = connected(raw, |connection| connection.large_response(3))?;
            assert_eq!((response.text().as_str(), length, response.ending), (body, come, ending));
        }
        assert!(connected(b"HTTP/1.1 200 OK\r\n\r\nab", |connection| connection.large_response(3)).is_err());
        Ok(())
    }

    #[test]
    fn collects_interim_responses() -> io::Result<()> {
        let response = answered(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nA: b\r\n\r\n")?;
        assert_eq!((response.status, response.interim.as_slice()), (204, &[100][..]));
        assert_eq!(response.header("a"), Some("b"));
        Ok(())
    }

    #[test]
    fn no_head_is_an_error() {
        assert!(answered(b"").is_err());
        assert!(answered(b"nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn encodes_credentials() {
        let encoded = ["", "a", "ab", "abc", "user:secret"].map(|text| base64(text.as_bytes()));
        assert_eq!(encoded, ["", "YQ==", "YWI=", "YWJj", "dXNlcjpzZWNyZXQ="]);
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
