//! The log of a daemon process outside requests: lines as Apache writes them, which go to the
//! supervisor's relay.

mod output;

use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use bridge::{Bytes, Level};

pub(super) use output::{never_wait, open};

/// The longest text of a line, in bytes.
const LONGEST: usize = 8 << 10;

/// The level that is written; lines of a higher number are not.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Sets the highest level that is written.
pub(crate) fn set_level(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// Writes a line.
pub(crate) fn line(level: Level, text: &str) {
    write(level as c_int, Bytes::new(text.as_bytes()));
}

pub(super) extern "C" fn is_logged(level: c_int) -> bool {
    level <= c_int::from(LEVEL.load(Ordering::Relaxed))
}

pub(super) extern "C" fn write(level: c_int, text: Bytes<'_>) {
    if !is_logged(level) {
        return;
    }
    let mut line = prefix(level);
    let text = text.or_empty();
    for &byte in &text[..text.len().min(LONGEST)] {
        // As in Apache's own log, no byte may look like another line.
        match byte {
            b'\t' | 0x20..=0x7e | 0x80.. => line.push(byte),
            b'\n' => line.extend_from_slice(b"\\n"),
            _ => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    line.push(b'\n');
    output::write(&line);
}

/// Returns the beginning of a line of this level, with the present time.
fn prefix(level: c_int) -> Vec<u8> {
    let level = u8::try_from(level).ok().and_then(Level::from_number).unwrap_or(Level::Error);
    os::log_line::prefix(level.name(), SystemTime::now()).into_bytes()
}
