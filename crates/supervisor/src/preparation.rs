//! Preparation: how a process becomes the Python of its group, without the supervisor waiting for
//! it.
//!
//! To look up a user or to start a program can take as long as somebody else likes: a directory
//! service, a file system, a jail's owner. So the new process does that, in a role of its own of
//! this program ([`role`]): still root, with one thread, with nothing but its group's
//! configuration. It has the process id that Python will have. What goes wrong it says through a
//! pipe, which ends when Python starts; when it takes too long, it is killed.

pub(crate) mod role;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use os::spawn::{self, Failure, Launched, Plan};
use wsgi_core::codes::NO_PROCESS;
use wsgi_core::wire::OwnSchema;
use wsgi_core::wire::launch::{Group, LaunchPlan};

use crate::context::Context;
use crate::log::Level;
use crate::program::CONTROL;

/// The argument that asks for the role. The numbers of two descriptors follow: that of the pipe,
/// and of the group's configuration. The others have the numbers that they have in Python.
pub(crate) const ROLE: &str = "prepare";

/// The number of messages that are read at a stretch.
const BATCH: usize = 64;

/// The longest text of a message; no message is much longer.
const LONGEST: usize = 8 << 10;

/// A message of a process that prepares itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A line for the log.
    Log(Level, String),
    /// The reason to log if the process is killed, should the supervisor not receive any more of
    /// it.
    Obstacle(String),
    /// The reason why there will be no Python. The process ends.
    Failure(Level, String),
}

/// A process that prepares itself.
#[derive(Debug)]
pub(crate) struct Preparation {
    pub(crate) pipe: File,
    received: Vec<u8>,
    /// The last [`Message::Obstacle`].
    pub(crate) obstacle: Option<String>,
}

/// Starts a process for `group` that prepares itself. It gets `control`, and `output` as standard
/// output and error.
///
/// # Errors
/// There is no process.
pub(crate) fn launch(
    group: &Group,
    context: &Context,
    control: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> io::Result<Launched> {
    let hosts = context.hosts.iter().map(|(name, _)| name.clone()).collect();
    let configuration =
        LaunchPlan { schema: OwnSchema, groups: vec![group.clone()], hosts, ..LaunchPlan::default() }
            .encode();
    let configuration = os::message::file(c"mod_wsgi group", &configuration)?;
    let given = context.hosts.iter().map(|(_, host)| host.as_fd());
    let mut kept: Vec<_> = (CONTROL..).zip(std::iter::once(control).chain(given)).collect();
    let pipe = kept.last().map_or(CONTROL, |(number, _)| *number) + 1;
    kept.push((pipe + 1, configuration.as_fd()));
    let plan = Plan {
        // Whatever has become of the file that this program was started from.
        programs: vec![c"/proc/self/exe".into()],
        arguments: vec![
            CString::new(ROLE)?,
            CString::new(pipe.to_string())?,
            CString::new((pipe + 1).to_string())?,
        ],
        environment: context.environment.clone(),
        kept,
        output: Some(output),
        is_session: true,
        is_bound: true,
        limits: context.files.into_iter().collect(),
        ..Plan::default()
    };
    plan.launch(pipe).map_err(|failure| io::Error::new(failure.error.kind(), failure.to_string()))
}

impl Preparation {
    pub(crate) fn new(pipe: File) -> Self {
        Self { pipe, received: Vec::new(), obstacle: None }
    }

    /// Handles the messages so far: logs what is to be logged, and keeps the last obstacle. Returns
    /// the first failure; errors are those of [`next_message`](Self::next_message).
    pub(crate) fn next_failure(&mut self, mut log: impl FnMut(Level, String)) -> io::Result<(Level, String)> {
        for _ in 0..BATCH {
            match self.next_message()? {
                Message::Log(level, text) => log(level, text),
                Message::Obstacle(text) => self.obstacle = Some(text),
                Message::Failure(level, text) => return Ok((level, text)),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Returns the next message; [`io::ErrorKind::WouldBlock`] if there is none yet,
    /// [`io::ErrorKind::UnexpectedEof`] once there will be none, and [`io::ErrorKind::InvalidData`]
    /// for what is none.
    fn next_message(&mut self) -> io::Result<Message> {
        let mut block = [0; 4096];
        loop {
            if let Some(message) = Message::take(&mut self.received)? {
                return Ok(message);
            }
            match self.pipe.read(&mut block) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Message {
    /// Encodes the message for the pipe: the length of what follows, a byte for the kind, one for
    /// the level, the text.
    fn encode(&self) -> Vec<u8> {
        let (kind, level, text) = match self {
            Self::Log(level, text) => (1, *level, text),
            Self::Obstacle(text) => (2, Level::Critical, text),
            Self::Failure(level, text) => (3, *level, text),
        };
        let text = &text.as_bytes()[..text.len().min(LONGEST)];
        let length = u32::try_from(2 + text.len()).unwrap_or(0);
        [&length.to_le_bytes()[..], &[kind, level as u8], text].concat()
    }

    /// Takes the message at the beginning of what has come, if all of it has. A record of what
    /// failed between fork and exec is one, too.
    fn take(received: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a message");
        if let Some(failure) = received.get(..spawn::RECORD).and_then(spawn::failure) {
            received.drain(..spawn::RECORD);
            return Ok(Some(Self::from_failure(&failure)));
        }
        let Some((length, rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == u32::MAX as usize && received.len() < spawn::RECORD {
            return Ok(None);
        }
        if !(2..=2 + LONGEST).contains(&length) {
            return Err(malformed());
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let (kind, level) = (message[0], Level::from_number(message[1]).ok_or_else(malformed)?);
        let text = plain(&message[2..]);
        received.drain(..4 + length);
        match kind {
            1 => Ok(Some(Self::Log(level, text))),
            2 => Ok(Some(Self::Obstacle(text))),
            3 => Ok(Some(Self::Failure(level, text))),
            _ => Err(malformed()),
        }
    }

    /// Creates the message about a failure of this program's own start.
    fn from_failure(failure: &Failure) -> Self {
        let text = format!(
            "{NO_PROCESS}: no process can be started: {failure}. Are there too many processes (ulimit -u, pids.max) or open \
             files (ulimit -n), or is /proc not mounted?"
        );
        if failure.step.is_fatal() {
            Self::Failure(Level::Alert, text)
        } else {
            Self::Log(Level::Warning, text)
        }
    }
}

/// Returns a text as it may stand in a line of the log: names of users and paths can contain
/// anything.
fn plain(text: &[u8]) -> String {
    let mut plain = String::new();
    for character in String::from_utf8_lossy(text).chars() {
        if character.is_control() { plain.extend(character.escape_default()) } else { plain.push(character) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_come_back_as_plain_text() {
        let (reader, writer) = os::descriptors::pipe().unwrap();
        let (mut preparation, mut writer) = (Preparation::new(reader.into()), File::from(writer));
        let messages = [
            Message::Log(Level::Info, "grüße".into()),
            Message::Obstacle("it hangs".into()),
            Message::Failure(Level::Alert, "there is none".into()),
        ];
        assert_eq!(preparation.next_message().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for message in &messages {
            writer.write_all(&message.encode()).unwrap();
        }
        for message in messages {
            assert_eq!(preparation.next_message().unwrap(), message);
        }
        let forged = Message::Log(Level::Info, "x\n[core:alert] forged\u{85}".into()).encode();
        writer.write_all(&forged).unwrap();
        let received = Message::Log(Level::Info, "x\\n[core:alert] forged\\u{85}".into());
        assert_eq!(preparation.next_message().unwrap(), received);
        let long = Message::Failure(Level::Error, "ä".repeat(LONGEST)).encode();
        writer.write_all(&long).unwrap();
        assert_eq!(
            preparation.next_message().unwrap(),
            Message::Failure(Level::Error, "ä".repeat(LONGEST / 2))
        );
        drop(writer);
        assert_eq!(preparation.next_message().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn failures_before_exec_are_messages() {
        let plan = Plan { programs: vec![c"/nonexistent/supervisor".into()], ..Plan::default() };
        let Launched { child, pipe } = plan.launch(7).unwrap();
        let mut preparation = Preparation::new(pipe.into());
        child.wait().unwrap();
        let received = preparation.next_message().unwrap();
        let Message::Failure(Level::Alert, text) = received else { panic!("{received:?}") };
        assert!(
            text.contains("WSGI0001: no process can be started: starting the program: No such file"),
            "{text}"
        );
        assert_eq!(preparation.next_message().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut received = bytes.clone();
            while let Ok(Some(message)) = Message::take(&mut received) {
                let (Message::Log(_, text) | Message::Obstacle(text) | Message::Failure(_, text)) = message;
                prop_assert!(!text.chars().any(char::is_control));
            }
            prop_assert!(received.len() <= bytes.len());
        }
    }
}
