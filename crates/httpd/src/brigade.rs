//! Brigades of buckets.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::Arc;

use httpd_sys as sys;

use crate::file_bucket::{self, SentFile};
use crate::pool::Pool;

/// A brigade of a request.
pub(crate) struct Brigade<'r> {
    brigade: *mut sys::apr_bucket_brigade,
    pool: PhantomData<&'r Pool>,
}

/// The result of taking bytes from the first buckets of a brigade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The number of bytes taken.
    pub(crate) length: usize,
    /// Set if the end of the stream was among the buckets.
    pub(crate) is_ended: bool,
}

impl<'r> Brigade<'r> {
    /// # Safety
    /// `allocator` is live for as long as the pool, and both are used by the calling thread alone.
    pub(crate) unsafe fn new(pool: &'r Pool, allocator: *mut sys::apr_bucket_alloc_t) -> Self {
        // SAFETY: by the caller.
        Self { brigade: unsafe { sys::apr_brigade_create(pool.as_ptr(), allocator) }, pool: PhantomData }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::apr_bucket_brigade {
        self.brigade
    }

    /// Destroys all buckets.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the brigade is live.
        unsafe { sys::apr_brigade_cleanup(self.brigade.cast()) };
    }

    /// Appends `bytes` without copying them.
    ///
    /// # Safety
    /// Before `bytes` end, the bucket is destroyed or set aside (which copies them): filters that
    /// keep buckets do that, and `clear` destroys the rest.
    pub(crate) unsafe fn push_borrowed(&mut self, bytes: &[u8]) {
        // SAFETY: by the caller.
        self.push(unsafe {
            sys::apr_bucket_transient_create(bytes.as_ptr().cast(), bytes.len(), self.allocator())
        });
    }

    /// Appends a flush: filters send all that is before it.
    pub(crate) fn push_flush(&mut self) {
        // SAFETY: the allocator is live.
        self.push(unsafe { sys::apr_bucket_flush_create(self.allocator()) });
    }

    /// Appends the end of the stream.
    pub(crate) fn push_end(&mut self) {
        // SAFETY: the allocator is live.
        self.push(unsafe { sys::apr_bucket_eos_create(self.allocator()) });
    }

    /// Appends an error.
    pub(crate) fn push_error(&mut self, status: u16, pool: &'r Pool) {
        // SAFETY: allocator and pool are live.
        self.push(unsafe {
            sys::ap_bucket_error_create(c_int::from(status), ptr::null(), pool.as_ptr(), self.allocator())
        });
    }

    /// Appends a part of a file that is read when it is sent.
    pub(crate) fn push_read_file(&mut self, file: &Arc<SentFile>, part: Range<i64>) {
        if !part.is_empty() {
            // SAFETY: the allocator is live.
            self.push(unsafe { file_bucket::create(self.allocator(), file, part) });
        }
    }

    /// Appends a part of a file that the kernel's sendfile sends. The descriptor is duplicated into
    /// the pool.
    pub(crate) fn push_sent_file(
        &mut self,
        file: BorrowedFd<'_>,
        part: Range<i64>,
        pool: &'r Pool,
    ) -> Result<(), c_int> {
        let flags = sys::APR_FOPEN_READ | sys::APR_FOPEN_SENDFILE_ENABLED;
        let (start, length) = (part.start, part.end - part.start);
        let mut descriptor = file.as_raw_fd();
        let mut borrowed = ptr::null_mut();
        let mut owned = ptr::null_mut();
        // SAFETY: `apr_os_file_put` makes a view of the open descriptor, without a cleanup;
        // `apr_file_dup` makes a file of its own, which the pool closes (or whoever sets the bucket
        // aside).
        unsafe {
            checked(sys::apr_os_file_put(
                &raw mut borrowed,
                &raw mut descriptor,
                flags as i32,
                pool.as_ptr(),
            ))?;
            checked(sys::apr_file_dup(&raw mut owned, borrowed, pool.as_ptr()))?;
            let bucket = sys::apr_brigade_insert_file(self.brigade, owned, start, length, pool.as_ptr());
            // A filter that reads the file must not map it: reading a mapped page that the file has
            // lost raises SIGBUS. (A part beyond the largest bucket would take several buckets; on
            // 64 bits there is no such part.)
            sys::apr_bucket_file_enable_mmap(bucket, 0);
        }
        Ok(())
    }

    /// Moves bytes from the first buckets to the beginning of `buffer`, and waits for buckets whose
    /// bytes have not arrived. Bytes that do not fit stay in the brigade. The end of the stream is
    /// taken with the bytes before it.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> Result<Taken, c_int> {
        let mut taken = Taken { length: 0, is_ended: false };
        loop {
            // SAFETY: the brigade is live; its first bucket is looked at only if it is not the
            // sentinel, and the bytes of a bucket are valid until it is deleted.
            unsafe {
                let bucket = sys::apr_brigade_first(self.brigade);
                if bucket == sys::apr_brigade_sentinel(self.brigade) {
                    break;
                }
                if sys::apr_bucket_is_eos(bucket) {
                    taken.is_ended = true;
                    self.clear();
                    break;
                }
                if taken.length == buffer.len() {
                    break;
                }
                let is_metadata = (*(*bucket).type_).is_metadata == sys::APR_BUCKET_METADATA;
                let (mut bytes, mut length) = (ptr::null(), 0);
                if !is_metadata {
                    checked(sys::apr_bucket_read(
                        bucket,
                        &raw mut bytes,
                        &raw mut length,
                        sys::APR_BLOCK_READ,
                    ))?;
                }
                let count = length.min(buffer.len() - taken.length);
                if count > 0 {
                    let target = &mut buffer[taken.length..taken.length + count];
                    target.copy_from_slice(std::slice::from_raw_parts(bytes.cast(), count));
                    taken.length += count;
                }
                if count < length {
                    checked(sys::apr_bucket_split(bucket, count))?;
                }
                sys::apr_bucket_delete(self.brigade, bucket);
            }
        }
        Ok(taken)
    }

    fn push(&mut self, bucket: *mut sys::apr_bucket) {
        // SAFETY: the bucket was just made, the brigade is live.
        unsafe { sys::apr_brigade_insert_tail(self.brigade, bucket) }
    }

    fn allocator(&self) -> *mut sys::apr_bucket_alloc_t {
        // SAFETY: the brigade is live.
        unsafe { (*self.brigade).bucket_alloc }
    }
}

impl Drop for Brigade<'_> {
    fn drop(&mut self) {
        // SAFETY: the brigade is live, and nobody else uses it. Its memory belongs to the pool.
        unsafe { sys::apr_brigade_destroy(self.brigade) };
    }
}

fn checked(status: c_int) -> Result<(), c_int> {
    if status == sys::APR_SUCCESS { Ok(()) } else { Err(status) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;
    use crate::testing::with_allocator;

    fn with_brigade(test: impl for<'p> FnOnce(&'p Pool, Brigade<'p>)) {
        // SAFETY: pool and allocator live through the test.
        with_allocator(|pool, allocator| test(pool, unsafe { Brigade::new(pool, allocator) }));
    }

    #[test]
    fn bytes_are_taken_in_order_and_in_parts() {
        with_brigade(|_, mut brigade| {
            // SAFETY: static bytes.
            unsafe {
                brigade.push_borrowed(b"abc");
                brigade.push_flush();
                brigade.push_borrowed(b"");
                brigade.push_borrowed(b"def");
            }
            brigade.push_end();
            let mut buffer = [0; 4];
            assert_eq!(brigade.take(&mut buffer), Ok(Taken { length: 4, is_ended: false }));
            assert_eq!(&buffer, b"abcd");
            assert_eq!(brigade.take(&mut buffer), Ok(Taken { length: 2, is_ended: true }));
            assert_eq!(&buffer[..2], b"ef");
            assert_eq!(brigade.take(&mut buffer), Ok(Taken { length: 0, is_ended: false }));
            // SAFETY: static bytes.
            unsafe { brigade.push_borrowed(b"ghij") };
            brigade.push_end();
            assert_eq!(brigade.take(&mut buffer), Ok(Taken { length: 4, is_ended: true }));
        });
    }

    #[test]
    fn parts_of_files_are_read_from_a_duplicate() {
        with_brigade(|pool, mut brigade| {
            let mut file = tempfile();
            file.write_all(b"0123456789").unwrap();
            brigade.push_sent_file(file.as_fd(), 2..6, pool).unwrap();
            drop(file);
            let mut buffer = [0; 10];
            assert_eq!(brigade.take(&mut buffer), Ok(Taken { length: 4, is_ended: false }));
            assert_eq!(&buffer[..4], b"2345");
        });
    }

    #[test]
    fn files_are_read_in_blocks() {
        with_brigade(|_, mut brigade| {
            let content: Vec<_> =
                (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let mut file = tempfile();
            file.write_all(&content).unwrap();
            let sent = SentFile::new(file.into());
            brigade.push_read_file(&sent, 1..150_000);
            brigade.push_read_file(&sent, 7..7);
            brigade.push_read_file(&sent, 150_000..200_000);
            brigade.push_end();
            let mut all = Vec::new();
            // Some buckets are split.
            for size in [10, 40_000, 1, 200_000] {
                let mut buffer = vec![0; size];
                let taken = brigade.take(&mut buffer).unwrap();
                all.extend_from_slice(&buffer[..taken.length]);
            }
            assert!(all == content[1..], "{} bytes", all.len());
            assert!(!sent.is_short());
            brigade.clear();
            assert_eq!(Arc::strong_count(&sent), 1, "no bucket has it any more");
        });
    }

    #[test]
    fn a_file_that_is_too_short_fails() {
        with_brigade(|_, mut brigade| {
            let mut file = tempfile();
            file.write_all(&[b'x'; 100_000]).unwrap();
            let sent = SentFile::new(file.try_clone().unwrap().into());
            brigade.push_read_file(&sent, 0..100_000);
            let mut buffer = [0; 50_000];
            assert_eq!(brigade.take(&mut buffer), Ok(Taken { length: 50_000, is_ended: false }));
            assert!(!sent.is_short());
            file.set_len(60_000).unwrap();
            let mut buffer = [0; 100_000];
            assert!(brigade.take(&mut buffer).is_err());
            assert!(sent.is_short());
            brigade.clear();
            assert_eq!(Arc::strong_count(&sent), 1);
        });
    }

    fn tempfile() -> std::fs::File {
        let name = c"httpd-test";
        // SAFETY: a new descriptor, owned by the file.
        unsafe {
            let descriptor = libc::memfd_create(name.as_ptr(), 0);
            assert!(descriptor >= 0);
            std::os::fd::FromRawFd::from_raw_fd(descriptor)
        }
    }
}
