//! `apr_buckets.h` and `apr_ring.h`: brigades are rings, and rings are macros.

use std::ffi::{c_char, c_int};

use crate::{APR_SUCCESS, apr_bucket, apr_bucket_brigade, apr_read_type_e, apr_size_t};
use crate::{ap_bucket_type_error, apr_bucket_type_eos};

/// Returns the sentinel between the last and the first bucket (`APR_BRIGADE_SENTINEL`).
///
/// The links of the ring are in its buckets. The brigade holds only a link, which is treated as
/// part of a bucket.
///
/// # Safety
/// `brigade` is live. The result is for comparison and linking, never for reading anything but its
/// link.
#[must_use]
pub unsafe fn apr_brigade_sentinel(brigade: *mut apr_bucket_brigade) -> *mut apr_bucket {
    // SAFETY: the list lies within the brigade; the arithmetic does not look at what it points to.
    unsafe {
        (&raw mut (*brigade).list).cast::<u8>().wrapping_sub(std::mem::offset_of!(apr_bucket, link)).cast()
    }
}

/// Returns the first bucket, or the sentinel (`APR_BRIGADE_FIRST`).
///
/// # Safety
/// `brigade` is live.
#[must_use]
pub unsafe fn apr_brigade_first(brigade: *mut apr_bucket_brigade) -> *mut apr_bucket {
    // SAFETY: by the caller.
    unsafe { (*brigade).list.next }
}

/// Appends a bucket (`APR_BRIGADE_INSERT_TAIL`).
///
/// # Safety
/// `brigade` is live; `bucket` is live and in no brigade.
pub unsafe fn apr_brigade_insert_tail(brigade: *mut apr_bucket_brigade, bucket: *mut apr_bucket) {
    // SAFETY: the last bucket of a brigade is live, or it is the sentinel, whose link is the
    // brigade's own.
    unsafe {
        let sentinel = apr_brigade_sentinel(brigade);
        let last = (*brigade).list.prev;
        (*bucket).link.next = sentinel;
        (*bucket).link.prev = last;
        if last == sentinel {
            (*brigade).list.next = bucket;
        } else {
            (*last).link.next = bucket;
        }
        (*brigade).list.prev = bucket;
    }
}

/// Inserts a bucket after another one (`APR_BUCKET_INSERT_AFTER`).
///
/// # Safety
/// `bucket` is live and in a brigade; `new` is live and in none.
pub unsafe fn apr_bucket_insert_after(bucket: *mut apr_bucket, new: *mut apr_bucket) {
    const { assert!(std::mem::offset_of!(apr_bucket, link) == 0, "the sentinel is where its link is") };
    // SAFETY: neighbours of a bucket in a ring are live, or the sentinel, which is nothing but a
    // link.
    unsafe {
        let next = (*bucket).link.next;
        (*new).link.next = next;
        (*new).link.prev = bucket;
        (*next).link.prev = new;
        (*bucket).link.next = new;
    }
}

/// Takes a bucket out of its brigade and destroys it (`apr_bucket_delete`).
///
/// # Safety
/// `bucket` is live and in `brigade`.
pub unsafe fn apr_bucket_delete(brigade: *mut apr_bucket_brigade, bucket: *mut apr_bucket) {
    // SAFETY: neighbours of a bucket in a ring are live, or the sentinel, whose link is the
    // brigade's head.
    unsafe {
        let sentinel = apr_brigade_sentinel(brigade);
        let (next, previous) = ((*bucket).link.next, (*bucket).link.prev);
        if next == sentinel {
            (*brigade).list.prev = previous;
        } else {
            (*next).link.prev = previous;
        }
        if previous == sentinel {
            (*brigade).list.next = next;
        } else {
            (*previous).link.next = next;
        }
        if let Some(destroy) = (*(*bucket).type_).destroy {
            destroy((*bucket).data);
        }
        if let Some(free) = (*bucket).free {
            free(bucket.cast());
        }
    }
}

/// Reads a bucket (`apr_bucket_read`).
///
/// # Safety
/// `bucket` is live; the bytes are valid until it is changed.
pub unsafe fn apr_bucket_read(
    bucket: *mut apr_bucket,
    bytes: *mut *const c_char,
    length: *mut apr_size_t,
    block: apr_read_type_e,
) -> c_int {
    // SAFETY: by the caller; every bucket type has the function.
    unsafe {
        match (*(*bucket).type_).read {
            Some(read) => read(bucket, bytes, length, block),
            None => APR_SUCCESS,
        }
    }
}

/// Splits a bucket: it keeps the first `point` bytes, and a new one behind it gets the rest
/// (`apr_bucket_split`).
///
/// # Safety
/// `bucket` is live, in a brigade, and has more than `point` bytes.
pub unsafe fn apr_bucket_split(bucket: *mut apr_bucket, point: apr_size_t) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        match (*(*bucket).type_).split {
            Some(split) => split(bucket, point),
            None => APR_SUCCESS,
        }
    }
}

/// Returns whether a bucket is the end of the stream (`APR_BUCKET_IS_EOS`).
///
/// # Safety
/// `bucket` is live.
#[must_use]
pub unsafe fn apr_bucket_is_eos(bucket: *const apr_bucket) -> bool {
    // SAFETY: by the caller; types are told by their address.
    unsafe { std::ptr::eq((*bucket).type_, &raw const apr_bucket_type_eos) }
}

/// Returns whether a bucket is an error (`AP_BUCKET_IS_ERROR`).
///
/// # Safety
/// `bucket` is live.
#[must_use]
pub unsafe fn ap_bucket_is_error(bucket: *const apr_bucket) -> bool {
    // SAFETY: by the caller; types are told by their address.
    unsafe { std::ptr::eq((*bucket).type_, &raw const ap_bucket_type_error) }
}
