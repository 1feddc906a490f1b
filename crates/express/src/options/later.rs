//! The options of the contract that this version knows and refuses.

use super::Spec;

/// See [`super::server`].
pub(super) static LATER: &[Spec] = &[
];
