//! The context of a trace, and the header `traceparent` that carries it.

use std::fmt;
use std::ops::Range;

/// The id of a trace; never all zeroes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span; never all zeroes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// The position in a trace: the span that the next ones are children of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// True if the spans of the trace are recorded.
    pub is_sampled: bool,
}

/// The flag of sampled traces.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// The length of the header.
    pub const LENGTH: usize = 55;
    /// The place of the trace's id in the header.
    pub const TRACE: Range<usize> = 3..35;

    /// Parses the value of `traceparent`. Returns `None` if it is not valid, upon which a new trace
    /// begins. Of a version after 00, the part that version 00 has is read, as the standard wants.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (known, rest) = header.split_first_chunk::<{ Self::LENGTH }>()?;
        let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        let [version] = hex::<1>(&known[..2])?;
        let is_whole = match version {
            0 => rest.is_empty(),
            u8::MAX => false,
            _ => matches!(rest, [] | [b'-', ..]),
        };
        if !dashes || !is_whole {
            return None;
        }
        let [flags] = hex::<1>(&known[53..])?;
        Some(Self {
            trace: TraceId::new(hex(&known[Self::TRACE])?)?,
            span: SpanId::new(hex(&known[36..52])?)?,
            is_sampled: flags & SAMPLED != 0,
        })
    }

    /// Returns the value of `traceparent`, of version 00.
    #[must_use]
    pub fn header(&self) -> [u8; Self::LENGTH] {
        let mut header = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&self.trace.0, &mut header[Self::TRACE]);
        write_hex(&self.span.0, &mut header[36..52]);
        header[54] = b'0' + u8::from(self.is_sampled);
        header
    }
}

impl TraceId {
    /// Creates an id; `None` if it is all zeroes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the part by which a share of all traces is chosen: a number that is as random as the
    /// id.
    #[must_use]
    pub fn random_part(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl SpanId {
    /// Creates an id; `None` if it is all zeroes.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The values of hexadecimal digits, and [`NO_DIGIT`] for all other bytes. Letters are small ones, as
/// the standard wants.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xff;

/// Returns the bytes that `digits` stand for. (Requests that are not recorded pay for this, so it
/// looks at the end whether all were digits.)
#[inline]
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (mut bytes, mut seen) = ([0; N], 0);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(bytes)
}

fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_as_the_standard_says() {
        let context = TraceContext::parse(VALID.as_bytes()).unwrap();
        assert_eq!(format!("{:?}", context.trace), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(format!("{:?}", context.span), "00f067aa0ba902b7");
        assert_eq!(context.trace.random_part(), 0xa3ce_929d_0e0e_4736);
        assert!(context.is_sampled);
        for (header, is_sampled) in [
            (VALID.replace("-01", "-00"), false),
            (VALID.replace("-01", "-fe"), false),
            (VALID.replace("-01", "-ff"), true),
            (VALID.replacen("00-", "cc-", 1), true),
            (format!("{}-what-comes-later", VALID.replacen("00-", "01-", 1)), true),
        ] {
            let parsed = TraceContext::parse(header.as_bytes()).map(|parsed| parsed.is_sampled);
            assert_eq!(parsed, Some(is_sampled), "{header}");
        }
    }

    #[test]
    fn what_is_not_valid_is_no_context() {
        for header in [
            "".to_owned(),
            VALID.replacen("00-", "ff-", 1),
            VALID.replacen("00-", "0-", 1),
            VALID.replacen("00-", "0x-", 1),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            VALID.replace("00f067aa0ba902b7", "0000000000000000"),
            VALID.replace("4bf9", "4BF9"),
            VALID.replace("4bf9", "+bf9"),
            VALID.replace('-', "_"),
            VALID.replace("-01", "-0"),
            VALID.replace("-01", "-0g"),
            format!("{VALID}-"),
            format!("{VALID} "),
            format!(" {VALID}"),
            format!("{VALID}-more"),
            format!("{VALID}, {VALID}"),
            format!("{}.more", VALID.replacen("00-", "01-", 1)),
            VALID[..54].to_owned(),
        ] {
            assert_eq!(TraceContext::parse(header.as_bytes()), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_header_comes_back(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), is_sampled: bool) {
            let (Some(trace), Some(span)) = (TraceId::new(trace), SpanId::new(span)) else { return Ok(()) };
            let context = TraceContext { trace, span, is_sampled };
            prop_assert_eq!(TraceContext::parse(&context.header()), Some(context));
        }

        #[test]
        fn any_header_is_read_without_panic(header in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceContext::parse(&header);
        }

        #[test]
        fn what_is_like_a_header_is_one_or_none(header in "[0-9a-gA-F-]{50,60}|0[0-1]-[0-9a-f]{32}-[0-9a-f]{16}-0[01](-x)?") {
            if let Some(context) = TraceContext::parse(header.as_bytes()) {
                let known = &header.as_bytes()[3..53];
                prop_assert_eq!(&context.header()[3..53], known);
            }
        }
    }
}
