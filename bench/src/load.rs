//! The client of the timed rounds.
//!
//! One thread keeps a number of connections busy, each with one request at a time, and takes the
//! time of every response. (wrk would tell neither what became of a single connection, nor the
//! responses' own percentiles: it adds to its latencies what it believes a slow response has kept
//! it from sending.)

use std::io::{self, Error, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::statistics::{extremes, median, percentile};

/// The longest time that a server may be silent when a connection is made, or a request sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The windows in which the connections are compared.
const WINDOW: Duration = Duration::from_secs(1);

/// The fewest connections that are compared.
const FEWEST: usize = 4;

/// The first line of every response.
const STATUS_LINE: &[u8] = b"HTTP/1.1 200 ";

/// A request, and its response's length.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    /// Of head and body. A response of another length ends the round: a redirect, or an error page
    /// would be fast.
    pub(crate) response_length: usize,
}

/// The requests of all connections.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// The exchange whose latencies are reported.
    pub(crate) main: Exchange,
    /// Takes the place of every tenth request of each connection.
    pub(crate) tenth: Option<Exchange>,
}

/// The outcome of a round.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Responses of either kind.
    pub(crate) responses: usize,
    pub(crate) seconds: f64,
    /// Of the responses to [`Mix::main`], in seconds.
    pub(crate) latencies: Vec<f64>,
    /// Per whole second, the responses of the connection with the fewest, as a part of those of the
    /// connection in the middle; the least of all seconds. `None` if there were too few connections.
    pub(crate) least_share: Option<f64>,
    /// The number of times that the server closed a connection that it had answered over. Apache
    /// does that with kept connections when all of its threads are busy.
    pub(crate) closed: usize,
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        self.responses as f64 / self.seconds
    }

    pub(crate) fn percentile(&self, part: f64) -> f64 {
        percentile(self.latencies.iter().copied(), part)
    }
}

/// Keeps the connections busy for a time.
///
/// # Errors
/// A connection fails, or a response is another one.
pub(crate) fn round(
    address: SocketAddr,
    mix: &Mix,
    connections: u32,
    length: Duration,
) -> io::Result<Outcome> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut all = Vec::new();
    for number in 0..connections {
        let connection = Connection::open(address, number)?;
        epoll.add(&connection.stream, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(number)))?;
        all.push(connection);
    }
    let mut buffer = vec![0; 256 << 10];
    let mut events = vec![EpollEvent::empty(); all.len()];
    let mut latencies = Vec::new();
    let mut responses = 0;
    let mut closed = 0;
    let mut windows = Vec::new();
    let start = Instant::now();
    let mut window_end = start + WINDOW;
    for connection in &mut all {
        connection.send(mix)?;
    }
    let end = start + length;
    let mut now = start;
    while now < end {
        let left = u16::try_from((end - now).as_millis() + 1).unwrap_or(u16::MAX);
        let ready = epoll.wait(&mut events, EpollTimeout::from(left))?;
        for event in &events[..ready] {
            let Some(connection) = all.get_mut(event.data() as usize) else { continue };
            match connection.receive(mix, &mut buffer)? {
                Progress::Partial => continue,
                // The time goes on: that of the request that has to be sent again.
                Progress::Closed => {
                    closed += 1;
                    connection.reopen(address)?;
                    epoll.add(&connection.stream, EpollEvent::new(EpollFlags::EPOLLIN, event.data()))?;
                    connection.write(mix)?;
                    continue;
                }
                Progress::Complete => {}
            }
            responses += 1;
            connection.in_window += 1;
            let sent = connection.sent;
            let is_main = connection.is_main;
            connection.send(mix)?;
            if is_main {
                latencies.push((connection.sent - sent).as_secs_f64());
            }
        }
        now = Instant::now();
        if now >= window_end {
            windows.push(all.iter_mut().map(|each| std::mem::take(&mut each.in_window)).collect());
            window_end += WINDOW;
        }
    }
    if responses == 0 {
        return Err(Error::other("no response within the whole round"));
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Outcome { responses, seconds, latencies, least_share: least_share(&windows), closed })
}

fn least_share(windows: &[Vec<u32>]) -> Option<f64> {
    let shares = windows.iter().filter(|counts| counts.len() >= FEWEST).map(|counts| {
        let counts = || counts.iter().map(|&count| f64::from(count));
        // Where the connection in the middle got nothing, those below it got no less.
        let middle = median(counts()).max(f64::MIN_POSITIVE);
        (extremes(counts()).0 / middle).min(1.0)
    });
    shares.min_by(f64::total_cmp)
}

/// A connection with a request under way.
struct Connection {
    stream: TcpStream,
    /// Counts requests, so that every tenth is known; connections begin at different ones.
    turn: u32,
    is_main: bool,
    sent: Instant,
    received: usize,
    /// Responses within the current window.
    in_window: u32,
    /// Set once the server has answered over this connection.
    is_answered: bool,
}

/// The part of a response that has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Partial,
    Complete,
    /// Nothing: the server has closed the connection since the response before.
    Closed,
}

impl Connection {
    fn open(address: SocketAddr, number: u32) -> io::Result<Self> {
        let (stream, sent) = (connect(address)?, Instant::now());
        Ok(Self { stream, turn: number, is_main: true, sent, received: 0, in_window: 0, is_answered: false })
    }

    fn reopen(&mut self, address: SocketAddr) -> io::Result<()> {
        self.stream = connect(address)?;
        self.is_answered = false;
        Ok(())
    }

    fn send(&mut self, mix: &Mix) -> io::Result<()> {
        self.turn += 1;
        self.is_main = mix.tenth.is_none() || !self.turn.is_multiple_of(10);
        self.received = 0;
        self.sent = Instant::now();
        self.write(mix)
    }

    fn write(&mut self, mix: &Mix) -> io::Result<()> {
        match self.stream.write_all(&self.exchange(mix).request) {
            // The end is what will be read.
            Err(error) if is_close(&error) => Ok(()),
            result => result,
        }
    }

    fn receive(&mut self, mix: &Mix, buffer: &mut [u8]) -> io::Result<Progress> {
        let count = match self.stream.read(buffer) {
            Err(error) if is_close(&error) => 0,
            result => result?,
        };
        if count == 0 {
            return match self.is_answered && self.received == 0 {
                true => Ok(Progress::Closed),
                false => Err(Error::other("the server closed the connection")),
            };
        }
        if self.received == 0 && !buffer[..count].starts_with(STATUS_LINE) {
            let line = buffer[..count].split(|&byte| byte == b'\r').next().unwrap_or_default();
            return Err(Error::other(format!("a response begins `{}`", String::from_utf8_lossy(line))));
        }
        self.received += count;
        let wanted = self.exchange(mix).response_length;
        if self.received > wanted {
            let received = self.received;
            return Err(Error::other(format!("a response of {received} bytes, where all have {wanted}")));
        }
        if self.received < wanted {
            return Ok(Progress::Partial);
        }
        self.is_answered = true;
        Ok(Progress::Complete)
    }

    fn exchange<'a>(&self, mix: &'a Mix) -> &'a Exchange {
        match &mix.tenth {
            Some(tenth) if !self.is_main => tenth,
            _ => &mix.main,
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn is_close(error: &Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const MAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const TENTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";

    /// Serves each connection by a function of its number and its requests, until it is closed.
    fn serve(connections: usize, answer: fn(usize, &[u8]) -> &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for number in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 256];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        let answer = answer(number, &buffer[..count]);
                        if answer.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn mix() -> Mix {
        let exchange = |request: &str, response: &str| Exchange {
            request: request.into(),
            response_length: response.len(),
        };
        Mix { main: exchange("main", MAIN), tenth: Some(exchange("tenth", TENTH)) }
    }

    #[test]
    fn latencies_are_those_of_the_main_requests_alone() {
        let address = serve(1, |_, request| {
            if request == b"main" {
                return MAIN;
            }
            thread::sleep(Duration::from_millis(20));
            TENTH
        });
        let outcome = round(address, &mix(), 1, Duration::from_millis(500)).unwrap();
        assert!(outcome.responses >= 10, "{outcome:?}");
        // One of ten was another one, give or take the last.
        assert!(outcome.responses.abs_diff(outcome.latencies.len() * 10 / 9) <= 2, "{outcome:?}");
        assert!(outcome.percentile(0.5) < 0.020);
    }

    #[test]
    fn connection_that_gets_less_is_seen() {
        let address = serve(FEWEST, |number, _| {
            if number == 1 {
                thread::sleep(Duration::from_millis(100));
            }
            MAIN
        });
        let mix = Mix { tenth: None, ..mix() };
        let outcome = round(address, &mix, FEWEST as u32, Duration::from_millis(1100)).unwrap();
        assert!(outcome.least_share.unwrap() < 0.5, "{outcome:?}");
    }

    #[test]
    fn connection_that_is_closed_between_requests_is_opened_again() {
        let address = serve(2, |_, request| if request == b"main" { MAIN } else { "" });
        let outcome = round(address, &mix(), 1, Duration::from_millis(300)).unwrap_err().to_string();
        assert_eq!(outcome, "the server closed the connection", "a fresh one");
        let once = serve(2, |number, _| {
            thread::sleep(Duration::from_millis(1));
            static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if number == 0 && count > 10 { "" } else { MAIN }
        });
        let mix = Mix { tenth: None, ..mix() };
        let outcome = round(once, &mix, 1, Duration::from_millis(300)).unwrap();
        assert_eq!(outcome.closed, 1);
        assert!(outcome.responses > 11, "{outcome:?}");
    }

    #[test]
    fn shares_are_of_the_worst_second() {
        assert_eq!(least_share(&[vec![10, 10, 10, 10], vec![8, 10, 2, 10]]), Some(2.0 / 9.0));
        assert_eq!(least_share(&[vec![0, 0, 0, 0]]), Some(0.0));
        assert_eq!(least_share(&[vec![1, 10]]), None);
        assert_eq!(least_share(&[]), None);
    }

    #[test]
    fn refuses_another_response() {
        let fault = |answer| {
            let mix = Mix { tenth: None, ..mix() };
            round(serve(1, answer), &mix, 1, Duration::from_millis(300)).unwrap_err().to_string()
        };
        assert_eq!(fault(|_, _| "HTTP/1.1 302 Found\r\n\r\n"), "a response begins `HTTP/1.1 302 Found`");
        assert!(fault(|_, _| TENTH).contains("bytes"));
        assert!(fault(|_, _| "HTTP/1.1 200 OK\r\n").contains("no response"));
    }
}
