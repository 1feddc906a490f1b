//! The client of the counted rounds: a given number of requests, large bodies, every byte accounted
//! for.

use std::io::{self, BufRead as _, BufReader, Error, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::workload::{Answer, CLOSED, Workload};

/// The longest time that a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The length of a body that is kept for comparison; the rest is counted.
const KEPT: usize = 4096;

/// A connection that is kept between requests.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// A response, whole.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) status: u16,
    /// The Server header.
    pub(crate) server: String,
    /// The beginning of the body.
    pub(crate) body: Vec<u8>,
    pub(crate) body_length: u64,
    /// Length of all, head and transfer coding included.
    pub(crate) wire_length: u64,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { address, stream: BufReader::with_capacity(256 << 10, stream) })
    }

    /// One request and its response, which has to be the one that the workload names.
    ///
    /// # Errors
    /// The connection fails or ends early, or the response is another one.
    pub(crate) fn exchange(&mut self, workload: &Workload) -> io::Result<Received> {
        self.send(workload.url, workload.post)?;
        self.receive(&workload.answer)
    }

    /// One GET and its response.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub(crate) fn get(&mut self, url: &str, answer: &Answer) -> io::Result<Received> {
        self.send(url, None)?;
        self.receive(answer)
    }

    fn send(&mut self, url: &str, post: Option<u64>) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(head(self.address, url, post).as_bytes())?;
        let block = [b'x'; 64 << 10];
        let mut left = post.unwrap_or(0);
        while left > 0 {
            let part = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            stream.write_all(&block[..part])?;
            left -= part as u64;
        }
        Ok(())
    }

    fn receive(&mut self, answer: &Answer) -> io::Result<Received> {
        let mut received = Received::default();
        let status_line = self.line(&mut received)?;
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        received.status = status.ok_or_else(|| Error::other(format!("no HTTP: `{status_line}`")))?;
        let mut length = None;
        let mut chunked = false;
        loop {
            let line = self.line(&mut received)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok(),
                "transfer-encoding" => chunked = value == "chunked",
                "server" => received.server = value.to_owned(),
                _ => {}
            }
        }
        match length {
            Some(length) => self.block(length, &mut received)?,
            None if chunked => self.chunks(&mut received)?,
            None => return Err(Error::other("the end of the body is not announced")),
        }
        match difference(&received, answer) {
            Some(difference) => Err(Error::other(difference)),
            None => Ok(received),
        }
    }

    fn chunks(&mut self, received: &mut Received) -> io::Result<()> {
        loop {
            let line = self.line(received)?;
            let size = u64::from_str_radix(&line, 16)
                .map_err(|_| Error::other(format!("`{line}` is no length of a chunk")))?;
            self.block(size, received)?;
            if !self.line(received)?.is_empty() {
                return Err(Error::other("a chunk is longer than announced, or there are trailers"));
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self, received: &mut Received) -> io::Result<String> {
        let mut line = String::new();
        // Bounded, since a broken server may send anything.
        let length = self.stream.by_ref().take(16 << 10).read_line(&mut line)?;
        received.wire_length += length as u64;
        match line.strip_suffix("\r\n") {
            Some(text) => Ok(text.to_owned()),
            None if length == 0 => Err(Error::other("the server closed the connection")),
            None => Err(Error::other(format!("a line is cut short: `{line}`"))),
        }
    }

    fn block(&mut self, length: u64, received: &mut Received) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let available = self.stream.fill_buf()?;
            if available.is_empty() {
                return Err(Error::other(format!("the body ends {left} bytes early")));
            }
            let part = available.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let kept = part.min(KEPT - received.body.len());
            received.body.extend_from_slice(&available[..kept]);
            self.stream.consume(part);
            left -= part as u64;
        }
        received.body_length += length;
        received.wire_length += length;
        Ok(())
    }
}

/// Returns a whole request, for one whose body is small.
pub(crate) fn request(address: SocketAddr, workload: &Workload) -> Vec<u8> {
    let mut request = head(address, workload.url, workload.post).into_bytes();
    request.extend(std::iter::repeat_n(b'x', workload.post.unwrap_or(0) as usize));
    request
}

fn head(address: SocketAddr, url: &str, post: Option<u64>) -> String {
    // Of the script that checks passwords (apps/password.py).
    let credentials = if url == CLOSED { "Authorization: Basic YW5uOnNlY3JldA==\r\n" } else { "" };
    match post {
        None => format!("GET {url} HTTP/1.1\r\nHost: {address}\r\n{credentials}\r\n"),
        Some(length) => format!(
            "POST {url} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\n"
        ),
    }
}

/// In what a response is not the one that was asked for.
fn difference(received: &Received, answer: &Answer) -> Option<String> {
    if received.status != 200 {
        return Some(format!("status {} instead of 200", received.status));
    }
    let body = String::from_utf8_lossy(&received.body);
    let length = received.body_length;
    match *answer {
        Answer::Text(text) if body != text => Some(format!("the body is {body:?} instead of {text:?}")),
        Answer::Length(wanted) if length != wanted => {
            Some(format!("a body of {length} bytes instead of {wanted}"))
        }
        Answer::Text(_) | Answer::Length(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::workload::Repeat;

    const HELLO: Workload = Workload {
        name: "hello",
        url: "/",
        post: None,
        answer: Answer::Text("hello"),
        repeat: Repeat::Timed(&[1]),
        package: None,
    };

    /// Returns the client's result for a server that sends these bytes and closes the connection.
    fn exchange(response: &'static str) -> Result<Received, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while request.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            stream.write_all(response.as_bytes()).unwrap();
        });
        let received = Client::connect(address).unwrap().exchange(&HELLO);
        server.join().unwrap();
        received.map_err(|error| error.to_string())
    }

    #[test]
    fn counts_every_byte() {
        let text = "HTTP/1.1 200 OK\r\nServer: Test/1\r\nContent-Length: 5\r\n\r\nhello";
        let received = exchange(text).unwrap();
        assert_eq!((received.body_length, received.wire_length), (5, text.len() as u64));
        assert_eq!(received.server, "Test/1");
    }

    #[test]
    fn reads_chunks() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        let received = exchange(text).unwrap();
        assert_eq!((received.body_length, received.wire_length), (5, text.len() as u64));
    }

    #[test]
    fn refuses_another_answer() {
        let error = exchange("HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nhello").unwrap_err();
        assert!(error.starts_with("status 500"), "{error}");
        let error = exchange("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhallo").unwrap_err();
        assert!(error.contains("instead of \"hello\""), "{error}");
    }

    #[test]
    fn refuses_a_response_that_is_cut_short() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Len",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhello",
        ] {
            assert!(exchange(text).is_err(), "{text:?}");
        }
    }
}
