//! APR without a server, for unit tests.

use std::ffi::c_int;
use std::sync::Once;

use httpd_sys as sys;

use crate::pool::Pool;
use crate::table::Table;

unsafe extern "C" {
    fn apr_initialize() -> c_int;
    fn apr_pool_create_ex(
        pool: *mut *mut sys::apr_pool_t,
        parent: *mut sys::apr_pool_t,
        abort: *const u8,
        allocator: *const u8,
    ) -> c_int;
    fn apr_pool_destroy(pool: *mut sys::apr_pool_t);
    fn apr_table_make(pool: *mut sys::apr_pool_t, elements: c_int) -> *mut sys::apr_table_t;
    fn apr_bucket_alloc_create(pool: *mut sys::apr_pool_t) -> *mut sys::apr_bucket_alloc_t;
}

static INITIALIZED: Once = Once::new();

/// Destroys its pool even if a test panics.
struct Owned(*mut sys::apr_pool_t);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: created by `with_pool`, destroyed once.
        unsafe { apr_pool_destroy(self.0) }
    }
}

pub(crate) fn with_pool<T>(test: impl FnOnce(&Pool) -> T) -> T {
    // SAFETY: APR's own functions, as documented: initialised once, a root pool per call.
    unsafe {
        INITIALIZED.call_once(|| assert_eq!(apr_initialize(), 0));
        let mut pool = std::ptr::null_mut();
        assert_eq!(
            apr_pool_create_ex(&raw mut pool, std::ptr::null_mut(), std::ptr::null(), std::ptr::null()),
            0
        );
        let owned = Owned(pool);
        test(Pool::from_raw(owned.0))
    }
}

pub(crate) fn with_table<T>(test: impl FnOnce(&Table) -> T) -> T {
    // SAFETY: the table lives as long as the pool.
    with_pool(|pool| unsafe { test(Table::from_raw(apr_table_make(pool.as_ptr(), 2))) })
}

pub(crate) fn with_allocator<T>(test: impl FnOnce(&Pool, *mut sys::apr_bucket_alloc_t) -> T) -> T {
    // SAFETY: the allocator lives as long as the pool.
    with_pool(|pool| unsafe { test(pool, apr_bucket_alloc_create(pool.as_ptr())) })
}

/// Stands in for Apache's function: any bucket without data will do.
// SAFETY: no other object of the test defines the symbol.
#[unsafe(no_mangle)]
unsafe extern "C" fn ap_bucket_error_create(
    _: c_int,
    _: *const u8,
    _: *mut sys::apr_pool_t,
    list: *mut sys::apr_bucket_alloc_t,
) -> *mut sys::apr_bucket {
    // SAFETY: by the caller.
    unsafe { sys::apr_bucket_flush_create(list) }
}

/// Stands in for Apache's function. Tests of what logs without a server would be tests of nothing.
// SAFETY: no other object of the test defines the symbol.
#[unsafe(no_mangle)]
extern "C" fn ap_log_error_() {
    std::process::abort();
}
