//! The datagrams of telemetry: a header, then fields that each tell their id and type.

use super::field::{Float, Floats, Integer, Integers, Text};

/// The longest datagram, in bytes. Fields that it has no room for are left out.
pub const LONGEST: usize = 8192;

const MAGIC: &[u8; 4] = b"WSGI";
const VERSION: u8 = 1;

/// The kind of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The requests and resources of an interval.
    Sample = 2,
    /// A slow request.
    SlowRequest = 4,
    /// A process reports from now on.
    Started = 5,
    /// A process is going to end.
    Stopping = 6,
    /// A process ends.
    Stopped = 7,
    /// The garbage collector of an interpreter.
    GcSnapshot = 8,
    /// A collection.
    GcEvent = 9,
}

/// A datagram in the making, whose memory is used again for the next one.
#[derive(Debug, Default)]
pub struct Datagram(Vec<u8>);

impl Datagram {
    /// Begins a datagram of a process. `sequence` counts those of its kind, and `stamp` is in
    /// seconds since the epoch.
    pub fn begin(&mut self, kind: Kind, process: u32, sequence: u32, stamp: f64) {
        let bytes = &mut self.0;
        bytes.clear();
        bytes.reserve(LONGEST);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
        bytes.extend_from_slice(&process.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&stamp.to_le_bytes());
    }

    /// Appends a number.
    pub fn integer(&mut self, field: Integer, value: u64) {
        self.number(field.0, 1, &value.to_le_bytes());
    }

    /// Appends a number with a fraction. Times are in seconds.
    pub fn float(&mut self, field: Float, value: f64) {
        self.number(field.0, 2, &value.to_le_bytes());
    }

    /// Appends a text, unless it is empty.
    pub fn text(&mut self, field: Text, value: &[u8]) {
        let begin = self.0.len();
        append_text(&mut self.0, field, &[value]);
        self.end_field(begin);
    }

    /// Appends fields that were made before.
    pub(super) fn fields(&mut self, fields: &[u8]) {
        let begin = self.0.len();
        self.0.extend_from_slice(fields);
        self.end_field(begin);
    }

    /// Appends a list of counts; those that are too large for the format are as large as it allows.
    pub fn integers(&mut self, field: Integers, values: impl ExactSizeIterator<Item = u64>) {
        let count = values.len();
        self.list(
            field.0,
            5,
            count,
            values.map(|value| i32::try_from(value).unwrap_or(i32::MAX).to_le_bytes()),
        );
    }

    /// Appends a list of numbers with fractions.
    pub fn floats(&mut self, field: Floats, values: impl ExactSizeIterator<Item = f64>) {
        let count = values.len();
        self.list(field.0, 6, count, values.map(f64::to_le_bytes));
    }

    /// Returns the datagram.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn number(&mut self, id: u16, form: u8, value: &[u8; 8]) {
        let begin = self.0.len();
        self.0.extend_from_slice(&id.to_le_bytes());
        self.0.push(form);
        self.0.extend_from_slice(value);
        self.end_field(begin);
    }

    fn list<const N: usize>(
        &mut self,
        id: u16,
        form: u8,
        count: usize,
        values: impl Iterator<Item = [u8; N]>,
    ) {
        let begin = self.0.len();
        if begin_field(&mut self.0, id, form, count) {
            for value in values {
                self.0.extend_from_slice(&value);
            }
            self.end_field(begin);
        }
    }

    /// Ends the field that begins there; takes it back if it is too long.
    fn end_field(&mut self, begin: usize) {
        if self.0.len() > LONGEST {
            self.0.truncate(begin);
        }
    }
}

/// Appends a text in pieces to fields, unless it is empty.
pub(super) fn append_text(fields: &mut Vec<u8>, field: Text, pieces: &[&[u8]]) {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    if length > 0 && begin_field(fields, field.0, 4, length) {
        pieces.iter().for_each(|piece| fields.extend_from_slice(piece));
    }
}

/// Begins a field. Returns whether a field can have so many elements.
fn begin_field(fields: &mut Vec<u8>, id: u16, form: u8, count: usize) -> bool {
    let Ok(count) = u16::try_from(count) else { return false };
    fields.extend_from_slice(&id.to_le_bytes());
    fields.push(form);
    fields.extend_from_slice(&count.to_le_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::super::field;
    use super::*;

    #[test]
    fn a_datagram_is_a_header_and_fields() {
        let mut datagram = Datagram::default();
        datagram.begin(Kind::GcEvent, 9, 9, 9.0);
        datagram.begin(Kind::Sample, 0x0102, 3, 1.5);
        datagram.integer(field::REQUEST_COUNT, 7);
        datagram.float(field::SAMPLE_PERIOD, 1.0);
        datagram.text(field::HOSTNAME, b"h");
        datagram.text(field::PROCESS_GROUP, b"");
        datagram.integers(field::THREADS_COMPLETED, [1, u64::MAX].into_iter());
        datagram.floats(field::THREADS_CPU_TIME, [0.5].into_iter());
        let mut expected = b"WSGI\x01\x02\0\0\x02\x01\0\0\x03\0\0\0".to_vec();
        expected.extend_from_slice(&1.5_f64.to_le_bytes());
        expected.extend_from_slice(b"\x14\0\x01\x07\0\0\0\0\0\0\0\x0a\0\x02");
        expected.extend_from_slice(&1.0_f64.to_le_bytes());
        expected.extend_from_slice(
            b"\x05\0\x04\x01\0h\x6e\0\x05\x02\0\x01\0\0\0\xff\xff\xff\x7f\x70\0\x06\x01\0",
        );
        expected.extend_from_slice(&0.5_f64.to_le_bytes());
        assert_eq!(datagram.bytes(), expected);
    }

    #[test]
    fn a_field_that_has_no_room_is_left_out() {
        let mut datagram = Datagram::default();
        datagram.begin(Kind::Sample, 1, 1, 0.0);
        datagram.text(field::HOSTNAME, &[b'x'; LONGEST - 24 - 5]);
        assert_eq!(datagram.bytes().len(), LONGEST);
        datagram.integer(field::REQUEST_COUNT, 1);
        datagram.integers(field::THREADS_COMPLETED, [].into_iter());
        datagram.text(field::HOSTNAME, &vec![0; usize::from(u16::MAX) + 1]);
        assert_eq!(datagram.bytes().len(), LONGEST);
    }
}
