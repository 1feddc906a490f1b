//! Filters of a request.

use std::iter;

use httpd_sys as sys;

use crate::request::Request;
use crate::text;

impl Request {
    /// Returns the names of the filters that work on the content of the response, not on the
    /// protocol.
    pub fn content_filters(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: the filters of a live request are live, and have names. Apache keeps them in the
        // order of their types.
        unsafe {
            iter::successors((*self.as_ptr()).output_filters.as_ref(), |filter| filter.next.as_ref())
                .map(|filter| &*filter.frec)
                .take_while(|record| record.ftype < sys::AP_FTYPE_PROTOCOL)
                .map(|record| text::bytes(record.name).unwrap_or_default())
        }
    }
}
