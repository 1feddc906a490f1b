//! Borrowed data that both sides can read.

use std::ffi::c_void;
use std::marker::PhantomData;

/// A borrowed byte string, or no value (which differs from an empty one).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    pointer: *const u8,
    length: usize,
    borrow: PhantomData<&'a [u8]>,
}

// SAFETY: a `Bytes` is a shared borrow of plain bytes, as `&[u8]` is.
unsafe impl Send for Bytes<'_> {}
// SAFETY: a `Bytes` is a shared borrow of plain bytes, as `&[u8]` is.
unsafe impl Sync for Bytes<'_> {}

impl<'a> Bytes<'a> {
    /// No value.
    pub const ABSENT: Self = Self { pointer: std::ptr::null(), length: 0, borrow: PhantomData };

    /// Returns the bytes of `value`.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self { pointer: value.as_ptr(), length: value.len(), borrow: PhantomData }
    }

    /// Returns the bytes of `value`, or [`Bytes::ABSENT`].
    #[must_use]
    pub fn optional(value: Option<&'a [u8]>) -> Self {
        value.map_or(Self::ABSENT, Self::new)
    }

    /// Returns the bytes, or `None` if there is no value.
    #[must_use]
    #[inline]
    pub fn get(self) -> Option<&'a [u8]> {
        if self.pointer.is_null() {
            return None;
        }
        // SAFETY: a non-null pointer comes from `new` only, on this or the other side of the
        // bridge, and so points at `length` bytes that are borrowed for `'a`.
        Some(unsafe { std::slice::from_raw_parts(self.pointer, self.length) })
    }

    /// Returns the bytes; empty if there is no value.
    #[must_use]
    #[inline]
    pub fn or_empty(self) -> &'a [u8] {
        self.get().unwrap_or_default()
    }

    /// Returns the text, with anything that is not UTF-8 replaced; empty if there is no value.
    #[must_use]
    pub fn to_text(self) -> String {
        String::from_utf8_lossy(self.or_empty()).into_owned()
    }
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::new(value)
    }
}

impl<'a> From<&'a str> for Bytes<'a> {
    fn from(value: &'a str) -> Self {
        Self::new(value.as_bytes())
    }
}

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get() {
            Some(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            None => f.write_str("absent"),
        }
    }
}

/// A borrowed array.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    pointer: *const T,
    length: usize,
    borrow: PhantomData<&'a [T]>,
}

impl<T: std::fmt::Debug> std::fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().fmt(f)
    }
}

// SAFETY: a `List` is a shared borrow, as `&[T]` is.
unsafe impl<T: Sync> Send for List<'_, T> {}
// SAFETY: a `List` is a shared borrow, as `&[T]` is.
unsafe impl<T: Sync> Sync for List<'_, T> {}

impl<'a, T> List<'a, T> {
    /// Returns the elements of `items`.
    #[must_use]
    pub const fn new(items: &'a [T]) -> Self {
        Self { pointer: items.as_ptr(), length: items.len(), borrow: PhantomData }
    }

    /// Returns the elements.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &'a [T] {
        // SAFETY: made by `new` only, so the pointer (never null) and the length are a slice's,
        // borrowed for `'a`.
        unsafe { std::slice::from_raw_parts(self.pointer, self.length) }
    }
}

/// A buffer that the other side fills with bytes that this side has asked for.
#[repr(C)]
pub struct Sink<'a> {
    buffer: *mut c_void,
    append: unsafe extern "C" fn(buffer: *mut c_void, bytes: Bytes<'_>),
    borrow: PhantomData<&'a mut Vec<u8>>,
}

impl<'a> Sink<'a> {
    /// Returns a sink that appends to `buffer`.
    #[must_use]
    pub fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self { buffer: (&raw mut *buffer).cast(), append, borrow: PhantomData }
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        // SAFETY: made by `new` only, on this or the other side of the bridge, so the function is
        // that side's own, and the buffer one of its vectors, borrowed for `'a`.
        unsafe { (self.append)(self.buffer, Bytes::new(bytes)) }
    }
}

/// Appends to a vector of the side that this function belongs to.
unsafe extern "C" fn append(buffer: *mut c_void, bytes: Bytes<'_>) {
    // SAFETY: called by `put` only.
    let buffer = unsafe { &mut *buffer.cast::<Vec<u8>>() };
    buffer.extend_from_slice(bytes.or_empty());
}

/// A name and its value: a header, an environ variable.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name, as received or configured.
    pub name: Bytes<'a>,
    /// The value.
    pub value: Bytes<'a>,
}

impl wsgi_core::response::HeaderField for Field<'_> {
    fn name(&self) -> &[u8] {
        self.name.or_empty()
    }

    fn value(&self) -> &[u8] {
        self.value.or_empty()
    }
}

/// A setting that is on, off or unset.
pub type Tristate = i8;

/// Returns a [`Tristate`] from what was configured: -1 unset, 0 off, 1 on.
#[must_use]
pub const fn tristate(value: Option<bool>) -> Tristate {
    match value {
        None => -1,
        Some(false) => 0,
        Some(true) => 1,
    }
}

/// Returns the configured value of a [`Tristate`]; `None` if unset.
#[must_use]
pub const fn from_tristate(value: Tristate) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_not_empty() {
        assert_eq!(Bytes::ABSENT.get(), None);
        assert_eq!(Bytes::new(b"").get(), Some(&b""[..]));
        assert_eq!(Bytes::optional(None).get(), None);
        assert_eq!(Bytes::from("x").or_empty(), b"x");
    }

    #[test]
    fn a_sink_takes_bytes() {
        let mut buffer = b"a".to_vec();
        let mut sink = Sink::new(&mut buffer);
        sink.put(b"b");
        sink.put(b"");
        sink.put(b"cd");
        assert_eq!(buffer, b"abcd");
    }

    #[test]
    fn empty_lists_are_slices() {
        assert!(List::<Field<'_>>::new(&[]).as_slice().is_empty());
    }

    #[test]
    fn tristates_survive_the_crossing() {
        for value in [None, Some(false), Some(true)] {
            assert_eq!(from_tristate(tristate(value)), value);
        }
    }
}
