//! The file of a script.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Returns the contents of a regular file. Anything else could block or never end.
pub(crate) fn read(path: &[u8]) -> Result<Vec<u8>, String> {
    let path = Path::new(OsStr::from_bytes(path));
    let status = std::fs::metadata(path).map_err(|error| explain(&error))?;
    if !status.is_file() {
        return Err("it is not a regular file.".to_owned());
    }
    std::fs::read(path).map_err(|error| explain(&error))
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "{error}. The user that the process runs as needs read permission for the file, and search permission \
             for all directories above it."
        ),
        ErrorKind::NotFound => format!("{error}. Check the path in the configuration."),
        _ => format!("{error}."),
    }
}

/// Returns the modification time of the file in microseconds since the epoch, if it can be read.
pub(crate) fn modified(path: &[u8]) -> Option<i64> {
    let time = std::fs::metadata(Path::new(OsStr::from_bytes(path))).ok()?.modified().ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}
