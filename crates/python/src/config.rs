//! The configuration of Python.

use std::ffi::{CStr, CString};

use pyo3_ffi as ffi;

/// The settings that are fixed before Python starts. All others have CPython's defaults for a
/// Python program, `PYTHON*` environment variables among them.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Path of the executable to be, from which CPython finds its library or virtual environment.
    pub program: Option<Vec<u8>>,
    /// `PYTHONHOME`: `prefix[:exec_prefix]`.
    pub home: Option<Vec<u8>>,
    /// `sys.argv`.
    pub arguments: Vec<Vec<u8>>,
    /// One `-W` option each.
    pub warnings: Vec<Vec<u8>>,
    /// `-O` (1), `-OO` (2).
    pub optimize: u32,
    /// The fixed seed of `str` hashes; `None` is random.
    pub hash_seed: Option<u32>,
    /// `-B`.
    pub dont_write_bytecode: bool,
    /// Free-threaded builds only: run without the lock.
    pub free_threading: bool,
}

impl Config {
    /// Initialises Python; the thread is attached to the main interpreter afterwards.
    pub(crate) fn initialize(&self) -> Result<(), String> {
        // SAFETY: the structure is initialised by the first call and cleared by the last; strings
        // are copied.
        unsafe {
            let mut config = std::mem::zeroed::<ffi::PyConfig>();
            ffi::PyConfig_InitPythonConfig(&raw mut config);
            let outcome = self
                .fill(&mut config)
                .and_then(|()| checked(ffi::Py_InitializeFromConfig(&raw const config)));
            ffi::PyConfig_Clear(&raw mut config);
            outcome
        }
    }

    /// # Safety
    /// Returns `config` is initialised.
    unsafe fn fill(&self, config: &mut ffi::PyConfig) -> Result<(), String> {
        config.parse_argv = 0;
        // The process is a server's: its signals and C streams are not Python's to change.
        config.install_signal_handlers = 0;
        config.configure_c_stdio = 0;
        config.optimization_level = i32::try_from(self.optimize).unwrap_or(i32::MAX);
        if self.dont_write_bytecode {
            config.write_bytecode = 0;
        }
        if let Some(seed) = self.hash_seed {
            config.use_hash_seed = 1;
            config.hash_seed = seed.into();
        }
        #[cfg(Py_GIL_DISABLED)]
        {
            config.enable_gil = i32::from(!self.free_threading);
        }

        let program = self.program.as_deref().map(text).transpose()?;
        let home = self.home.as_deref().map(text).transpose()?;
        let arguments = self.arguments.iter().map(|item| text(item)).collect::<Result<Vec<_>, _>>()?;
        let warnings = self.warnings.iter().map(|item| text(item)).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = arguments.iter().map(|item| item.as_ptr()).collect();

        // SAFETY: all strings are NUL-terminated and outlive the calls, which copy them.
        unsafe {
            if let Some(program) = &program {
                let field = &raw mut config.program_name;
                checked(ffi::PyConfig_SetBytesString(config, field, program.as_ptr()))?;
            }
            if let Some(home) = &home {
                let field = &raw mut config.home;
                checked(ffi::PyConfig_SetBytesString(config, field, home.as_ptr()))?;
            }
            let count = ffi::Py_ssize_t::try_from(pointers.len()).unwrap_or(0);
            checked(ffi::PyConfig_SetBytesArgv(config, count, pointers.as_mut_ptr()))?;
            for warning in &warnings {
                let wide = ffi::Py_DecodeLocale(warning.as_ptr(), std::ptr::null_mut());
                if wide.is_null() {
                    return Err(format!("the warning filter {warning:?} cannot be decoded"));
                }
                let appended = ffi::PyWideStringList_Append(&raw mut config.warnoptions, wide);
                ffi::PyMem_RawFree(wide.cast());
                checked(appended)?;
            }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| format!("{:?} contains a NUL byte", String::from_utf8_lossy(bytes)))
}

/// Converts a status; the error is CPython's own message.
fn checked(status: ffi::PyStatus) -> Result<(), String> {
    // SAFETY: the functions only read the structure; the message is a static C string or null.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        if status.err_msg.is_null() {
            return Err(format!("initialisation ended with status {}", status.exitcode));
        }
        Err(CStr::from_ptr(status.err_msg).to_string_lossy().into_owned())
    }
}
