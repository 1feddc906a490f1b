//! Control: the messages between the supervisor and a daemon process. Orders are datagrams on a
//! socket to which the process cannot send anything. Reports go through a pipe, which cannot carry
//! descriptors: so the supervisor never has to close what a process has sent it.
//!
//! | supervisor | daemon | |
//! |---|---|---|
//! | `Start` | | in a file, with its end of the channel, its shared page, the pipes, and the scoreboard if it is to see that |
//! | | `Ready` | Python runs, the scripts are imported, as far as they can be |
//! | `Serve` | | it may take connections from the channel |
//! | | `Replace` | it wants a successor, and carries on until there is one |
//! | `NoSuccessor` | | there will be none: it goes on for good |
//! | `Share` | | another process of the group serves: give it some of the requests that wait |
//! | `Drain` | | a successor has the channel: finish what was begun, and exit |
//! | | `Stopping` | it is about to exit by itself |
//! | | `ImportFailed` | a script could not be imported; also of a template |
//! | | `Stuck` | requests have held their threads for too long |
//! | `Fork` | | to a group's template: fork a process, which gets the descriptors that come along |
//!
//! The daemon finishes what it has begun and exits when the supervisor's end is closed.

use super::board::page;
use super::codec::{Malformed, Reader, Writer};
use super::launch::Daemon;
pub use super::process::Script;
use super::record::{self, messages};
use super::{OwnSchema, Reason, Schema};
use crate::ledger::{kept_detail, kept_text};

messages! {
    /// An order of the supervisor.
    #[derive(Debug, Clone, PartialEq)]
    pub enum Order {
        /// Sets the process up. The list of scripts may be longer than a datagram can be, so this
        /// one travels in a file, with its [announcement](Self::announcement).
        1 => Start {
            /// Comes first, so that a process of another build can say so.
            schema: OwnSchema,
            /// The word of its page in which it counts.
            word: u8,
            /// All else.
            daemon: Box<Daemon>,
        },
        /// Take connections from the channel.
        2 => Serve,
        /// There is no successor, for this reason.
        3 => NoSuccessor(reason: Box<[u8]>),
        /// Take no more connections; finish, within so many milliseconds, and exit.
        4 => Drain(grace: u32),
        /// So many processes of the group serve now, one more than before: close one in so many of
        /// the connections whose requests wait for a thread, so that they go elsewhere.
        5 => Share(processes: u32),
        /// Fork a process of the group. With it come the control socket of that process, its pipe
        /// for standard output and error, and the socket by which it makes itself known. (Its
        /// `Start` waits in the control socket.)
        6 => Fork,
    }
}

messages! {
    /// A report of a daemon process.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Report {
        /// It can serve. False if a script could not be imported that the configuration names.
        1 => Ready(has_imported: bool),
        /// It wants a successor that has imported these, with all their callables.
        2 => Replace {
            /// As in `shutdown_reason`. Known ones only: the supervisor logs it, as root.
            reason: Reason,
            /// Scripts that it has loaded.
            scripts: Vec<Script>,
        },
        /// It is about to exit, for this `shutdown_reason`.
        3 => Stopping(reason: Reason),
        /// It could not import a script, and has logged why. The texts are what an application
        /// likes: they are for the record of events, not for the log.
        4 => ImportFailed {
            /// The path of the script, and the exception.
            text: Box<[u8]>,
            /// The traceback.
            detail: Box<[u8]>,
        },
        /// Requests have held their threads for longer than `stuck-timeout`, and it has logged them.
        /// The texts are about one of them, and what clients and applications like: they are for the
        /// record of events, not for the log. It sends few of these, however many requests there are.
        5 => Stuck {
            /// The number of requests since the last report of this kind.
            count: u32,
            /// The request, and its age; empty if there is nothing to be recorded, but to be counted.
            text: Box<[u8]>,
            /// The stack of its thread.
            detail: Box<[u8]>,
        },
    }
}

impl Order {
    /// Encodes the order as a datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        record::encode(self)
    }

    /// Returns the datagram that comes with the file of a `Start`.
    #[must_use]
    pub fn announcement() -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        writer.u8(1);
        Schema::own().encode(&mut writer);
        buffer
    }

    /// Returns the schema of a `Start`, or of its announcement, which may be that of another build;
    /// `None` if it is no `Start`.
    #[must_use]
    pub fn schema_of_start(datagram: &[u8]) -> Option<Schema> {
        let mut reader = Reader::new(datagram.strip_prefix(&[1])?);
        Schema::decode(&mut reader).ok()
    }

    /// Parses a datagram.
    ///
    /// # Errors
    /// It is not an order, or one of another schema.
    pub fn decode(datagram: &[u8]) -> Result<Self, Malformed> {
        match record::decode(datagram)? {
            Self::Start { word, .. } if usize::from(word) >= page::WORDS => Err(Malformed),
            order => Ok(order),
        }
    }
}

/// The longest report, in bytes.
const LONGEST: usize = 1 << 20;

/// The longest `Start`, in bytes: what a report names, and what the configuration says.
pub const LONGEST_START: usize = 1 << 24;

impl Report {
    /// Encodes the report for the pipe: its length, and its text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = record::encode(self);
        let mut buffer = Vec::with_capacity(4 + text.len());
        Writer::new(&mut buffer).bytes(&text);
        buffer
    }

    /// Creates the report of a script that could not be imported. What the record of events would
    /// not keep of the texts, which may be of any length, is not sent.
    #[must_use]
    pub fn import_failed(text: &[u8], detail: &[u8]) -> Self {
        Self::ImportFailed { text: kept_text(text).into(), detail: kept_detail(detail).into() }
    }

    /// Creates the report of so many stuck requests, with the texts about one of them, as
    /// [`import_failed`](Self::import_failed).
    #[must_use]
    pub fn stuck(count: u32, text: &[u8], detail: &[u8]) -> Self {
        Self::Stuck { count, text: kept_text(text).into(), detail: kept_detail(detail).into() }
    }

    /// Takes the report at the beginning of what has come through the pipe, if all of it has.
    ///
    /// # Errors
    /// It is not a report, or one that is too long.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, Malformed> {
        let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST {
            return Err(Malformed);
        }
        let Some(text) = rest.get(..length) else { return Ok(None) };
        let report = record::decode(text)?;
        buffer.drain(..4 + length);
        Ok(Some(report))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::launch::ProcessOptions;

    #[test]
    fn orders_and_reports_come_back() {
        let options = ProcessOptions { threads: 15, ..ProcessOptions::default() };
        let daemon = Daemon { name: b"group"[..].into(), options, ..Daemon::default() };
        for order in [
            Order::Start { schema: OwnSchema, word: 15, daemon: Box::new(daemon) },
            Order::Serve,
            Order::NoSuccessor(b"it does not import"[..].into()),
            Order::Drain(15_000),
            Order::Share(2),
            Order::Fork,
        ] {
            assert_eq!(Order::decode(&order.encode()), Ok(order));
        }
        let start = Order::Start { schema: OwnSchema, word: 0, daemon: Box::default() }.encode();
        assert!(start.starts_with(&Order::announcement()));
        let mut beyond = start.clone();
        beyond[Order::announcement().len()] = 16;
        assert_eq!((Order::decode(&start).is_ok(), Order::decode(&beyond)), (true, Err(Malformed)));
        assert_eq!(Order::schema_of_start(&start), Some(Schema::own()));
        assert_eq!(Order::schema_of_start(&Order::Serve.encode()), None);
        let script = Script {
            path: b"/w/app.wsgi"[..].into(),
            application_group: b""[..].into(),
            callables: vec![b"application"[..].into(), b"other"[..].into()],
        };
        for report in [
            Report::Ready(true),
            Report::Replace { reason: Reason::ScriptReload, scripts: vec![script] },
            Report::Stopping(Reason::ShutdownSignal),
            Report::ImportFailed { text: b"/w/app.wsgi"[..].into(), detail: b"Traceback"[..].into() },
            Report::Stuck { count: 7, text: b"GET /"[..].into(), detail: b"Stack"[..].into() },
        ] {
            let mut pipe = [report.encode(), report.encode()].concat();
            assert_eq!(Report::take(&mut pipe), Ok(Some(report.clone())));
            let last = pipe.pop().unwrap();
            assert_eq!(Report::take(&mut pipe), Ok(None), "it has not come yet");
            pipe.push(last);
            assert_eq!((Report::take(&mut pipe), pipe.is_empty()), (Ok(Some(report)), true));
        }
    }

    #[test]
    fn a_reason_that_is_not_known_is_no_report() {
        for number in 0..=u8::MAX {
            let report = record::decode::<Report>(&[3, number]);
            assert_eq!(report.is_ok(), usize::from(number) < Reason::ALL.len(), "{report:?}");
        }
        // A text of its own would be a line in the server's log.
        let mut text = vec![3];
        Writer::new(&mut text).bytes(b"x\n[core:alert] forged");
        assert_eq!(record::decode::<Report>(&text), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Order::decode(&bytes), record::decode::<Report>(&bytes), Report::take(&mut bytes.clone()));
        }
    }
}
