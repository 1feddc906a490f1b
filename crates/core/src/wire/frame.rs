//! Frames: the messages about requests between an Apache child and a daemon process.
//!
//! A frame is a header of eight bytes (length of the payload, kind, flags, two bytes of zero) and
//! its payload. On each connection the daemon speaks first: [`Kind::Hello`]. Then, for each
//! request:
//!
//! | child | daemon | |
//! |---|---|---|
//! | `Request` | | all that is known, and the beginning of the body if that has arrived |
//! | | `Reject` | instead of all that follows: the application has not been called |
//! | | `Pull` | the application wants more of the body, at most so much |
//! | `Body`, `BodyFile` | | the answer to that |
//! | | `Log` | a line for the server's log |
//! | | `Head` | status and headers |
//! | | `Data`, `File` | the body |
//! | | `End` | how it ended; a connection that is closed before that broke the request off |
//!
//! A `Request` may also be a question to a script of one of the server's hooks. Then these follow:
//!
//! | child | daemon | |
//! |---|---|---|
//! | | `Reject` | instead of all that follows: the script has not been asked |
//! | | `Log` | a line for the server's log |
//! | | `Lookup` | the script wants a variable of TLS |
//! | `Value` | | the answer to that |
//! | | `Answer` | the end |
//!
//! A connection is used by one request at a time. What has not been read when the daemon closes a
//! connection is a request that it has not seen: the kernel then reports a reset to the child,
//! which may send it elsewhere.

use super::codec::Malformed;

/// Length of a frame's header, in bytes.
pub const HEADER: usize = 8;

/// The longest payload of a `Request`, in bytes.
pub const LONGEST_REQUEST: usize = 16 << 20;

/// The longest payload of a `Head`, in bytes.
pub const LONGEST_HEAD: usize = 16 << 20;

/// The longest payload of a `Data` or `Body`, in bytes; what is longer is sent in several.
pub const LONGEST_BLOCK: usize = 1 << 20;

/// The longest payload of an `End`, in bytes.
pub const LONGEST_END: usize = 16;

/// The longest payload of an `Answer`, in bytes.
pub const LONGEST_ANSWER: usize = 1 << 20;

/// The longest payload of a `Lookup`, in bytes.
pub const LONGEST_NAME: usize = 1 << 10;

/// The longest payload of a `Value`, in bytes: a chain of certificates is long.
pub const LONGEST_VALUE: usize = 1 << 20;

/// The longest line in a `Log`, in bytes; what is longer is cut.
pub const LONGEST_LINE: usize = 8 << 10;

/// The longest line with fields for the log.
pub const LONGEST_RECORD: usize = crate::log_record::LONGEST;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $longest:expr;)*) => {
        /// The kind of a frame.
        #[repr(u8)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn of(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Returns the longest payload, in bytes.
            #[must_use]
            pub const fn longest(self) -> usize {
                match self { $(Self::$name => $longest,)* }
            }
        }
    };
}

kinds! {
    /// Child: a request, or a question; the payload is the bridge's, and begins with its kind.
    /// [`flag::ALONE`]: nobody else waits.
    Request = 1, LONGEST_REQUEST;
    /// Child: a piece of the request's body. [`flag::LAST`]: there is no more. [`flag::FAILED`]: it
    /// cannot be read.
    Body = 2, LONGEST_BLOCK;
    /// Child: the length of the request's body (eight bytes), and with the first byte of the frame
    /// the descriptor of a regular file, open for reading only, that contains all of it. The answer
    /// to the one [`Kind::Pull`] of a request that has announced it.
    BodyFile = 4, 8;
    /// Child: the variable that a [`Kind::Lookup`] has named; nothing if there is none.
    Value = 3, LONGEST_VALUE;
    /// Daemon: schema (eight bytes) and process id (four).
    Hello = 16, 12;
    /// Daemon: wants at most so many bytes of the body (four bytes), answered by one [`Kind::Body`]
    /// with at least one byte unless it is the last, before it may want more. Meanwhile it may say
    /// other things, and end the response: then that stays without an answer. 0: only tell a
    /// waiting client to continue; that has no answer.
    Pull = 17, 4;
    /// Daemon: status, reason, headers, as the bridge's `Head`.
    Head = 18, LONGEST_HEAD;
    /// Daemon: a piece of the response's body. [`flag::FLUSH`]: send it now. [`flag::LAST`]: the
    /// application has returned, and wants no more of the request's body.
    Data = 19, LONGEST_BLOCK;
    /// Daemon: offset and length (eight bytes each) in the regular file whose descriptor comes with
    /// the first byte of the frame.
    File = 20, 16;
    /// Daemon: level (one byte) and text of a line for the log.
    Log = 21, LONGEST_RECORD + 1;
    /// Daemon: the outcome of the request (four bytes), as on the bridge, and the parts of its time
    /// (four bytes each), as the process says.
    End = 22, LONGEST_END;
    /// Daemon: why the application has not been called (one byte, see [`Rejection`]).
    Reject = 23, 1;
    /// Daemon: the name of a variable of TLS, answered by one [`Kind::Value`] before anything else is
    /// sent.
    Lookup = 24, LONGEST_NAME;
    /// Daemon: the answer to a question, as the bridge's `Answer`; the end of it.
    Answer = 25, LONGEST_ANSWER;
}

/// Flags of a frame's header.
pub mod flag {
    /// The application may take its time for the next block.
    pub const FLUSH: u8 = 1;
    /// There is no more.
    pub const LAST: u8 = 1 << 1;
    /// There is more, but it cannot be read.
    pub const FAILED: u8 = 1 << 2;
    /// As far as the child sees, no other request is on its way to a process.
    pub const ALONE: u8 = 1 << 3;
}

/// The reason why a daemon has not called the application.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Another process takes over: send it there.
    Moved = 1,
    /// More requests wait than may.
    Busy = 2,
    /// The request has waited for longer than it may.
    Late = 3,
}

impl Rejection {
    /// Parses the payload of a [`Kind::Reject`].
    ///
    /// # Errors
    /// There is no such reason.
    pub const fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        match payload {
            [1] => Ok(Self::Moved),
            [2] => Ok(Self::Busy),
            [3] => Ok(Self::Late),
            _ => Err(Malformed),
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The kind.
    pub kind: Kind,
    /// A set of [`mod@flag`] values.
    pub flags: u8,
    /// Length of the payload, in bytes; at most [`Kind::longest`].
    pub length: usize,
}

impl Header {
    /// Encodes the header. (A payload is shorter than four gigabytes.)
    #[must_use]
    pub const fn bytes(&self) -> [u8; HEADER] {
        let [a, b, c, d] = (self.length as u32).to_le_bytes();
        [a, b, c, d, self.kind as u8, self.flags, 0, 0]
    }

    /// Parses the first bytes of `buffer`. Returns `None` if there are too few.
    ///
    /// # Errors
    /// It is no header, or of a payload that is too long.
    pub fn parse(buffer: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(&[a, b, c, d, kind, flags, 0, 0]) = buffer.first_chunk::<HEADER>() else {
            return if buffer.len() < HEADER { Ok(None) } else { Err(Malformed) };
        };
        let kind = Kind::of(kind).ok_or(Malformed)?;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| Malformed)?;
        if length > kind.longest() { Err(Malformed) } else { Ok(Some(Self { kind, flags, length })) }
    }
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The kind.
    pub kind: Kind,
    /// A set of [`mod@flag`] values.
    pub flags: u8,
    /// The content.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Parses the first frame in `buffer`. Returns `None` if it is not complete. `total` bytes of
    /// it belong to the frame.
    ///
    /// # Errors
    /// It is no frame, or one that is too long.
    pub fn parse(buffer: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(Header { kind, flags, length }) = Header::parse(buffer)? else { return Ok(None) };
        let total = HEADER + length;
        Ok(buffer.get(HEADER..total).map(|payload| (Self { kind, flags, payload }, total)))
    }
}

/// Sets the flags of the frame at the beginning of `buffer`.
pub fn set_flags(buffer: &mut [u8], flags: u8) {
    if let Some(byte) = buffer.get_mut(5) {
        *byte = flags;
    }
}

/// Appends a frame to `buffer`; `payload` writes what is in it.
pub fn append(buffer: &mut Vec<u8>, kind: Kind, flags: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    payload(buffer);
    let length = buffer.len() - start - HEADER;
    buffer[start..start + HEADER].copy_from_slice(&Header { kind, flags, length }.bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_come_back() {
        let mut buffer = Vec::new();
        append(&mut buffer, Kind::Log, 0, |payload| payload.extend_from_slice(b"\x03line"));
        append(&mut buffer, Kind::Data, flag::FLUSH, |payload| payload.extend_from_slice(b"data"));
        let (first, length) = Frame::parse(&buffer).unwrap().unwrap();
        assert_eq!(first, Frame { kind: Kind::Log, flags: 0, payload: b"\x03line" });
        let (second, rest) = Frame::parse(&buffer[length..]).unwrap().unwrap();
        assert_eq!(second, Frame { kind: Kind::Data, flags: flag::FLUSH, payload: b"data" });
        assert_eq!(length + rest, buffer.len());
        set_flags(&mut buffer, flag::ALONE);
        assert_eq!(Frame::parse(&buffer).unwrap().unwrap().0.flags, flag::ALONE);
        for cut in 0..length {
            assert_eq!(Frame::parse(&buffer[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn invalid_frames_are_refused() {
        assert_eq!(Header::parse(&[0, 0, 0, 0, 99, 0, 0, 0]), Err(Malformed), "an unknown kind");
        assert_eq!(Header::parse(&[0, 0, 0, 0, 19, 0, 1, 0]), Err(Malformed), "reserved bytes");
        assert_eq!(Rejection::parse(&[9]), Err(Malformed));
        for &kind in Kind::ALL {
            let longest = Header { kind, flags: 0, length: kind.longest() };
            assert_eq!(Header::parse(&longest.bytes()), Ok(Some(longest)));
            let longer = Header { length: kind.longest() + 1, ..longest };
            assert_eq!(Header::parse(&longer.bytes()), Err(Malformed), "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some((frame, length))) = Frame::parse(&bytes) {
                prop_assert_eq!(length, HEADER + frame.payload.len());
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
