//! The system's log, where the server's errors go there (`ErrorLog syslog`).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use wsgi_core::wire::launch;

/// The number of bytes of a line that are sent: a message cannot be of any length.
const LONGEST: usize = 8 << 10;
/// The severity of a line that does not name one: a notice.
const SEVERITY: u8 = 5;
/// The names of severities in lines, as Apache and we write them.
const SEVERITIES: [(&[u8], u8); 8] = [
    (b"emerg", 0),
    (b"alert", 1),
    (b"crit", 2),
    (b"error", 3),
    (b"warn", 4),
    (b"notice", 5),
    (b"info", 6),
    (b"debug", 7),
];

/// A sender of messages. Each is a datagram, so that none waits for another.
#[derive(Debug)]
pub(super) struct Syslog {
    settings: launch::Syslog,
    /// Once it is connected, and until it fails: the program that listens may be started again.
    socket: Option<UnixDatagram>,
}

impl Syslog {
    pub(super) const fn new(settings: launch::Syslog) -> Self {
        Self { settings, socket: None }
    }

    /// Writes the first of these lines. Returns its length; [`io::ErrorKind::WouldBlock`] if it is
    /// not taken now.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let length = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
        let line = lines[..length].trim_ascii_end();
        if line.is_empty() {
            return Ok(length);
        }
        let launch::Syslog { facility, tag, .. } = &self.settings;
        let priority = (u16::from(*facility) << 3) + u16::from(severity(line));
        let head = format!("<{priority}>{}[{}]: ", tag.escape_ascii(), std::process::id());
        let message = [head.as_bytes(), &line[..line.len().min(LONGEST)]].concat();
        let was_connected = self.socket.is_some();
        match self.send(&message) {
            Ok(()) => Ok(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                self.socket = None;
                if was_connected { self.send(&message).map(|()| length) } else { Err(error) }
            }
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect(OsStr::from_bytes(&self.settings.socket))?;
            self.socket = Some(socket);
        }
        // It is there now.
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        socket.send(message).map(drop)
    }
}

/// Finds the severity that a line names behind its time: `] [wsgi:error] `.
fn severity(line: &[u8]) -> u8 {
    let said = || {
        let rest = line.strip_prefix(b"[")?;
        let rest = &rest[rest.iter().position(|byte| *byte == b']')?..];
        let name = rest.strip_prefix(b"] [wsgi:")?;
        let name = &name[..name.iter().position(|byte| *byte == b']')?];
        SEVERITIES.into_iter().find(|(known, _)| name == *known).map(|(_, number)| number)
    };
    said().unwrap_or(SEVERITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_message() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let socket = path.as_os_str().as_bytes().into();
        let mut syslog = Syslog::new(launch::Syslog { socket, facility: 17, tag: b"site".as_slice().into() });
        assert!(syslog.write(b"in vain\n").is_err_and(|error| error.kind() == io::ErrorKind::NotFound));

        let pid = std::process::id();
        let lines = b"[Thu Nov 26] [wsgi:crit] [pid 1] WSGI0001: x\n\nplain\nagain\n";
        let expected =
            ["<138>site[PID]: [Thu Nov 26] [wsgi:crit] [pid 1] WSGI0001: x", "<141>site[PID]: plain"];
        let mut at = 0;
        for expected in expected {
            // The listener is another one each time.
            let _ = std::fs::remove_file(&path);
            let listener = UnixDatagram::bind(&path).unwrap();
            let mut message = [0; 200];
            at += syslog.write(&lines[at..]).unwrap();
            let length = listener.recv(&mut message).unwrap();
            let text = std::str::from_utf8(&message[..length]).unwrap();
            assert_eq!(text, expected.replace("PID", &pid.to_string()));
            if lines[at] == b'\n' {
                at += syslog.write(&lines[at..]).unwrap();
            }
        }
        let _ = std::fs::remove_file(&path);
        let _listener = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| syslog.write(&lines[at..]).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock, "it does not wait for who does not read");
    }
}
