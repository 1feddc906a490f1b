//! The measurements of one configuration.

use e2e::Mpm;

use crate::contest::Contest;
use crate::memory::Memory;
use crate::place::Place;

/// All that was measured with one MPM and the applications in one place.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) mpm: Mpm,
    pub(crate) place: Place,
    pub(crate) memory: Option<Memory>,
    pub(crate) contests: Vec<Contest>,
}
