//! Shared libraries that stay loaded until the process ends.

use std::ffi::{CStr, CString, c_void};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

/// A loaded library. It is never unloaded: it may have started threads, and others may have its
/// functions.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    handle: NonNull<c_void>,
}

// SAFETY: a handle is a name for something that does not change.
unsafe impl Send for Library {}
// SAFETY: a handle is a name for something that does not change; `dlsym` may be called from any
// thread.
unsafe impl Sync for Library {}

/// The visibility of a library's symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbols {
    /// Only who asks for them by [`Library::symbol`].
    Local,
    /// Every library that is loaded later, as if the program itself had them.
    Global,
}

/// The error of a library that could not be loaded, in the words of the dynamic loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError(String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

impl Library {
    /// Loads the library at `path`; a name without a slash is searched where the dynamic loader
    /// searches.
    ///
    /// # Errors
    /// It cannot be loaded.
    ///
    /// # Safety
    /// The library's initialisers run. Nothing else must depend on their not having run.
    pub unsafe fn open(path: &Path, symbols: Symbols) -> Result<Self, LoadError> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| LoadError(format!("{}: a path cannot contain a NUL byte", path.display())))?;
        let mode = libc::RTLD_NOW
            | match symbols {
                Symbols::Local => libc::RTLD_LOCAL,
                Symbols::Global => libc::RTLD_GLOBAL,
            };
        // SAFETY: a C string; for the initialisers see the caller's promise.
        let handle = unsafe { libc::dlopen(name.as_ptr(), mode) };
        NonNull::new(handle).map(|handle| Self { handle }).ok_or_else(last_error)
    }

    /// Returns the address of a symbol.
    #[must_use]
    pub fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: a live handle and a C string.
        NonNull::new(unsafe { libc::dlsym(self.handle.as_ptr(), name.as_ptr()) })
    }
}

/// Returns the file that the code or data at `address` was loaded from; `None` if it was not loaded
/// from one.
#[must_use]
pub fn file_of(address: *const ()) -> Option<PathBuf> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: any address may be asked for; the name is valid while the library is loaded, and
    // copied at once.
    unsafe {
        if libc::dladdr(address.cast(), &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let name = CStr::from_ptr(info.dli_fname);
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes())))
    }
}

fn last_error() -> LoadError {
    // SAFETY: the message is this thread's, valid until its next call, and copied at once.
    let text = unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            "the dynamic loader gave no reason".to_owned()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    };
    LoadError(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_gives_its_symbols() {
        // SAFETY: the C library is loaded already.
        let library = unsafe { Library::open(Path::new("libc.so.6"), Symbols::Local) }.unwrap();
        let symbol = library.symbol(c"getpid").unwrap();
        let file = file_of(symbol.as_ptr().cast_const().cast()).unwrap();
        assert!(file.ends_with("libc.so.6"), "{}", file.display());
        assert!(library.symbol(c"no such symbol").is_none());
    }

    #[test]
    fn a_missing_library_is_named() {
        // SAFETY: there is no such library.
        let error = unsafe { Library::open(Path::new("/nonexistent/lib.so"), Symbols::Global) }.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/lib.so"), "{error}");
    }

    #[test]
    fn a_null_address_has_no_file() {
        assert_eq!(file_of(std::ptr::null()), None);
    }
}
