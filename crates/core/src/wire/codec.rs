//! Values as bytes: integers little-endian, byte strings behind their length.

/// The error of a message that the other side may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a message is not what the other side may send")
    }
}

impl std::error::Error for Malformed {}

/// The length that says that there is no value.
const ABSENT: u32 = u32::MAX;

/// A buffer that values are appended to.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Creates a writer that appends to `buffer`.
    #[must_use]
    pub fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self { buffer }
    }

    /// Appends a byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.buffer.push(value);
    }

    /// Appends a yes or no.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Appends two bytes.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends four bytes.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends eight bytes.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends eight bytes.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends eight bytes.
    pub fn f64(&mut self, value: f64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a length or a number of items. (Nothing that is sent has four billion of anything.)
    #[inline]
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(ABSENT - 1));
    }

    /// Appends a byte string.
    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.buffer.extend_from_slice(value);
    }

    /// Appends a byte string, or none.
    #[inline]
    pub fn optional(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.u32(ABSENT),
        }
    }

    /// Appends items, each written by `write`.
    pub fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Writer<'_>, T),
    ) {
        self.count(items.len());
        for item in items {
            write(self, item);
        }
    }
}

/// A buffer that values are taken from, from its front.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Creates a reader of the values in `buffer`.
    #[must_use]
    pub const fn new(buffer: &'a [u8]) -> Self {
        Self { rest: buffer }
    }

    /// Takes the next `length` bytes.
    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes what [`Writer::u8`] has appended.
    ///
    /// # Errors
    /// All functions here fail if the buffer ends, or holds something else.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes what [`Writer::bool`] has appended.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    /// Takes what [`Writer::u16`] has appended.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes what [`Writer::u32`] has appended.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes what [`Writer::u64`] has appended.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes what [`Writer::i64`] has appended.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// Takes what [`Writer::f64`] has appended.
    pub fn f64(&mut self) -> Result<f64, Malformed> {
        self.array().map(f64::from_le_bytes)
    }

    /// Takes what [`Writer::bytes`] has appended.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        self.optional()?.ok_or(Malformed)
    }

    /// Takes what [`Writer::optional`] has appended.
    #[inline]
    pub fn optional(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.u32()? {
            ABSENT => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
        }
    }

    /// Takes what [`Writer::list`] has appended. Every item takes at least a byte, so a count that
    /// the buffer cannot hold is rejected.
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.count()?;
        // An item may be far longer than its encoding: the rest is reserved as items come.
        let mut items = Vec::with_capacity(count.min(self.rest.len() / size_of::<T>().max(1)));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Takes a number of items that are still to come, each of at least a byte.
    #[inline]
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if count > self.rest.len() { Err(Malformed) } else { Ok(count) }
    }

    /// Returns the bytes that have not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that there is nothing more.
    pub const fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_come_back() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        writer.u8(7);
        writer.bool(true);
        writer.u16(300);
        writer.u32(70_000);
        writer.u64(u64::MAX);
        writer.i64(-5);
        writer.f64(0.25);
        writer.bytes(b"x\0y");
        writer.optional(None);
        writer.optional(Some(b""));
        writer.list([1_u8, 2].into_iter(), |writer, item| writer.u8(item));
        let mut reader = Reader::new(&buffer);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.bool(), Ok(true));
        assert_eq!(reader.u16(), Ok(300));
        assert_eq!(reader.u32(), Ok(70_000));
        assert_eq!(reader.u64(), Ok(u64::MAX));
        assert_eq!(reader.i64(), Ok(-5));
        assert_eq!(reader.f64(), Ok(0.25));
        assert_eq!(reader.bytes(), Ok(&b"x\0y"[..]));
        assert_eq!(reader.optional(), Ok(None));
        assert_eq!(reader.optional(), Ok(Some(&b""[..])));
        assert_eq!(reader.list(Reader::u8), Ok(vec![1, 2]));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn oversized_values_are_refused() {
        assert_eq!(Reader::new(&[1, 0, 0]).u32(), Err(Malformed));
        assert_eq!(Reader::new(&[2]).bool(), Err(Malformed));
        assert_eq!(Reader::new(&[5, 0, 0, 0, b'x']).bytes(), Err(Malformed));
        assert_eq!(Reader::new(&[0xff; 4]).bytes(), Err(Malformed), "absent where it must not be");
        assert_eq!(Reader::new(&[0xfe, 0xff, 0xff, 0xff, 1]).list(Reader::u8), Err(Malformed));
        assert_eq!(Reader::new(&[0]).end(), Err(Malformed));
    }

    #[test]
    fn a_count_reserves_no_more_than_has_come() {
        const ITEMS: usize = 1 << 26;
        let mut buffer = vec![0; 4 + ITEMS];
        buffer[..4].copy_from_slice(&(ITEMS as u32).to_le_bytes());
        // Items of this size would take terabytes, which no system gives.
        let list = Reader::new(&buffer).list(|_| Err::<[u64; 8192], _>(Malformed));
        assert_eq!(list.map(|list| list.len()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(list) = reader.list(|reader| reader.optional().map(|value| value.map(<[u8]>::len))) {
                prop_assert!(list.len() <= bytes.len());
            }
        }
    }
}
