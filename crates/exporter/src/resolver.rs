//! The look-up of the names of collectors.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use os::lock::lock;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 16;

type Found = io::Result<Vec<SocketAddr>>;

/// A resolver that looks a name up once at a time. Nothing can end a look-up that hangs, as those of
/// directory services do at times: with one for each message there would be ever more threads.
#[derive(Debug)]
pub(crate) struct NameResolver {
    look_up: fn(&str) -> Found,
    /// Look-ups that took longer than somebody could wait.
    pending: Mutex<HashMap<String, Receiver<Found>>>,
}

impl Default for NameResolver {
    fn default() -> Self {
        Self::with(|name| name.to_socket_addrs().map(Iterator::collect))
    }
}

impl Resolver for NameResolver {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let parts = uri.scheme().zip(uri.authority());
        let name = parts.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let name = name.ok_or(Error::HostNotFound)?;
        let pending = lock(&self.pending).remove(&name);
        let answer = match pending {
            Some(answer) => answer,
            None => self.begin(name.clone())?,
        };
        match answer.recv_timeout(*timeout.after) {
            Ok(found) => {
                let mut addresses = self.empty();
                found?.into_iter().take(MOST_ADDRESSES).for_each(|address| addresses.push(address));
                if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
            }
            Err(RecvTimeoutError::Timeout) => {
                lock(&self.pending).insert(name, answer);
                Err(Error::Timeout(timeout.reason))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
        }
    }
}

impl NameResolver {
    fn with(look_up: fn(&str) -> Found) -> Self {
        Self { look_up, pending: Mutex::default() }
    }

    fn begin(&self, name: String) -> io::Result<Receiver<Found>> {
        let (sender, answer) = mpsc::sync_channel(1);
        let look_up = self.look_up;
        // Nobody may want to know any more.
        let work = move || _ = sender.send(look_up(&name));
        thread::Builder::new().name("resolver".to_owned()).spawn(work)?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::RwLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use ureq::Agent;
    use ureq::unversioned::transport::DefaultConnector;

    use super::*;

    static HANGS: RwLock<()> = RwLock::new(());
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    fn hanging(name: &str) -> Found {
        assert_eq!(name, "collector.test:4318");
        COUNT.fetch_add(1, Ordering::Relaxed);
        let _ended = HANGS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Nobody listens there.
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))])
    }

    #[test]
    fn a_name_is_looked_up_once_at_a_time() {
        let agent =
            Agent::with_parts(Config::default(), DefaultConnector::default(), NameResolver::with(hanging));
        let ask = |timeout| {
            let request = agent.post("http://collector.test:4318/v1/traces");
            request.config().timeout_global(Some(timeout)).build().send(&b""[..]).unwrap_err()
        };
        let hangs = HANGS.write().unwrap();
        for _ in 0..3 {
            let error = ask(Duration::from_millis(50));
            assert!(matches!(error, Error::Timeout(_)), "{error}");
        }
        assert_eq!(COUNT.load(Ordering::Relaxed), 1);
        drop(hangs);
        let error = ask(Duration::from_secs(60));
        assert!(matches!(error, Error::Io(_)), "it is refused: {error}");
        ask(Duration::from_secs(60));
        assert_eq!(COUNT.load(Ordering::Relaxed), 2, "the next time, the answer may be another one");
    }
}
