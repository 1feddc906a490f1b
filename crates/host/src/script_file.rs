//! The file of a script.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The content of a script, as it was read.
pub(crate) struct Source {
    pub(crate) text: Vec<u8>,
    /// The error with which the file was closed, if there was one: a file system has reported late
    /// what is wrong with it.
    pub(crate) close_error: Option<nix::Error>,
}

/// Reads a regular file. Anything else could block or never end.
pub(crate) fn read(path: &[u8]) -> Result<Source, String> {
    let path = Path::new(OsStr::from_bytes(path));
    let status = std::fs::metadata(path).map_err(|error| explain(&error))?;
    if !status.is_file() {
        return Err("it is not a regular file.".to_owned());
    }
    let mut text = Vec::with_capacity(usize::try_from(status.len()).unwrap_or(0));
    let file = File::open(path).and_then(|mut file| file.read_to_end(&mut text).map(|_| file));
    let file = file.map_err(|error| explain(&error))?;
    Ok(Source { text, close_error: nix::unistd::close(file).err() })
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
