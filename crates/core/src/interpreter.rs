//! Which settings an interpreter gets: `<WSGIInterpreterOptions>` blocks over the server-level directives.

/// One `<WSGIInterpreterOptions>` section, or (without selectors) the server-level directives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    /// Process group it applies to (empty: the Apache children); unset: any.
    pub process_group: Option<Box<[u8]>>,
    /// Application group it applies to (empty: the main interpreter); unset: any.
    pub application_group: Option<Box<[u8]>>,
    /// `WSGIPythonPath`.
    pub python_path: Option<Box<[u8]>>,
    /// `WSGISwitchInterval`, in seconds.
    pub switch_interval: Option<f64>,
    /// `WSGIPerInterpreterGIL`.
    pub per_interpreter_gil: Option<bool>,
    /// `WSGIFreeThreading`.
    pub free_threading: Option<bool>,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Option<bool>,
}
