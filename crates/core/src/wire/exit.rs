//! Exit statuses of daemon processes, by which the supervisor knows why they have ended.

/// A script could not be imported, which the error log describes.
pub const NOT_IMPORTED: u8 = 3;

/// No processes can be forked from this template, for a reason that the error log describes.
pub const NOT_FORKABLE: u8 = 4;

/// The process could not go on, which the error log describes.
pub const FAILED: u8 = 255;

/// The line of the log about a copy of a process that a script has forked, where it is ended.
pub const COPY_RETURNED: &str = "a copy of a process, which a script has forked, has returned from the script, and is ended. Have it end by os._exit()";
