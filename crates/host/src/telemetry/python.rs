//! The facts about Python that are reported, as noted by threads that were in it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use python::{Python, Result};

static VERSION: OnceLock<String> = OnceLock::new();

/// `sys.getswitchinterval()`, as bits.
static SWITCH_INTERVAL: AtomicU64 = AtomicU64::new(0);

/// Notes the facts of the main interpreter.
pub(crate) fn note(py: Python<'_>) -> Result<()> {
    VERSION.get_or_init(|| py.version_text().split(' ').next().unwrap_or_default().to_owned());
    let sys = py.import(c"sys")?;
    let interval = sys.attr(&py.name("getswitchinterval")?)?.call([])?.to_f64()?;
    SWITCH_INTERVAL.store(interval.to_bits(), Ordering::Relaxed);
    Ok(())
}

/// Returns Python's version.
pub(super) fn version() -> String {
    VERSION.get().cloned().unwrap_or_default()
}

/// Returns the last known `sys.getswitchinterval()`.
pub(super) fn switch_interval() -> f64 {
    f64::from_bits(SWITCH_INTERVAL.load(Ordering::Relaxed))
}
