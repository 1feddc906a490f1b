//! Lines for the error log: the supervisor reads them from standard error.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use wsgi_core::level::Level;

/// The lowest level that the log takes.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Error as u8);

/// Sets the lowest level that the log takes.
pub(crate) fn set_level(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// Writes a line, if the log takes lines of this level.
pub(crate) fn write(level: Level, text: impl Display) {
    if level as u8 > LEVEL.load(Ordering::Relaxed) {
        return;
    }
    // What a collector answers can contain anything.
    let text = text.to_string();
    let mut line = os::log_line::prefix(level.name(), SystemTime::now());
    for character in text.chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line.push('\n');
    // There is nowhere to complain.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
