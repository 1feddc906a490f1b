//! The record of a module.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use httpd_sys as sys;

/// A module's record, which Apache finds by its symbol and writes to.
#[repr(transparent)]
pub struct Record<M> {
    record: UnsafeCell<sys::module>,
    module: PhantomData<fn() -> M>,
}

// SAFETY: Apache writes to a record while it loads and unloads modules, in one thread; at all other
// times it is only read.
unsafe impl<M> Sync for Record<M> {}

impl<M> Record<M> {
    /// Wraps the record that Apache is to find.
    pub(crate) const fn of(record: sys::module) -> Self {
        Self { record: UnsafeCell::new(record), module: PhantomData }
    }

    /// Returns the module's index in Apache's vectors, which is valid while it is loaded.
    #[must_use]
    #[inline]
    pub(crate) fn index(&self) -> c_int {
        // SAFETY: written only while modules are loaded and unloaded, by one thread.
        unsafe { (*self.record.get()).module_index }
    }

    /// Returns the name in the record.
    pub(crate) fn name(&self) -> &'static CStr {
        // SAFETY: `new` had it from a static string, and Apache does not change it.
        unsafe { CStr::from_ptr((*self.record.get()).name) }
    }
}

/// Declares the record of a module under the symbol that `LoadModule` names.
#[macro_export]
macro_rules! declare_module {
    ($(#[$attribute:meta])* $symbol:ident : $module:ty = $record:expr) => {
        $(#[$attribute])*
        // SAFETY: the symbol is a module record, which is what Apache takes a symbol of this name
        // for.
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, reason = "the name is Apache's custom")]
        pub static $symbol: $crate::Record<$module> = $record;
    };
}
