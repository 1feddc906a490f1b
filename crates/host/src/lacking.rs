//! The scripts that an embedded process should have imported at its start, and has not.

use std::sync::atomic::{AtomicBool, Ordering};

use wsgi_core::wire::control::Script;

use crate::locked::Locked;

static SCRIPTS: Locked<Vec<Script>> = Locked::new(Vec::new());
/// True if there are any.
static ARE_ANY: AtomicBool = AtomicBool::new(false);

/// Notes that a script could not be imported.
pub(crate) fn add(path: &[u8], application_group: &[u8]) {
    SCRIPTS.with(|scripts| {
        scripts.push(Script {
            path: path.into(),
            application_group: application_group.into(),
            callables: Vec::new(),
        });
        ARE_ANY.store(true, Ordering::Release);
    });
}

/// Notes that a script has been loaded.
pub(crate) fn remove(path: &[u8], application_group: &[u8]) {
    if lacks_import() {
        SCRIPTS.with(|scripts| {
            scripts.retain(|script| *script.path != *path || *script.application_group != *application_group);
            ARE_ANY.store(!scripts.is_empty(), Ordering::Release);
        });
    }
}

/// Returns whether there are any.
pub(crate) fn lacks_import() -> bool {
    ARE_ANY.load(Ordering::Acquire)
}
