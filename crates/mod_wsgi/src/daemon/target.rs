//! The process group of a request, and the connection of a child to its processes.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use httpd::{Request, Status};
use os::spin::Solitude;
use wsgi_core::codes::{GROUP_OF_OTHER_HOST, NO_GROUPS, NO_SUCH_GROUP, NOT_TAKEN};
use wsgi_core::daemon::{DaemonGroup, NamedServer, ScriptOwner};
use wsgi_core::wire::board::slot;

use super::generation::Generation;
use super::pool::IdleConnections;
use crate::{Wsgi, config, log};

/// The state of a child as a client of daemon processes.
pub(super) struct DaemonClient {
    pub(super) generation: Arc<Generation>,
    pub(super) idle: IdleConnections,
    /// The requests of this child that found all processes idle.
    pub(super) solitude: Solitude,
    /// A number by which children prefer different processes: the child's process id.
    pub(super) preference: usize,
}

/// In a server with more processes than this, a request is never taken to be the only one: to look
/// at the pages of all would take too long.
const MOST_WATCHED: usize = 32;

impl DaemonClient {
    /// Returns whether no other request is on its way to any process, as far as this child sees:
    /// those that no process has read yet are known only to the child that has sent them.
    pub(super) fn is_alone(&self) -> bool {
        let count = self.generation.slot_count();
        count <= MOST_WATCHED
            && (0..count).all(|slot| self.idle.active_requests(slot) == 0 && self.generation.busy(slot) == 0)
    }
}

static CLIENT: OnceLock<Option<DaemonClient>> = OnceLock::new();

/// The process group that a request goes to.
pub(crate) struct Target<'g> {
    pub(super) client: &'static DaemonClient,
    pub(super) group: &'g DaemonGroup,
    pub(super) slots: Range<usize>,
}

/// Makes this child, once, a client of the generation that `find` returns.
pub(super) fn init_client(find: impl FnOnce() -> Option<Arc<Generation>>) {
    CLIENT.get_or_init(|| {
        let generation = find()?;
        let idle = IdleConnections::new(&generation);
        let preference = std::process::id() as usize;
        Some(DaemonClient { generation, idle, solitude: Solitude::default(), preference })
    });
}

/// Returns the state of this child as a client, or `None` if there are no daemon processes.
pub(super) fn client() -> Option<&'static DaemonClient> {
    CLIENT.get().and_then(Option::as_ref)
}

/// Returns a word of the board; 0 if there is none.
pub(crate) fn board_word(index: usize) -> u32 {
    client().map_or(0, |client| client.generation.board_word(index))
}

/// Returns the id of the process that serves in a slot, by its number; 0 if there is none.
pub(crate) fn process_of(index: usize) -> u32 {
    board_word(index * slot::WORDS + slot::PID)
}

/// Returns the group `name`.
///
/// # Errors
/// There is no such group, or the request may not use it: the status to respond with. The reason is
/// logged.
pub(crate) fn target<'r>(request: &'r Request, name: &[u8]) -> Result<Target<'r>, Status> {
    let reject = |code, text: String| {
        log::message(request, code, text);
        Err(Status::Http(500))
    };
    let shown = String::from_utf8_lossy(name);
    let groups = request.server().global::<Wsgi>().map(|global| &global.daemons);
    let groups = groups.map(Vec::as_slice).unwrap_or_default();
    let Some(group) = groups.iter().find(|group| *group.name == *name) else {
        return reject(
            if groups.is_empty() { NO_GROUPS } else { NO_SUCH_GROUP },
            format!(
                "the request goes to the process group '{shown}', and there is no such group: define it with \
             WSGIDaemonProcess"
            ),
        );
    };
    let server = request.server();
    let host = server.is_virtual().then(|| config::id(server));
    let own = httpd::main_server()
        .and_then(|main| main.all().find(|other| Some(config::id(other)) == group.host))
        .map(httpd::Server::name);
    let named = NamedServer { host, name: Some(server.name()) };
    if group.admits(own, named).is_err() {
        return reject(
            GROUP_OF_OTHER_HOST,
            format!(
                "the process group '{shown}' belongs to a virtual host of another name: define it outside of \
             <VirtualHost>, or in this one"
            ),
        );
    }
    if group.options.is_service() {
        return reject(
            NO_SUCH_GROUP,
            format!(
                "the process group '{shown}' has threads=0: it runs service scripts and takes no requests. Send the \
             request to another group, or give this one threads"
            ),
        );
    }
    match client().and_then(|client| Some((client, client.generation.slots_of(name)?))) {
        Some((client, slots)) => Ok(Target { client, group, slots }),
        None => reject(
            NO_SUCH_GROUP,
            format!(
                "the processes of the group '{shown}' have not been started. The error log says why, among the \
             lines from the server's start"
            ),
        ),
    }
}

impl Target<'_> {
    /// Returns the number of the group's first slot.
    pub(crate) fn first_slot(&self) -> usize {
        self.slots.start
    }

    /// Returns the length up to which bodies are read before a process gets the request.
    pub(crate) fn spool_body(&self) -> u64 {
        self.group.transport.spool_body
    }

    /// Returns the required owner of the script, or `None` if any will do.
    pub(crate) fn script_owner(&self) -> Option<ScriptOwner> {
        self.group.script_owner
    }

    /// Returns how long a write to the client may take, or `None` if Apache's timeout applies.
    pub(super) fn response_timeout(&self) -> Option<Duration> {
        let (transport, limits) = (&self.group.transport, &self.group.options.limits);
        let given = [transport.response_socket_timeout, limits.socket_timeout];
        given.into_iter().find(|timeout| *timeout > 0).map(Duration::from_millis)
    }

    /// Returns the number of requests that a process serves at a time.
    pub(super) fn thread_count(&self) -> usize {
        self.group.options.threads as usize
    }

    /// Returns how long the process may send nothing.
    pub(super) fn socket_timeout(&self, request: &Request) -> Duration {
        match self.group.options.limits.socket_timeout {
            0 => request.server().timeout(),
            milliseconds => Duration::from_millis(milliseconds),
        }
    }

    /// Logs that there are no processes and no supervisor, and returns the status to respond with.
    pub(super) fn unsupervised(&self, request: &Request) -> Status {
        let group = String::from_utf8_lossy(&self.group.name);
        let text = format_args!(
            "the process group '{group}' has no processes: their supervisor cannot be started. The error log of the \
             server says why"
        );
        log::message(request, NOT_TAKEN, text);
        Status::Http(503)
    }
}
