//! Memory pools.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;

use httpd_sys as sys;

use crate::guard::quiet_guard;

/// A pool. Memory that is allocated from it lives as long as the pool.
///
/// The pool lives at least as long as a reference to it, and so do the results of its methods.
#[repr(transparent)]
pub struct Pool(UnsafeCell<sys::apr_pool_t>);

/// The error where a string cannot become a C string because it contains a NUL byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InteriorNul;

impl Pool {
    /// # Safety
    /// `pool` is live for as long as `'p`, and is used by the calling thread alone.
    #[inline]
    pub(crate) unsafe fn from_raw<'p>(pool: *mut sys::apr_pool_t) -> &'p Self {
        // SAFETY: by the caller; the wrapper is transparent.
        unsafe { &*pool.cast::<Self>() }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::apr_pool_t {
        self.0.get()
    }

    /// Returns a copy of `text` as a C string.
    ///
    /// # Errors
    /// The text contains a NUL byte: as a C string it would end there.
    pub fn c_string(&self, text: &[u8]) -> Result<&CStr, InteriorNul> {
        self.c_string_of(&[text])
    }

    /// Returns the concatenation of `parts` as a C string.
    ///
    /// # Errors
    /// As [`Pool::c_string`].
    pub fn c_string_of(&self, parts: &[&[u8]]) -> Result<&CStr, InteriorNul> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut copy = self.vec(length + 1);
        for part in parts {
            copy.extend_from_slice(part);
        }
        copy.push(0);
        CStr::from_bytes_with_nul(copy.into_slice()).map_err(|_| InteriorNul)
    }

    /// Returns the values as one C string, joined with ", ". Each is copied once.
    ///
    /// # Errors
    /// As [`Pool::c_string`].
    pub fn c_string_joined<'v>(
        &self,
        values: impl Iterator<Item = &'v [u8]> + Clone,
    ) -> Result<&CStr, InteriorNul> {
        const BETWEEN: &[u8] = b", ";
        let length: usize = values.clone().map(|value| value.len() + BETWEEN.len()).sum();
        let mut joined = self.vec(length + 1);
        for (index, value) in values.enumerate() {
            if index > 0 {
                joined.extend_from_slice(BETWEEN);
            }
            joined.extend_from_slice(value);
        }
        joined.push(0);
        CStr::from_bytes_with_nul(joined.into_slice()).map_err(|_| InteriorNul)
    }

    /// Returns a copy of `bytes`.
    pub fn copy(&self, bytes: &[u8]) -> &[u8] {
        let mut copy = self.vec(bytes.len());
        copy.extend_from_slice(bytes);
        copy.into_slice()
    }

    /// Returns `number` in decimal digits.
    pub fn decimal(&self, number: u64) -> &[u8] {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        let mut rest = number;
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.copy(&digits[first..]);
            }
        }
    }

    /// Returns an empty vector with room for `capacity` elements.
    pub fn vec<T: Copy>(&self, capacity: usize) -> PoolVec<'_, T> {
        const { assert!(align_of::<T>() <= 8, "APR aligns to 8 bytes") };
        let Some(size) = capacity.checked_mul(size_of::<T>()) else { panic!("capacity overflow") };
        // SAFETY: the pool is live. `apr_palloc` aborts the process if there is no memory (Apache
        // sets pools so).
        let memory = unsafe { sys::apr_palloc(self.as_ptr(), size.max(1)) }.cast::<T>();
        assert!(!memory.is_null(), "out of memory");
        PoolVec { memory, length: 0, capacity, pool: PhantomData }
    }

    /// Gives `value` to the pool, which drops it when it is cleared, on whichever thread that
    /// happens.
    pub fn own<T: Send + 'static>(&self, value: T) -> &T {
        // SAFETY: the value is dropped by the pool's cleanup, after which no reference from this
        // pool lives.
        unsafe { &*self.own_raw(value) }
    }

    /// Gives `value` to the pool, and returns a pointer that C can keep (see [`Pool::own`]).
    pub(crate) fn own_raw<T: Send + 'static>(&self, value: T) -> *mut T {
        let value = Box::into_raw(Box::new(value));
        self.at_cleanup(value.cast(), drop_box::<T>);
        value
    }

    /// Has `function` called with `data` when the pool is cleared.
    pub(crate) fn at_cleanup(&self, data: *mut c_void, function: unsafe extern "C" fn(*mut c_void) -> c_int) {
        // SAFETY: the pool is live. An exec in a forked child needs none of our cleanups.
        unsafe {
            sys::apr_pool_cleanup_register(
                self.as_ptr(),
                data,
                Some(function),
                Some(sys::apr_pool_cleanup_null),
            )
        }
    }

    /// Has `function` called with `data` when the pool is about to be cleared, before its sub-pools
    /// are.
    pub(crate) fn before_cleanup(
        &self,
        data: *mut c_void,
        function: unsafe extern "C" fn(*mut c_void) -> c_int,
    ) {
        // SAFETY: the pool is live.
        unsafe { sys::apr_pool_pre_cleanup_register(self.as_ptr(), data, Some(function)) }
    }
}

unsafe extern "C" fn drop_box<T>(value: *mut c_void) -> c_int {
    quiet_guard("a pool's cleanup", || {
        // SAFETY: registered once, by `own_raw`, with a box of this type.
        drop(unsafe { Box::from_raw(value.cast::<T>()) });
    });
    sys::APR_SUCCESS
}

/// A vector of fixed capacity in a pool.
pub struct PoolVec<'p, T> {
    memory: *mut T,
    length: usize,
    capacity: usize,
    pool: PhantomData<&'p mut [T]>,
}

impl<'p, T: Copy> PoolVec<'p, T> {
    /// Appends `value`.
    ///
    /// # Panics
    /// The vector is full; the caller has promised a larger capacity.
    #[inline]
    pub fn push(&mut self, value: T) {
        assert!(self.length < self.capacity, "a pool vector of {} is full", self.capacity);
        // SAFETY: within the allocation.
        unsafe { self.memory.add(self.length).write(value) };
        self.length += 1;
    }

    /// Appends all `values`.
    ///
    /// # Panics
    /// As [`PoolVec::push`].
    #[inline]
    pub fn extend_from_slice(&mut self, values: &[T]) {
        assert!(values.len() <= self.capacity - self.length, "a pool vector of {} is full", self.capacity);
        // SAFETY: within the allocation, which nobody else has a reference to.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.memory.add(self.length), values.len()) };
        self.length += values.len();
    }

    /// Returns the elements, which live as long as the pool.
    #[must_use]
    #[inline]
    pub fn into_slice(self) -> &'p [T] {
        // SAFETY: so many elements were written, and the pool outlives `'p`.
        unsafe { std::slice::from_raw_parts(self.memory, self.length) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::with_pool;

    #[test]
    fn strings_are_copied_and_terminated() {
        with_pool(|pool| {
            assert_eq!(pool.c_string(b"abc"), Ok(c"abc"));
            assert_eq!(pool.c_string_of(&[b"a", b"", b"bc"]), Ok(c"abc"));
            assert_eq!(pool.c_string(b"a\0b"), Err(InteriorNul));
            assert_eq!(pool.copy(b""), b"");
        });
    }

    #[test]
    fn numbers_have_their_digits() {
        with_pool(|pool| {
            assert_eq!(pool.decimal(0), b"0");
            assert_eq!(pool.decimal(8080), b"8080");
            assert_eq!(pool.decimal(u64::MAX), u64::MAX.to_string().as_bytes());
        });
    }

    #[test]
    fn values_die_with_the_pool() {
        let shared = Arc::new(());
        with_pool(|pool| {
            pool.own(Arc::clone(&shared));
            assert_eq!(Arc::strong_count(&shared), 2);
        });
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    #[should_panic(expected = "is full")]
    fn a_full_vector_refuses() {
        with_pool(|pool| {
            let mut vec = pool.vec::<u64>(1);
            vec.push(1);
            vec.push(2);
        });
    }
}
