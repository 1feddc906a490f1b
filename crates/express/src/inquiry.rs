//! Questions to a server about itself, by HTTP.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::general;
use crate::names;
use crate::parse::Parsed;
use crate::server_root;
use crate::server_root::default_root;
use crate::values::{absolute, port};

/// The time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that a command is about.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its server root; empty if it was named by a URL.
    pub(crate) root: PathBuf,
    /// The address, with the port, to connect to.
    pub(crate) address: String,
    /// The path of the URL, with its query.
    pub(crate) path: String,
    /// The value of the header `Host`.
    host: String,
}

/// A file of the server root that tells where to ask, of three lines: the address, the path, and
/// what to name in `Host`, if that is not the address. It is empty if there is nothing to ask for.
pub(crate) struct PlaceFile {
    pub(crate) name: &'static str,
    /// The words for a server that lacks it, if the file is empty.
    pub(crate) lacks: &'static str,
}

impl Place {
    /// Returns the server that the options name.
    ///
    /// # Errors
    /// There is none, or it does not answer such questions.
    pub(crate) fn of(parsed: &Parsed, place: &PlaceFile) -> Result<Self, Failure> {
        match parsed.text(&general::SERVER_ROOT) {
            Some(directory) => Self::in_root(absolute(directory)?, place),
            None => {
                let host = parsed.text(&general::HOST).unwrap_or("localhost");
                Self::in_default_root(default_root(host, port(parsed, &general::PORT, 8000)), place)
            }
        }
    }

    /// Returns the server of a root in a directory where anybody could have made it.
    fn in_default_root(root: PathBuf, place: &PlaceFile) -> Result<Self, Failure> {
        if root.symlink_metadata().is_ok() {
            server_root::inspect(&root, true)?;
        }
        Self::in_root(root, place)
    }

    fn in_root(root: PathBuf, place: &PlaceFile) -> Result<Self, Failure> {
        let file = root.join(place.name);
        let text = os::file::read_small(&file).map_err(|error| {
            Failure::file(
                "read",
                &file,
                &error,
                "name the server as it was started, by --server-root, or --host and --port",
            )
        })?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines();
        let (Some(address), Some(path)) = (lines.next(), lines.next()) else {
            return Err(Failure::machine(format!("the server of {} {}", root.display(), place.lacks)));
        };
        let host = lines.next().unwrap_or(address).to_owned();
        Ok(Self { root, address: address.to_owned(), path: path.to_owned(), host })
    }

    /// Returns the place of a URL.
    ///
    /// # Errors
    /// It is none of HTTP.
    pub(crate) fn at(url: &str) -> Result<Self, Failure> {
        let (address, path) = split(url)?;
        Ok(Self { root: PathBuf::new(), host: address.clone(), address, path })
    }

    /// Returns status and body of the answer, of which no more than so many bytes are read.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn ask(&self, longest: u64) -> Result<(u16, String), Failure> {
        request(self, PATIENCE, longest).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::TimedOut => format!(
                    "nothing came within {} s; all of Apache's threads may be in use ({})",
                    PATIENCE.as_secs(),
                    general::MAX_CLIENTS.name
                ),
                _ => format!("{error}; check that the server runs"),
            };
            Failure::machine(format!("{} does not answer: {reason}", self.address))
        })
    }
}

/// Returns the content of a [`PlaceFile`] for a server that listens on `host`.
pub(crate) fn place(host: Option<&str>, port: u16, path: &str, name: Option<&str>) -> String {
    // A server that listens everywhere listens here, too.
    let host = match host {
        None | Some("0.0.0.0") => "127.0.0.1",
        Some("::" | "[::]") => "::1",
        Some(host) => host,
    };
    let name = name.map(|name| format!("{name}\n")).unwrap_or_default();
    format!("{}\n{path}\n{name}", names::address(host, port))
}

/// Returns the address and the path of a URL.
fn split(url: &str) -> Result<(String, String), Failure> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(Failure::usage(format!("'{url}' is no URL that begins with http://")));
    };
    // (What follows is for browsers: it leads to a part of the page.)
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (address, path) = rest.find(['/', '?']).map_or((rest, "/"), |at| rest.split_at(at));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok((if has_port { address.to_owned() } else { format!("{address}:80") }, path))
}

/// Returns status and body of the answer to a request.
fn request(place: &Place, patience: Duration, longest: u64) -> io::Result<(u16, String)> {
    let Place { address, path, host, .. } = place;
    let deadline = Instant::now() + patience;
    let mut stream = connect(address.to_socket_addrs()?, patience)?;
    stream.set_write_timeout(Some(patience))?;
    // Whoever speaks this version gets no chunks.
    let head = format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: mod_wsgi-express\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    while (answer.len() as u64) < longest {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut block = [0; 16_384];
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // So says the system, of a socket with a limit.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status =
        head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|digits| digits.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("it speaks no HTTP"))?;
    Ok((status, body.to_owned()))
}

fn connect(addresses: impl Iterator<Item = SocketAddr>, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("it has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_server_without_a_free_thread_is_waited_for_within_a_limit() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let place = Place::at(&format!("http://{address}/-/live")).unwrap();
        let error = request(&place, Duration::from_millis(20), 64).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    const FILE: PlaceFile = PlaceFile { name: "status", lacks: "does not show its status" };

    #[test]
    fn what_others_have_made_is_no_server_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("status"), "127.0.0.1:1\n/wsgi-status\n").unwrap();
        let of = |root: &Path| Place::in_default_root(root.to_owned(), &FILE).map(|place| place.path);
        assert_eq!(of(&root).unwrap(), "/wsgi-status");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        assert!(of(&link).unwrap_err().to_string().contains("not a directory"));
        assert_eq!(Place::in_root(link, &FILE).unwrap().path, "/wsgi-status", "it was named");
        std::fs::set_permissions(&root, Permissions::from_mode(0o777)).unwrap();
        assert!(of(&root).unwrap_err().to_string().contains("others may write"));
        let none = of(&directory.path().join("none")).unwrap_err().to_string();
        assert!(none.contains("name the server as it was started"), "{none}");
    }

    #[test]
    fn nothing_waits_for_a_pipe() {
        let directory = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&directory.path().join("status"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Place::in_root(directory.path().to_owned(), &FILE).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn urls_have_an_address_and_a_path() {
        for (url, address, path) in [
            ("http://a:8000/-/ready", "a:8000", "/-/ready"),
            ("http://10.0.0.1/x", "10.0.0.1:80", "/x"),
            ("http://[::1]:8/x", "[::1]:8", "/x"),
            ("http://a", "a:80", "/"),
            ("http://a:8/x?filter=b#g-b", "a:8", "/x?filter=b"),
            ("http://a#g", "a:80", "/"),
            ("http://a?filter=/b", "a:80", "/?filter=/b"),
        ] {
            assert_eq!(split(url).unwrap(), (address.to_owned(), path.to_owned()), "{url}");
        }
        assert!(split("https://a/").is_err());
    }
}
