//! Panics end at the border to C.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use crate::main_log;

const PLACE: usize = 96;

thread_local! {
    // An array, not a string: Apache unloads modules, and thread keys with destructors would stay
    // behind.
    static LAST_PLACE: Cell<([u8; PLACE], usize)> = const { Cell::new(([0; PLACE], 0)) };
}

static HOOK: Once = Once::new();

/// Runs `body`. After a panic, returns the result of `failed`, which gets a line for the log with
/// the message, the place, and the entry from C (`entry`, such as `the handler`).
pub fn guard<T>(entry: &str, body: impl FnOnce() -> T, failed: impl FnOnce(&str) -> T) -> T {
    remember_places();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => failed(&describe_panic(entry, payload.as_ref())),
    }
}

/// Runs `body`, and logs a panic to the main log.
pub(crate) fn quiet_guard(entry: &str, body: impl FnOnce()) {
    guard(entry, body, |line| main_log::write(NO_MODULE, main_log::Level::Crit, line.as_bytes()));
}

const NO_MODULE: std::ffi::c_int = -1;

/// Returns the line for the log about the panic that this thread caught last, in `entry` (see
/// [`guard`]).
#[must_use]
pub fn describe_panic(entry: &str, payload: &(dyn Any + Send)) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    let (place, length) = LAST_PLACE.get();
    let place = String::from_utf8_lossy(&place[..length]);
    format!("Internal error in {entry}: {message} ({place}). This is a bug: please report it with this line.")
}

/// Installs the hook that remembers the place of a panic, which is lost by the time the panic is
/// caught. It replaces the standard hook, which would print to the error log without time or name.
fn remember_places() {
    HOOK.call_once(|| std::panic::set_hook(Box::new(remember_place)));
}

fn remember_place(panic: &PanicHookInfo<'_>) {
    use std::io::Write;

    let mut place = [0; PLACE];
    let mut rest = &mut place[..];
    if let Some(location) = panic.location() {
        // The end of a path says more than its beginning.
        let file = location.file().as_bytes();
        let shown = &file[file.len().saturating_sub(PLACE - 16)..];
        // A place that is too long is cut.
        let _ = rest.write_all(shown).and_then(|()| write!(rest, ":{}", location.line()));
    }
    let length = PLACE - rest.len();
    LAST_PLACE.set((place, length));
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_panic_becomes_a_line() {
        let line = guard("a test", || panic!("number {}", 7), str::to_owned);
        assert!(line.contains("Internal error in a test: number 7"), "{line}");
        assert!(line.contains(&format!("guard.rs:{}", line!() - 2)), "{line}");
    }

    #[test]
    fn without_a_panic_the_result_is_returned() {
        assert_eq!(guard("a test", || 7, |_| 8), 7);
    }
}
