//! Spans: the datagrams in which Apache children tell the exporter of requests that have ended.

use super::codec::{Malformed, Reader, Writer};
use crate::tracing::state;

/// The longest datagram, in bytes.
pub const LONGEST: usize = 10 << 10;

/// The longest text of a span, in bytes.
const LONGEST_TEXT: usize = 1 << 10;

/// A request that was sampled, as Apache has seen it. Texts may have anything in them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Span<'a> {
    /// The id of the trace.
    pub trace: [u8; 16],
    /// The id of the span.
    pub id: [u8; 8],
    /// The id of the caller's span; zeroes if there is none.
    pub parent: [u8; 8],
    /// True if the request was made within another one of this server (a subrequest or a redirect).
    pub is_internal: bool,
    /// The time at which the request was read, in microseconds since the epoch.
    pub start: u64,
    /// The time at which it has ended.
    pub end: u64,
    /// The status of the response.
    pub status: u16,
    /// The method.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// The path of the URL, without the query.
    pub path: &'a [u8],
    /// The name of the server that the client has asked for.
    pub host: &'a [u8],
    /// Its port.
    pub port: u16,
    /// The version of HTTP, such as `1.1`.
    pub protocol: &'a [u8],
    /// The header `tracestate`.
    pub state: &'a [u8],
    /// The address of the client; empty if it is not to be known.
    pub client: &'a [u8],
    /// The process group; empty for embedded mode.
    pub process_group: &'a [u8],
    /// The application group.
    pub application_group: &'a [u8],
    /// The process that had the request; 0 if none had.
    pub pid: u32,
    /// The time that the request waited for a thread of the process, in microseconds; `None` if it
    /// is not known.
    pub queue_time: Option<u64>,
}

impl<'a> Span<'a> {
    /// Returns the datagram; long texts are cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(512);
        let mut writer = Writer::new(&mut buffer);
        for id in [&self.trace[..], &self.id, &self.parent] {
            writer.bytes(id);
        }
        writer.bool(self.is_internal);
        writer.u64(self.start);
        writer.u64(self.end);
        writer.u16(self.status);
        writer.u16(self.port);
        writer.u32(self.pid);
        writer.u64(self.queue_time.map_or(0, |time| time.saturating_add(1)));
        // The part of an entry would be another one.
        let state = state::shortened(self.state, LONGEST_TEXT);
        for text in (Span { state: &state, ..*self }).texts() {
            writer.bytes(&text[..text.len().min(LONGEST_TEXT)]);
        }
        buffer
    }

    /// Parses a datagram.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(datagram);
        let (trace, id, parent) = (reader.bytes()?, reader.bytes()?, reader.bytes()?);
        let mut span = Self {
            trace: trace.try_into().map_err(|_| Malformed)?,
            id: id.try_into().map_err(|_| Malformed)?,
            parent: parent.try_into().map_err(|_| Malformed)?,
            is_internal: reader.bool()?,
            start: reader.u64()?,
            end: reader.u64()?,
            status: reader.u16()?,
            port: reader.u16()?,
            pid: reader.u32()?,
            queue_time: reader.u64()?.checked_sub(1),
            ..Self::default()
        };
        for text in [
            &mut span.method,
            &mut span.scheme,
            &mut span.path,
            &mut span.host,
            &mut span.protocol,
            &mut span.state,
            &mut span.client,
            &mut span.process_group,
            &mut span.application_group,
        ] {
            *text = reader.bytes()?;
        }
        reader.end().map(|()| span)
    }

    /// Returns the texts in their order.
    const fn texts(&self) -> [&'a [u8]; 9] {
        [
            self.method,
            self.scheme,
            self.path,
            self.host,
            self.protocol,
            self.state,
            self.client,
            self.process_group,
            self.application_group,
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span() -> Span<'static> {
        Span {
            trace: [1; 16],
            id: [2; 8],
            parent: [3; 8],
            is_internal: true,
            start: 4,
            end: 5,
            status: 200,
            method: b"GET",
            scheme: b"https",
            path: b"/a",
            host: b"www.example.org",
            port: 8443,
            protocol: b"1.1",
            state: b"a=b",
            client: b"192.0.2.1",
            process_group: b"shop",
            application_group: b"",
            pid: 77,
            queue_time: Some(0),
        }
    }

    #[test]
    fn spans_come_back_whole_or_not_at_all() {
        for span in [span(), Span { queue_time: None, ..span() }, Span::default()] {
            let datagram = span.encode();
            assert_eq!(Span::decode(&datagram), Ok(span));
            for cut in 0..datagram.len() {
                assert_eq!(Span::decode(&datagram[..cut]), Err(Malformed), "cut at {cut}");
            }
        }
    }

    #[test]
    fn no_datagram_is_longer_than_the_longest() {
        let long = [b'x'; 20_000];
        let span = Span {
            method: &long,
            scheme: &long,
            path: &long,
            host: &long,
            protocol: &long,
            state: &long,
            client: &long,
            process_group: &long,
            application_group: &long,
            ..span()
        };
        let datagram = span.encode();
        assert!(datagram.len() <= LONGEST, "{}", datagram.len());
        assert_eq!(Span::decode(&datagram).map(|span| span.path.len()), Ok(LONGEST_TEXT));
    }

    #[test]
    fn no_entry_of_the_state_is_cut() {
        let entry = |number| format!("{number:03}={}", "v".repeat(40));
        let state = (0..30).map(entry).collect::<Vec<_>>().join(",");
        let datagram = Span { state: state.as_bytes(), ..span() }.encode();
        let found = Span::decode(&datagram).map(|span| span.state.to_owned());
        assert_eq!(found, Ok((0..22).map(entry).collect::<Vec<_>>().join(",").into_bytes()));
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Span::decode(&bytes);
        }
    }
}
