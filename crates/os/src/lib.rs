//! The system calls that the standard library does not have, behind functions as safe as they can be.

pub mod library;
pub mod usage;
