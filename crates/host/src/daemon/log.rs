//! The log of a daemon process outside requests: lines as Apache writes them, which go to the
//! supervisor's relay.

mod output;

use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::SystemTime;

use bridge::{Bytes, Level};
use wsgi_core::log_record::{Line, Origin, is_record};
use wsgi_core::wire::launch;

pub(super) use output::{never_wait, open};

/// The longest text of a line, in bytes.
const LONGEST: usize = 8 << 10;

/// The level that is written; lines of a higher number are not.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// True if lines are JSON objects.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The name of the process group, for JSON objects.
static GROUP: OnceLock<Box<[u8]>> = OnceLock::new();

/// Sets the highest level that is written, and the format.
pub(crate) fn configure(launch: &launch::Daemon) {
    LEVEL.store(launch.log_level, Ordering::Relaxed);
    IS_JSON.store(launch.json_log, Ordering::Relaxed);
    // Of a process that is forked from its template, it is the same.
    let _ = GROUP.set(launch.name.clone());
}

/// Writes a line.
pub(crate) fn line(level: Level, text: &str) {
    write(level as c_int, Bytes::new(text.as_bytes()));
}

pub(super) extern "C" fn is_logged(level: c_int) -> bool {
    level <= c_int::from(LEVEL.load(Ordering::Relaxed))
}

pub(super) extern "C" fn write(level: c_int, text: Bytes<'_>) {
    if is_logged(level) {
        output::write(&render(level, text.or_empty()));
    }
}

/// Returns a line, with its end; several of a record in a log without fields.
fn render(level: c_int, text: &[u8]) -> Vec<u8> {
    let level = u8::try_from(level).ok().and_then(Level::from_number).unwrap_or(Level::Error);
    let now = SystemTime::now();
    if IS_JSON.load(Ordering::Relaxed) {
        let time = os::clock::rfc_3339(now);
        let (process, thread) = (std::process::id(), os::thread::id().unsigned_abs());
        let group = GROUP.get().map(|group| &**group);
        let origin = Origin { time: &time, level: level.name(), process, thread, group, ..Origin::default() };
        return Line::parse(text).json(&origin).into_bytes();
    }
    let prefix = os::log_line::prefix(level.name(), now).into_bytes();
    if !is_record(text) {
        return plain(&prefix, text);
    }
    Line::parse(text).plain().split(|byte| *byte == b'\n').flat_map(|line| plain(&prefix, line)).collect()
}

fn plain(prefix: &[u8], text: &[u8]) -> Vec<u8> {
    let mut line = prefix.to_vec();
    for &byte in &text[..text.len().min(LONGEST)] {
        // As in Apache's own log, no byte may look like another line.
        match byte {
            b'\t' | 0x20..=0x7e | 0x80.. => line.push(byte),
            b'\n' => line.extend_from_slice(b"\\n"),
            _ => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    line.push(b'\n');
    line
}
