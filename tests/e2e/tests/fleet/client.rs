//! Clients of the balancer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use e2e::{Connection, wait_until};

/// The id of requests that only look whether the balancer serves.
pub(crate) const PROBE: &str = "probe";

/// The balancer's address, as the examples have it.
fn balancer() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 8080).into()
}

/// A request that was sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) is_post: bool,
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
    /// Why it was not answered.
    pub(crate) failure: Option<String>,
}

/// Returns whether the balancer gets a request answered.
pub(crate) fn is_served() -> bool {
    let Ok(stream) = std::net::TcpStream::connect(balancer()) else { return false };
    drop(stream);
    ask(&mut Connection::open(balancer()), PROBE, false, false).is_ok()
}

/// Clients that send requests until they are stopped.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Request>>>,
}

impl Load {
    /// Starts so many clients; every other one keeps its connection. Ids begin with `name`.
    pub(crate) fn start(clients: usize, name: &str) -> Self {
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..clients).map(|number| {
            let (is_over, count, name) = (Arc::clone(&is_over), Arc::clone(&count), name.to_owned());
            thread::spawn(move || {
                let mut requests = Vec::new();
                let mut kept = None;
                while !is_over.load(Ordering::Relaxed) {
                    let id = format!("{name}-{number}-{}", requests.len());
                    let (is_post, keeps) = (requests.len() % 2 == 1, number % 2 == 1);
                    let begin = Instant::now();
                    let mut connection = kept.take().unwrap_or_else(|| Connection::open(balancer()));
                    let answer = ask(&mut connection, &id, is_post, keeps);
                    let failure = match answer {
                        Ok(is_kept) => {
                            kept = is_kept.then_some(connection);
                            count.fetch_add(1, Ordering::Relaxed);
                            None
                        }
                        Err(error) => Some(error.to_string()),
                    };
                    requests.push(Request { id, is_post, begin, end: Instant::now(), failure });
                }
                requests
            })
        });
        let clients = clients.collect();
        Self { is_over, count, clients }
    }

    /// Waits until each client has sent some more.
    pub(crate) fn wait_for_some(&self) {
        let enough = self.count.load(Ordering::Relaxed) + 20 * self.clients.len();
        wait_until("requests", || (self.count.load(Ordering::Relaxed) >= enough).then_some(()));
    }

    /// Stops the clients. Returns what they have sent.
    pub(crate) fn stop(self) -> Vec<Request> {
        self.is_over.store(true, Ordering::Relaxed);
        let join =
            |client: JoinHandle<_>| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.clients.into_iter().flat_map(join).collect()
    }
}

/// Sends a request, and checks the answer. Returns whether the connection is kept.
fn ask(connection: &mut Connection, id: &str, is_post: bool, keeps: bool) -> io::Result<bool> {
    let (method, target, body) = if is_post { ("POST", "", id) } else { ("GET", id, "") };
    let close = if keeps { "" } else { "Connection: close\r\n" };
    let head = format!(
        "{method} /{target} HTTP/1.1\r\nHost: shop\r\n{close}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.try_send(head.as_bytes())?;
    let answer = connection.response(method)?;
    if answer.status != 200 || answer.text() != id {
        return Err(io::Error::other(format!("{answer:?}")));
    }
    Ok(keeps && !answer.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")))
}
