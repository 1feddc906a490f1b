//! Tables: headers, notes, variables.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char};

use httpd_sys as sys;

use crate::pool::{InteriorNul, Pool};
use crate::text;

/// A table of a request or connection. Keys are compared without case.
#[repr(transparent)]
pub struct Table(UnsafeCell<sys::apr_table_t>);

impl Table {
    /// # Safety
    /// `table` is live for as long as `'t`, and is used by the calling thread alone.
    #[inline]
    pub(crate) unsafe fn from_raw<'t>(table: *mut sys::apr_table_t) -> &'t Self {
        // SAFETY: by the caller; the wrapper is transparent.
        unsafe { &*table.cast::<Self>() }
    }

    /// Returns the first value of `key`, or `None` if there is none.
    ///
    /// Values are replaced by pointer and never written to. So a value lives as long as the pool of
    /// the table, even if its entry is removed.
    #[must_use]
    pub fn value(&self, key: &CStr) -> Option<&[u8]> {
        // SAFETY: the table is live; for the result see above.
        unsafe { text::bytes(sys::apr_table_get(self.0.get(), key.as_ptr())) }
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.array().nelts).unwrap_or(0)
    }

    /// Returns whether the table has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the entries in order. A key may occur several times; an entry without a value
    /// has `None`.
    ///
    /// Entries that are added meanwhile are not visited. (Adding may move the array, so it is
    /// looked up each time.)
    #[must_use]
    pub fn iter(&self) -> Entries<'_> {
        Entries { table: self, next: 0, end: self.len() }
    }

    /// Makes a copy of `value` the only value of `key`.
    ///
    /// # Errors
    /// One of them contains a NUL byte.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<(), InteriorNul> {
        let (key, value) = self.copies(key, value)?;
        // SAFETY: the table is live, and keeps the pointers, which are of its own pool.
        unsafe { sys::apr_table_setn(self.0.get(), key.as_ptr(), value.as_ptr()) };
        Ok(())
    }

    /// Makes a copy of `value` the only value of a key that the table can keep.
    ///
    /// # Errors
    /// The value contains a NUL byte.
    pub fn set_copied(&self, key: &'static CStr, value: &[u8]) -> Result<(), InteriorNul> {
        let value = self.pool().c_string(value)?;
        // SAFETY: the table is live, and keeps the pointers: to a static string, and one of its own
        // pool.
        unsafe { sys::apr_table_setn(self.0.get(), key.as_ptr(), value.as_ptr()) };
        Ok(())
    }

    /// Makes copies of the values the only ones of their keys, which differ from each other. Takes
    /// one allocation, and compares keys only with those that were there before.
    ///
    /// # Errors
    /// A key or a value contains a NUL byte. Then nothing is changed.
    pub fn set_all(&self, entries: &[(Key<'_>, &[u8])]) -> Result<(), InteriorNul> {
        let lengths =
            entries.iter().map(|(key, value)| key.copied().map_or(0, |key| key.len() + 1) + value.len() + 1);
        let mut strings = self.pool().vec(lengths.sum());
        let is_present = |name: &CStr| entries.iter().any(|(key, _)| key.is(name.to_bytes()));
        let set = if self.iter().any(|(name, _)| is_present(name)) {
            sys::apr_table_setn
        } else {
            sys::apr_table_addn
        };
        let mut count = 0;
        for text in entries.iter().flat_map(|(key, value)| key.copied().into_iter().chain([*value])) {
            strings.extend_from_slice(text);
            strings.push(0);
            count += 1;
        }
        let strings = strings.into_slice();
        // Checked at once, which is faster than string by string.
        if strings.iter().filter(|&&byte| byte == 0).count() != count {
            return Err(InteriorNul);
        }
        let mut next = strings.as_ptr().cast::<c_char>();
        for (key, value) in entries {
            // SAFETY: the table is live, and keeps the pointers: to static keys and to the strings
            // above, which are of its own pool and stand there in the order of the entries, each
            // with a NUL byte at its end.
            unsafe {
                let key = match key {
                    Key::Static(key) => key.as_ptr(),
                    Key::Copied(key) => {
                        let copy = next;
                        next = next.add(key.len() + 1);
                        copy
                    }
                };
                set(self.0.get(), key, next);
                next = next.add(value.len() + 1);
            }
        }
        Ok(())
    }

    /// Makes `value` the only value of `key`.
    pub fn set_static(&self, key: &'static CStr, value: &'static CStr) {
        // SAFETY: the table is live; what it keeps lives longer.
        unsafe { sys::apr_table_setn(self.0.get(), key.as_ptr(), value.as_ptr()) }
    }

    /// Adds an entry with copies of `key` and `value`, even if there is one with that key.
    ///
    /// # Errors
    /// One of them contains a NUL byte.
    pub fn add(&self, key: &[u8], value: &[u8]) -> Result<(), InteriorNul> {
        let (key, value) = self.copies(key, value)?;
        // SAFETY: the table is live, and keeps the pointers, which are of its own pool.
        unsafe { sys::apr_table_addn(self.0.get(), key.as_ptr(), value.as_ptr()) };
        Ok(())
    }

    /// Appends all `values` to that of `key`, joined with commas. If there is no entry, they become
    /// its value.
    ///
    /// APR makes a new string each time it appends to a value, and only the end of the pool frees
    /// the old one: appending values one by one takes memory with the square of their number.
    ///
    /// # Errors
    /// One of them contains a NUL byte.
    pub fn merge<'v>(
        &self,
        key: &[u8],
        values: impl Iterator<Item = &'v [u8]> + Clone,
    ) -> Result<(), InteriorNul> {
        let (key, value) = (self.pool().c_string(key)?, self.pool().c_string_joined(values)?);
        // SAFETY: the table is live, and keeps the pointers, which are of its own pool.
        unsafe { sys::apr_table_mergen(self.0.get(), key.as_ptr(), value.as_ptr()) };
        Ok(())
    }

    /// Removes all entries of `key`.
    pub fn unset(&self, key: &CStr) {
        // SAFETY: the table is live.
        unsafe { sys::apr_table_unset(self.0.get(), key.as_ptr()) }
    }

    fn copies(&self, key: &[u8], value: &[u8]) -> Result<(&CStr, &CStr), InteriorNul> {
        Ok((self.pool().c_string(key)?, self.pool().c_string(value)?))
    }

    fn pool(&self) -> &Pool {
        // SAFETY: a table lives in the pool of its array.
        unsafe { Pool::from_raw(self.array().pool) }
    }

    fn array(&self) -> &sys::apr_array_header_t {
        // SAFETY: a table begins with its array (`apr_table_elts` is a macro that says just that).
        unsafe { &*self.0.get().cast::<sys::apr_array_header_t>() }
    }
}

/// A key for [`Table::set_all`].
#[derive(Debug, Clone, Copy)]
pub enum Key<'k> {
    /// A key that the table can keep.
    Static(&'static CStr),
    /// A key that the table gets a copy of.
    Copied(&'k [u8]),
}

impl<'k> Key<'k> {
    fn copied(self) -> Option<&'k [u8]> {
        match self {
            Self::Static(_) => None,
            Self::Copied(key) => Some(key),
        }
    }

    fn is(self, name: &[u8]) -> bool {
        let key = match self {
            Self::Static(key) => key.to_bytes(),
            Self::Copied(key) => key,
        };
        key.eq_ignore_ascii_case(name)
    }
}

/// The iterator of [`Table::iter`].
pub struct Entries<'t> {
    table: &'t Table,
    next: usize,
    end: usize,
}

impl<'t> Iterator for Entries<'t> {
    type Item = (&'t CStr, Option<&'t [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let array = self.table.array();
        while self.next < self.end.min(self.table.len()) {
            // SAFETY: the array has at least so many entries; strings live as long as the table's
            // pool.
            let (key, value) = unsafe {
                let entry = array.elts.cast::<sys::apr_table_entry_t>().add(self.next);
                (text::c_string((*entry).key), text::bytes((*entry).val))
            };
            self.next += 1;
            if let Some(key) = key {
                return Some((key, value));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use crate::testing::with_table;

    #[test]
    fn setting_all_replaces_what_was_there() {
        with_table(|table| {
            let entries =
                [(Key::Static(c"A"), &b"1"[..]), (Key::Copied(b"B"), b""), (Key::Static(c"C"), b"3")];
            let is_set = || {
                let entries: Vec<_> = table.iter().map(|(key, value)| (key.to_bytes(), value)).collect();
                assert_eq!(entries, [(&b"A"[..], Some(&b"1"[..])), (b"B", Some(b"")), (b"C", Some(b"3"))]);
            };
            table.set_all(&entries).unwrap();
            is_set();
            table.set_all(&entries).unwrap();
            is_set();
            table.set_all(&[(Key::Copied(b"b"), b"x"), (Key::Copied(b"D"), b"4")]).unwrap();
            assert_eq!(
                (table.value(c"B"), table.value(c"D"), table.len()),
                (Some(&b"x"[..]), Some(&b"4"[..]), 4)
            );
            assert!(table.set_all(&[(Key::Static(c"E"), b"5"), (Key::Static(c"F"), b"\0")]).is_err());
            assert!(table.set_all(&[(Key::Copied(b"E\0"), b"5")]).is_err());
            assert_eq!(table.len(), 4);
            table.set_all(&[]).unwrap();
        });
    }

    #[test]
    fn a_copied_value_replaces_others() {
        with_table(|table| {
            table.add(b"a", b"1").unwrap();
            table.add(b"A", b"2").unwrap();
            table.set_copied(c"A", b"3").unwrap();
            assert_eq!((table.value(c"a"), table.len()), (Some(&b"3"[..]), 1));
            assert!(table.set_copied(c"A", b"\0").is_err());
        });
    }

    #[test]
    fn entries_keep_order_and_duplicates() {
        with_table(|table| {
            table.add(b"B", b"1").unwrap();
            table.add(b"A", b"2").unwrap();
            table.add(b"b", b"3").unwrap();
            let entries: Vec<_> = table.iter().map(|(key, value)| (key.to_bytes(), value)).collect();
            assert_eq!(entries, [(&b"B"[..], Some(&b"1"[..])), (b"A", Some(b"2")), (b"b", Some(b"3"))]);
            assert_eq!(table.value(c"b"), Some(&b"1"[..]));
        });
    }

    #[test]
    fn merging_joins_with_commas() {
        with_table(|table| {
            table.merge(b"A", [&b"1"[..], b"", b"2"].into_iter()).unwrap();
            table.merge(b"a", [&b"3"[..]].into_iter()).unwrap();
            let entries: Vec<_> = table.iter().map(|(key, value)| (key.to_bytes(), value)).collect();
            assert_eq!(entries, [(&b"A"[..], Some(&b"1, , 2, 3"[..]))]);
            assert!(table.merge(b"A", [&b"x"[..], b"\0"].into_iter()).is_err());
        });
    }

    #[test]
    fn setting_replaces_and_unsetting_removes_all() {
        with_table(|table| {
            table.add(b"A", b"1").unwrap();
            table.add(b"A", b"2").unwrap();
            table.set(b"a", b"3").unwrap();
            assert_eq!(table.iter().count(), 1);
            table.unset(c"A");
            assert!(table.is_empty());
            assert!(table.add(b"A", b"x\0y").is_err());
            assert!(table.is_empty());
        });
    }
}
