//! The supervisor's order to start, with the configuration of the process.

use std::os::fd::OwnedFd;

use os::descriptors::{Wait, keep_over_exec, next_length, receive_with};
use os::snapshot::SnapshotReader;
use wsgi_core::wire::Schema;
use wsgi_core::wire::control::{LONGEST_START, Order};
use wsgi_core::wire::launch;

use super::descriptors;

/// The order to become a process of a group, or the template that those are forked from.
pub(super) enum Start {
    Process(StartOrder),
    Template(TemplateOrder),
}

/// The order for a template.
pub(super) struct TemplateOrder {
    pub(super) launch: Box<launch::Daemon>,
    pub(super) reports: OwnedFd,
    /// The pipe to the log.
    pub(super) lines: OwnedFd,
}

/// The order for a process, with the descriptors that come with it.
pub(super) struct StartOrder {
    pub(super) launch: Box<launch::Daemon>,
    /// The word of the page where the process counts.
    pub(super) word: u8,
    pub(super) channel: OwnedFd,
    pub(super) page: OwnedFd,
    pub(super) reports: OwnedFd,
    /// The pipe to the log.
    pub(super) lines: OwnedFd,
    /// The snapshot where the server publishes its scoreboard, if the process is to see it.
    pub(super) scoreboard: Option<SnapshotReader>,
}

impl Start {
    /// Waits for the order. Returns `None` if the supervisor has gone before it gave one.
    pub(super) fn receive(control: &OwnedFd) -> Result<Option<Self>, String> {
        keep_over_exec(control, false).map_err(because("its control socket cannot be used"))?;
        descriptors::register(control);
        let length =
            next_length(control, Wait::Allowed).map_err(because("its start order cannot be received"))?;
        let mut announcement = vec![0; length];
        let (_, received) = receive_with(control, &mut announcement, Wait::Allowed)
            .map_err(because("its start order cannot be received"))?;
        if length == 0 {
            return Ok(None);
        }
        if let Some(other) = Order::schema_of_start(&announcement).filter(|other| *other != Schema::own()) {
            return Err(another_build(other));
        }
        Self::read(received).map(Some)
    }

    /// Reads the message that was received, and takes the other descriptors.
    fn read(received: Vec<OwnedFd>) -> Result<Self, String> {
        let mut received = received.into_iter();
        let message = received.next().ok_or_else(|| "its start order has no message".to_owned())?;
        let message = os::message::read(message, LONGEST_START as u64)
            .map_err(because("its start order cannot be read"))?;
        let Ok(Order::Start { word, daemon: launch, .. }) = Order::decode(&message) else {
            return Err("its start order is malformed".to_owned());
        };
        if launch.is_template {
            let (Some(reports), Some(lines)) = (received.next(), received.next()) else {
                return Err("its start order lacks descriptors".to_owned());
            };
            descriptors::register(&reports);
            descriptors::register(&lines);
            return Ok(Self::Template(TemplateOrder { launch, reports, lines }));
        }
        let (Some(channel), Some(page), Some(reports), Some(lines)) =
            (received.next(), received.next(), received.next(), received.next())
        else {
            return Err("its start order lacks descriptors".to_owned());
        };
        let scoreboard = match (usize::try_from(launch.scoreboard), received.next()) {
            (Ok(0), _) => None,
            (Ok(capacity), Some(file)) => Some(
                SnapshotReader::map(&file, capacity)
                    .map_err(because("the server's scoreboard cannot be read"))?,
            ),
            (_, _) => return Err("its start order lacks the scoreboard".to_owned()),
        };
        for descriptor in [&channel, &reports, &lines] {
            descriptors::register(descriptor);
        }
        Ok(Self::Process(StartOrder { launch, word, channel, page, reports, lines, scoreboard }))
    }
}

/// Returns a function that prefixes an error with `what` has failed.
pub(super) fn because(what: &str) -> impl FnOnce(std::io::Error) -> String {
    let what = what.to_owned();
    move |error| format!("{what}: {error}")
}

/// Returns the error text for a server of another build than this host.
fn another_build(server: Schema) -> String {
    let host = os::library::file_of(another_build as *const ());
    let host = host.map_or_else(|| "the host".to_owned(), |file| format!("the host {}", file.display()));
    let own = Schema::own();
    format!(
        "{host} is of another build (schema {own}) than the server's mod_wsgi.so (schema {server}). Install both again with \
         `make install`, with chroot= the host in the jail as well, then stop and start the server"
    )
}
