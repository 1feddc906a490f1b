//! The calls that have taken longer than their time limit and have not returned.

#![expect(clippy::disallowed_types, reason = "a map of numbers is changed under it")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use os::lock::lock;

/// The most of one script.
const MOST_OF_SCRIPT: usize = 8;
/// The most of all scripts.
const MOST: usize = 64;

/// The number of all; no lock is needed as long as there are none.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static BY_SCRIPT: Mutex<Option<HashMap<Vec<u8>, usize>>> = Mutex::new(None);

/// Returns whether there are any.
pub(super) fn any() -> bool {
    COUNT.load(Ordering::Acquire) > 0
}

/// Returns whether the script must not be asked.
pub(super) fn are_too_many(script: &[u8]) -> bool {
    let count = COUNT.load(Ordering::Acquire);
    if count == 0 {
        return false;
    }
    let of_script = lock(&BY_SCRIPT).as_ref().and_then(|scripts| scripts.get(script)).copied();
    count >= MOST || of_script.unwrap_or(0) >= MOST_OF_SCRIPT
}

/// Adds a call.
pub(super) fn add(script: &[u8]) {
    *lock(&BY_SCRIPT).get_or_insert_default().entry(script.to_owned()).or_default() += 1;
    COUNT.fetch_add(1, Ordering::AcqRel);
}

/// Removes a call, which has returned.
pub(super) fn remove(script: &[u8]) {
    if let Some(scripts) = &mut *lock(&BY_SCRIPT)
        && let Some(count) = scripts.get_mut(script)
    {
        *count -= 1;
        if *count == 0 {
            scripts.remove(script);
        }
    }
    COUNT.fetch_sub(1, Ordering::AcqRel);
}
