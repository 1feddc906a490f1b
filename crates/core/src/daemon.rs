//! Groups of daemon processes: what `WSGIDaemonProcess` says (§5).

use crate::diagnostic::Position;
use crate::wire::launch::{Limits, ProcessOptions};

/// A group of daemon processes.
///
/// Its processes act on the [`ProcessOptions`], which travel to them. The rest is for the parent,
/// which starts them, and for Apache children. Times are in milliseconds. What is `None` was not
/// given, and something else decides.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonGroup {
    /// Its name, unique in the whole server.
    pub name: Box<[u8]>,
    /// The virtual host that defines it; `None`: the main server.
    pub host: Option<ServerId>,
    /// The line that defines it.
    pub position: Position,
    /// `user=`; else Apache's `User`.
    pub user: Option<u32>,
    /// `group=`; else Apache's `Group`.
    pub group: Option<u32>,
    /// `supplementary-groups=`; else what the system says of the user.
    pub supplementary_groups: Option<Vec<u32>>,
    /// The options of its processes. `socket_timeout` is 0 if Apache's `Timeout` is to be taken.
    pub options: ProcessOptions,
    /// Settings of the connections of Apache children to them.
    pub transport: TransportOptions,
    /// `script-user=` or `script-group=`.
    pub script_owner: Option<ScriptOwner>,
    /// `python=`: the executable, absolute.
    pub python: Option<Box<[u8]>>,
    /// `python-home=`; else `WSGIPythonHome`.
    pub python_home: Option<Box<[u8]>>,
    /// `python-eggs=`, without a fallback.
    pub python_eggs: Option<Box<[u8]>>,
    /// `server-metrics=`.
    pub server_metrics: bool,
    /// `stuck-timeout=`; else `WSGIStuckTimeout`.
    pub stuck_timeout: Option<u64>,
}

/// The least memory, in bytes, that a group may be limited to. Python 3.10 to 3.13 need between 8
/// and 12 MiB of address space before they have loaded anything; a smaller limit is a unit
/// forgotten.
pub const MIN_MEMORY: u64 = 16 << 20;

/// Settings of the connections of Apache children to the processes of a group. Times are in
/// milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportOptions {
    /// `connect-timeout=`; 0: one attempt.
    pub connect_timeout: u64,
    /// `response-socket-timeout=`; 0: `socket-timeout=` if that was given, else the client's is
    /// left alone.
    pub response_socket_timeout: u64,
    /// `response-flush-delay=`; 0: flush at once.
    pub response_flush_delay: u64,
    /// `header-buffer-size=` in bytes.
    pub header_buffer_size: u64,
    /// `response-buffer-size=` in bytes.
    pub response_buffer_size: u64,
    /// `spool-body=` in bytes; 0: bodies are not read before the application is called.
    pub spool_body: u64,
    /// `send-buffer-size=` in bytes: the room for what a child sends.
    pub send_buffer_size: u64,
    /// `receive-buffer-size=` in bytes: the room for what a process sends.
    pub receive_buffer_size: u64,
}

/// The default size, in bytes, of the buffers of connections to processes.
///
/// It is the usual limit of the system for its users, and its default, too. But Linux doubles what
/// it is asked for, so twice as much fits: several blocks of 64 KB, which one side can send before
/// it has to wait for the other. Only data that is on its way takes memory.
pub const SOCKET_BUFFER_SIZE: u64 = 208 << 10;

/// The owner that the script files of a group must have, and the directories they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptOwner {
    /// A user id.
    User(u32),
    /// A group id.
    Group(u32),
}

/// Identifies a virtual host within one reading of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId(pub usize);

/// A server, and its `ServerName` as far as it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedServer<'a> {
    /// The virtual host; `None`: the main server.
    pub host: Option<ServerId>,
    /// `None` or empty: it has none.
    pub name: Option<&'a [u8]>,
}

/// The reason why a server may not use a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inaccessible {
    /// The group belongs to a virtual host of another name.
    OtherName,
    /// One of both has no name to compare.
    NoName,
}

impl DaemonGroup {
    /// Creates the group `name` with no option given, defined in `host` (`None`: the main server).
    #[must_use]
    pub fn new(name: &[u8], host: Option<ServerId>) -> Self {
        Self {
            name: name.into(),
            host,
            position: Position::default(),
            user: None,
            group: None,
            supplementary_groups: None,
            options: ProcessOptions {
                threads: 15,
                limits: Limits {
                    scale_up_wait: 100,
                    scale_down_idle: 60_000,
                    listen_backlog: 100,
                    deadlock_timeout: 300_000,
                    graceful_timeout: 15_000,
                    shutdown_timeout: 5_000,
                    ..Limits::default()
                },
                ..ProcessOptions::default()
            },
            transport: TransportOptions::default(),
            script_owner: None,
            python: None,
            python_home: None,
            python_eggs: None,
            server_metrics: false,
            stuck_timeout: None,
        }
    }

    /// Returns whether `server` may use the group, which was defined in a server of the name
    /// `own_name`: one of the main server may be used by all, one of a virtual host by itself and
    /// its namesakes (§5.1).
    ///
    /// # Errors
    /// It may not.
    pub fn admits(&self, own_name: Option<&[u8]>, server: NamedServer<'_>) -> Result<(), Inaccessible> {
        let named = |name: Option<&[u8]>| name.is_some_and(|name| !name.is_empty());
        match self.host {
            None => Ok(()),
            Some(_) if self.host == server.host => Ok(()),
            Some(_) => match (named(own_name), named(server.name)) {
                (true, true) if own_name == server.name => Ok(()),
                (true, true) => Err(Inaccessible::OtherName),
                (false, false) => Ok(()),
                _ => Err(Inaccessible::NoName),
            },
        }
    }
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: 15_000,
            response_socket_timeout: 0,
            response_flush_delay: 5,
            header_buffer_size: 32_768,
            response_buffer_size: 8_388_608,
            send_buffer_size: SOCKET_BUFFER_SIZE,
            receive_buffer_size: SOCKET_BUFFER_SIZE,
            spool_body: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_contracts() {
        let group = DaemonGroup::new(b"g", None);
        let options = &group.options;
        assert_eq!((options.process_count(), options.threads), (1, 15));
        assert!(!options.is_multiprocess() && options.is_multithread() && !options.is_run_once());
        let expected = Limits {
            scale_up_wait: 100,
            scale_down_idle: 60_000,
            listen_backlog: 100,
            deadlock_timeout: 300_000,
            graceful_timeout: 15_000,
            shutdown_timeout: 5_000,
            ..Limits::default()
        };
        assert_eq!(options.limits, expected);
        let transport = &group.transport;
        assert_eq!((transport.connect_timeout, transport.response_flush_delay), (15_000, 5));
        assert_eq!((transport.send_buffer_size, transport.receive_buffer_size), (212_992, 212_992));
    }

    #[test]
    fn groups_of_a_host_belong_to_its_name() {
        let group = DaemonGroup::new(b"g", Some(ServerId(1)));
        let from = |own, id, name: &'static str| {
            let name = (!name.is_empty()).then_some(name.as_bytes());
            group.admits(own, NamedServer { host: Some(ServerId(id)), name })
        };
        assert_eq!(from(Some(b"a"), 1, "a"), Ok(()));
        assert_eq!(from(None, 1, ""), Ok(()));
        assert_eq!(from(Some(b"a"), 2, "a"), Ok(()));
        assert_eq!(from(Some(b"a"), 2, "b"), Err(Inaccessible::OtherName));
        assert_eq!(from(Some(b"a"), 2, "A"), Err(Inaccessible::OtherName), "the identical string");
        assert_eq!(from(Some(b"a"), 2, ""), Err(Inaccessible::NoName));
        assert_eq!(from(None, 2, "a"), Err(Inaccessible::NoName));
        assert_eq!(from(Some(b""), 2, "a"), Err(Inaccessible::NoName));
        let from_main = NamedServer { host: None, name: Some(b"a") };
        assert_eq!(group.admits(Some(b"a"), from_main), Ok(()));
        assert_eq!(group.admits(Some(b"b"), from_main), Err(Inaccessible::OtherName));
        let of_main = DaemonGroup::new(b"g", None);
        let anybody = NamedServer { host: Some(ServerId(7)), name: None };
        assert_eq!(of_main.admits(Some(b"a"), anybody), Ok(()));
    }
}
