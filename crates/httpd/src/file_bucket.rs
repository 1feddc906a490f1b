//! A bucket that reads a file which may become shorter meanwhile.
//!
//! APR's own file buckets do not fit. They map files, and reading a mapped page that the file has
//! lost raises SIGBUS. Without mapping, they end early and without an error where the file ends,
//! and the client takes the next bytes on the connection for the rest.

use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use httpd_sys as sys;

/// The number of bytes that are read at a time.
const BLOCK: usize = 32 << 10;

/// A file that is being sent.
#[derive(Debug)]
pub(crate) struct SentFile {
    file: OwnedFd,
    /// Set once it has ended, or could not be read, before the end of the part to send.
    is_short: AtomicBool,
}

/// The data that the buckets of a file share; APR counts them.
#[repr(C)]
struct Shared {
    count: sys::apr_bucket_refcount,
    file: Arc<SentFile>,
}

/// A type of buckets. It is never written to.
struct Type(sys::apr_bucket_type_t);

// SAFETY: a name and functions, which are only read.
unsafe impl Sync for Type {}

static TYPE: Type = Type(sys::apr_bucket_type_t {
    name: c"WSGI FILE".as_ptr(),
    num_func: 5,
    is_metadata: sys::APR_BUCKET_DATA,
    destroy: Some(destroy),
    read: Some(read),
    // The buckets own the descriptor, so they may live as long as they are needed.
    setaside: Some(sys::apr_bucket_setaside_noop),
    split: Some(sys::apr_bucket_shared_split),
    copy: Some(sys::apr_bucket_shared_copy),
});

impl SentFile {
    pub(crate) fn new(file: OwnedFd) -> Arc<Self> {
        Arc::new(Self { file, is_short: AtomicBool::new(false) })
    }

    /// Returns whether a bucket found less to read than declared.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Reads from `offset` to `memory`, and returns the number of bytes; 0 at the end of the file.
    ///
    /// # Safety
    /// `memory` has room for `length` bytes.
    unsafe fn read(&self, memory: *mut c_char, length: usize, offset: i64) -> usize {
        loop {
            // SAFETY: by the caller.
            let count = unsafe { libc::pread(self.file.as_raw_fd(), memory.cast(), length, offset) };
            match usize::try_from(count) {
                Ok(count) => return count,
                Err(_) if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return 0,
            }
        }
    }
}

/// Makes a bucket of a part of a file. The part is not empty and ends before 2^63.
///
/// # Safety
/// `allocator` is live, and used by the calling thread alone.
pub(crate) unsafe fn create(
    allocator: *mut sys::apr_bucket_alloc_t,
    file: &Arc<SentFile>,
    part: Range<i64>,
) -> *mut sys::apr_bucket {
    let shared = Shared { count: sys::apr_bucket_refcount { refcount: 0 }, file: Arc::clone(file) };
    let length = usize::try_from(part.end - part.start).unwrap_or(0);
    // SAFETY: the allocator gives room for a bucket, which is then initialised as APR's own are:
    // not in a brigade, freed by the allocator that it came from. `shared` begins with the counter
    // that APR expects, and `destroy` drops it.
    unsafe {
        let bucket: *mut sys::apr_bucket =
            sys::apr_bucket_alloc(size_of::<sys::apr_bucket>(), allocator).cast();
        (*bucket).link.next = bucket;
        (*bucket).link.prev = bucket;
        (*bucket).free = Some(sys::apr_bucket_free);
        (*bucket).list = allocator;
        sys::apr_bucket_shared_make(bucket, Box::into_raw(Box::new(shared)).cast(), part.start, length);
        (*bucket).type_ = &raw const TYPE.0;
        bucket
    }
}

/// Drops a bucket's share of the file.
unsafe extern "C" fn destroy(data: *mut c_void) {
    // SAFETY: the data of our buckets is a `Shared`, whose last owner drops it.
    unsafe {
        if sys::apr_bucket_shared_destroy(data) != 0 {
            drop(Box::from_raw(data.cast::<Shared>()));
        }
    }
}

/// Turns the bucket into one of memory, with the rest of the file in a new one behind it. Fails at
/// the end of the file, with an error bucket for filters that ignore failures (mod_deflate), as
/// Apache's proxy does for a back end that breaks off.
unsafe extern "C" fn read(
    bucket: *mut sys::apr_bucket,
    bytes: *mut *const c_char,
    length: *mut sys::apr_size_t,
    _: sys::apr_read_type_e,
) -> c_int {
    // SAFETY: the bucket is ours, so its data is a `Shared`; APR's functions do with it what their
    // names say. The memory becomes the bucket's, or is freed.
    unsafe {
        let (data, list) = ((*bucket).data, (*bucket).list);
        let file = &(*data.cast::<Shared>()).file;
        let wanted = (*bucket).length.min(BLOCK);
        let memory: *mut c_char = sys::apr_bucket_alloc(wanted, list).cast();
        let count = file.read(memory, wanted, (*bucket).start);
        if count == 0 {
            sys::apr_bucket_free(memory.cast());
            if !file.is_short.swap(true, Ordering::Relaxed) {
                let error = sys::ap_bucket_error_create(BAD_GATEWAY, ptr::null(), ptr::null_mut(), list);
                sys::apr_bucket_insert_after(bucket, error);
            }
            *bytes = c"".as_ptr();
            *length = 0;
            return sys::APR_EGENERAL as c_int;
        }
        if count < (*bucket).length {
            let mut rest = ptr::null_mut();
            sys::apr_bucket_shared_copy(bucket, &raw mut rest);
            (*rest).start += i64::try_from(count).unwrap_or(0);
            (*rest).length -= count;
            sys::apr_bucket_insert_after(bucket, rest);
        }
        destroy(data);
        sys::apr_bucket_heap_make(bucket, memory, count, Some(sys::apr_bucket_free));
        *bytes = memory;
        *length = count;
        sys::APR_SUCCESS
    }
}

const BAD_GATEWAY: c_int = 502;
