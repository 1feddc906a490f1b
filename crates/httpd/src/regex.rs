//! Regular expressions in Apache's dialect.

use std::ffi::CStr;
use std::ops::Range;

use httpd_sys as sys;

/// A regular expression that `ap_regcomp` has compiled with `AP_REG_EXTENDED`.
pub struct Regex(Box<sys::ap_regex_t>);

// SAFETY: a compiled expression is only read; Apache uses one for all its threads.
unsafe impl Send for Regex {}
// SAFETY: a compiled expression is only read.
unsafe impl Sync for Regex {}

impl Regex {
    /// Compiles `source`. Returns `None` if it is not a regular expression.
    #[must_use]
    pub fn new(source: &CStr) -> Option<Self> {
        // SAFETY: plain data, which `ap_regcomp` fills in.
        let mut compiled: Box<sys::ap_regex_t> = Box::new(unsafe { std::mem::zeroed() });
        // SAFETY: a C string, and room for the result.
        let status =
            unsafe { sys::ap_regcomp(&raw mut *compiled, source.as_ptr(), sys::AP_REG_EXTENDED as i32) };
        (status == 0).then(|| Self(compiled))
    }

    /// Returns the offsets of the first match in `subject`, and of each group that took part in it.
    /// Returns `None` if there is no match.
    #[must_use]
    pub fn captures<const N: usize>(&self, subject: &[u8]) -> Option<[Option<Range<usize>>; N]> {
        let mut groups = [sys::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; N];
        // SAFETY: a compiled expression; the subject and the room for groups with their lengths.
        let status = unsafe {
            sys::ap_regexec_len(
                &raw const *self.0,
                subject.as_ptr().cast(),
                subject.len(),
                N,
                groups.as_mut_ptr(),
                0,
            )
        };
        (status == 0).then(|| {
            groups.map(|group| Some(usize::try_from(group.rm_so).ok()?..usize::try_from(group.rm_eo).ok()?))
        })
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled by `new`, freed once.
        unsafe { sys::ap_regfree(&raw mut *self.0) }
    }
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Regex(..)")
    }
}
