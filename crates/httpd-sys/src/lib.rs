//! Raw bindings to the Apache HTTP Server 2.4 and the Apache Portable Runtime.
//!
//! Generated from the headers that `apxs` names, by an explicit list of symbols (`build.rs`). C
//! macros are written again, one file per header. Nothing is linked: Apache resolves the symbols
//! when it loads the module.

#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    missing_docs,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::missing_safety_doc,
    clippy::use_self,
    clippy::allow_attributes_without_reason,
    reason = "generated from C; Apache's own headers document it"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

mod apr_buckets;
mod apr_errno;
mod http_config;
mod http_log;

pub use apr_buckets::*;
pub use apr_errno::*;
pub use bindings::*;
pub use http_config::*;
pub use http_log::*;
