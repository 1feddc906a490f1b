//! The record of a question to a script of one of the server's hooks, and the answers.
//!
//! Both are plain data without pointers into the server: the question and the answer can be
//! written to the wire as well ([`Question::encode`], [`Answer::encode`]).

use std::fmt;

use wsgi_core::wire::frame::LONGEST_ANSWER;
use wsgi_core::wire::{Malformed, Reader, Writer};

use crate::tag::tagged;
use crate::{Bytes, Exchange, RequestFacts, Sink, Tag};

/// The subject of a question, which determines the function that is called and its arguments after
/// the environ.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `allow_access(environ, host)`.
    Access = 1,
    /// `check_password(environ, user, password)`.
    Password = 2,
    /// `get_realm_hash(environ, user, realm)`.
    RealmHash = 3,
    /// `groups_for_user(environ, user)`.
    Groups = 4,
    /// `process_group(environ)`, `application_group(environ)` and `callable_object(environ)`.
    Route = 5,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 5] = [Self::Access, Self::Password, Self::RealmHash, Self::Groups, Self::Route];

    /// Returns the topic of that number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| *topic as u32 == number)
    }

    /// Returns whether the answer lets somebody in, or not.
    #[must_use]
    pub const fn decides_access(self) -> bool {
        !matches!(self, Self::Route)
    }
}

/// A question to a script. The facts name the script and its application group.
#[repr(C)]
pub struct Question<'a> {
    /// [`Tag::of`] this.
    pub tag: Tag,
    /// The request that it is about. Which of them are in the environ depends on the topic.
    pub facts: RequestFacts<'a>,
    /// The number of the [`Topic`].
    pub topic: u32,
    /// The time for the answer, in milliseconds.
    pub time_limit: u32,
    /// The arguments of the function, after the environ; absent ones are not passed.
    pub arguments: [Bytes<'a>; 2],
    /// The items of a WSGI environ that a [`Topic::Route`] has, too.
    pub route: QuestionRoute<'a>,
}

/// The items of a WSGI environ that are known when a request is dispatched; absent for other topics.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct QuestionRoute<'a> {
    /// See [`Request::request_handler`](crate::Request::request_handler).
    pub request_handler: Bytes<'a>,
    /// See [`Request::handler_script`](crate::Request::handler_script).
    pub handler_script: Bytes<'a>,
    /// See [`Request::script_name`](crate::Request::script_name).
    pub script_name: Bytes<'a>,
    /// See [`Request::path_info`](crate::Request::path_info).
    pub path_info: Bytes<'a>,
    /// See [`Request::mount_point`](crate::Request::mount_point).
    pub mount_point: Bytes<'a>,
}

impl QuestionRoute<'_> {
    /// No items.
    pub const ABSENT: Self = Self {
        request_handler: Bytes::ABSENT,
        handler_script: Bytes::ABSENT,
        script_name: Bytes::ABSENT,
        path_info: Bytes::ABSENT,
        mount_point: Bytes::ABSENT,
    };
}

/// The reply to a [`Question`].
#[repr(C)]
pub struct QuestionReply<'a> {
    tag: Tag,
    exchange: Exchange<'a>,
    /// The place for the encoded [`Answer`]; nothing stands for [`Answer::Failed`].
    pub answer: Sink<'a>,
}

tagged!(Question<'_>, QuestionReply<'_>);

/// Shows no argument: one of them may be a password.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl fmt::Debug for QuestionReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuestionReply").finish_non_exhaustive()
    }
}

impl<'a> QuestionReply<'a> {
    /// Returns a reply that is put into `answer`. The script logs, and looks up variables of TLS,
    /// through `exchange`.
    #[must_use]
    pub const fn new(exchange: Exchange<'a>, answer: Sink<'a>) -> Self {
        Self { tag: Tag::of::<QuestionReply<'_>>(), exchange, answer }
    }

    /// Returns the exchange for the log and variables of TLS.
    #[must_use]
    pub const fn exchange(&self) -> Exchange<'a> {
        self.exchange
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// There is none, which has been logged: the request is refused.
    #[default]
    Failed,
    /// `True`.
    Yes,
    /// `False`.
    No,
    /// `None`: the script leaves it to others.
    Unknown,
    /// A text that is not empty: a user, or a hash.
    Text(Vec<u8>),
    /// The groups of a user.
    Groups(Vec<Vec<u8>>),
    /// The groups of a user up to an exception: there may be more.
    SomeGroups(Vec<Vec<u8>>),
    /// The place where a request goes.
    Route(ChosenRoute),
    /// The script could not be loaded, which has been logged.
    NotLoaded,
    /// No answer has come within the time limit.
    TimedOut,
    /// The script is not asked: it has not returned from too many calls.
    Overdue,
}

/// The names that a dispatch script has chosen, unexpanded; `None` keeps what is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChosenRoute {
    /// The process group.
    pub process_group: Option<Vec<u8>>,
    /// The application group.
    pub application_group: Option<Vec<u8>>,
    /// The callable.
    pub callable_object: Option<Vec<u8>>,
}

impl Answer {
    /// The most bytes of an encoded answer.
    pub const LONGEST: usize = LONGEST_ANSWER;

    /// Appends the answer to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let mut writer = Writer::new(buffer);
        writer.u8(match self {
            Self::Failed => 0,
            Self::Yes => 1,
            Self::No => 2,
            Self::Unknown => 3,
            Self::Text(_) => 4,
            Self::Groups(_) => 5,
            Self::Route(_) => 6,
            Self::NotLoaded => 7,
            Self::TimedOut => 8,
            Self::Overdue => 9,
            Self::SomeGroups(_) => 10,
        });
        match self {
            Self::Text(text) => writer.bytes(text),
            Self::Groups(groups) | Self::SomeGroups(groups) => {
                writer.list(groups.iter(), |writer, group| writer.bytes(group))
            }
            Self::Route(route) => {
                for name in [&route.process_group, &route.application_group, &route.callable_object] {
                    writer.optional(name.as_deref());
                }
            }
            _ => {}
        }
    }

    /// Decodes the answer in `message`.
    ///
    /// # Errors
    /// The message is no answer.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let groups = |reader: &mut Reader<'_>| {
            let count = reader.count()?;
            (0..count).map(|_| reader.bytes().map(<[u8]>::to_vec)).collect::<Result<_, _>>()
        };
        let answer = match reader.u8()? {
            0 => Self::Failed,
            1 => Self::Yes,
            2 => Self::No,
            3 => Self::Unknown,
            4 => Self::Text(reader.bytes()?.to_vec()),
            5 => Self::Groups(groups(&mut reader)?),
            6 => {
                let mut name = || reader.optional().map(|name| name.map(<[u8]>::to_vec));
                Self::Route(ChosenRoute {
                    process_group: name()?,
                    application_group: name()?,
                    callable_object: name()?,
                })
            }
            7 => Self::NotLoaded,
            8 => Self::TimedOut,
            9 => Self::Overdue,
            10 => Self::SomeGroups(groups(&mut reader)?),
            _ => return Err(Malformed),
        };
        reader.end().map(|()| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Answer> {
        let route = ChosenRoute {
            process_group: Some(b"g".to_vec()),
            application_group: None,
            callable_object: Some(Vec::new()),
        };
        vec![
            Answer::Failed,
            Answer::Yes,
            Answer::No,
            Answer::Unknown,
            Answer::Text(b"user".to_vec()),
            Answer::Groups(vec![]),
            Answer::Groups(vec![b"a".to_vec(), Vec::new()]),
            Answer::Route(route),
            Answer::SomeGroups(vec![b"a".to_vec()]),
            Answer::NotLoaded,
            Answer::TimedOut,
            Answer::Overdue,
        ]
    }

    #[test]
    fn answers_survive_the_crossing() {
        for answer in all() {
            let mut message = Vec::new();
            answer.encode(&mut message);
            assert_eq!(Answer::decode(&message), Ok(answer.clone()));
            for length in 0..message.len() {
                assert_eq!(Answer::decode(&message[..length]), Err(Malformed), "{answer:?}");
            }
            message.push(0);
            assert_eq!(Answer::decode(&message), Err(Malformed), "{answer:?}");
        }
        assert_eq!(Answer::decode(&[11]), Err(Malformed));
    }

    #[test]
    fn topics_have_numbers() {
        for topic in Topic::ALL {
            assert_eq!(Topic::from_number(topic as u32), Some(topic));
        }
        assert_eq!(Topic::from_number(0), None);
    }
}
