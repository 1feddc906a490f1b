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
        let version = byte(&known[..2])?;
        let is_whole = match version {
            0 => rest.is_empty(),
            u8::MAX => false,
            _ => matches!(rest, [] | [b'-', ..]),
        };
        if !dashes || !is_whole {
            return None;
        }
        let flags = byte(&known[53..])?;
        Some(Self {
            trace: TraceId::new(bytes(&known[Self::TRACE])?)?,
            span: SpanId::new(bytes(&known[36..52])?)?,
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

/// Returns the byte that two digits stand for.
#[inline]
fn byte(digits: &[u8]) -> Option<u8> {
    let &[high, low] = digits else { return None };
    let number = number([b'0', b'0', b'0', b'0', b'0', b'0', high, low])?;
    u8::try_from(number).ok()
}

/// Returns the bytes that `digits` stand for: eight digits for four bytes.
#[inline]
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (part, digits) in bytes.as_chunks_mut().0.iter_mut().zip(digits.as_chunks().0) {
        *part = number(*digits)?.to_be_bytes();
    }
    Some(bytes)
}

#[inline]
fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    for (part, digits) in bytes.as_chunks().0.iter().zip(digits.as_chunks_mut().0) {
        *digits = self::digits(u32::from_be_bytes(*part));
    }
}

/// The same byte eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Returns the digits of a number, all at once: each request in a trace pays for some fifty. Letters
/// are small ones, as the standard wants.
#[inline]
const fn digits(number: u32) -> [u8; 8] {
    let mut values = number as u64;
    values = (values | values << 16) & 0x0000_ffff_0000_ffff;
    values = (values | values << 8) & 0x00ff_00ff_00ff_00ff;
    values = (values | values << 4) & each(0x0f);
    // From 10 on, letters follow.
    let letters = ((values + each(6)) >> 4) & each(1);
    (values + each(b'0') + letters * (b'a' - b'9' - 1) as u64).to_be_bytes()
}

/// Returns the number that has these digits.
#[inline]
fn number(digits: [u8; 8]) -> Option<u32> {
    let text = u64::from_be_bytes(digits);
    // Letters have the bit 6, and end as 1 to 6.
    let mut values = (text & each(0x0f)) + ((text >> 6) & each(1)) * 9;
    values = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    values = (values | values >> 8) & 0x0000_ffff_0000_ffff;
    let number = (values | values >> 16) as u32;
    // What were no digits are others now.
    (self::digits(number) == digits).then_some(number)
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

    #[test]
    fn digits_are_those_of_the_number() {
        for value in [0, 1, 0x0123_4567, 0x89ab_cdef, 0x0f0f_f0f0, u32::MAX, 0xa0b9_c8d7] {
            let text = format!("{value:08x}");
            assert_eq!((digits(value).as_slice(), number(digits(value))), (text.as_bytes(), Some(value)));
        }
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *b"0f1e2d3c";
                text[place] = byte;
                let parsed =
                    std::str::from_utf8(&text).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
                let is_digit = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                assert_eq!(number(text), parsed.filter(|_| is_digit), "{text:?}");
            }
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
