//! What a host is told when it starts.

use bridge::{ABI, Bytes, Import, InterpreterOptions, List, Settings, tristate};
use std::os::unix::ffi::OsStrExt;
use wsgi_core::config::Global;
use wsgi_core::interpreter::Block;

use super::Facts;
use super::python_home::PythonHome;

/// Calls `body` with the settings of this process.
pub(super) fn with<T>(
    global: &Global,
    home: &PythonHome,
    facts: &Facts,
    script_reloading: bool,
    body: impl FnOnce(&Settings<'_>) -> T,
) -> T {
    let warnings: Vec<Bytes<'_>> = global.python_warnings.iter().map(|option| Bytes::new(option)).collect();
    let interpreters: Vec<InterpreterOptions<'_>> = global.interpreter_blocks().map(options).collect();
    let imports: Vec<Import<'_>> = global
        .imports_of(b"")
        .map(|import| Import {
            script: Bytes::new(&import.script),
            application_group: Bytes::new(&import.application_group),
        })
        .collect();
    let mpm = &facts.mpm;
    body(&Settings {
        abi: ABI,
        program: Bytes::new(home.program.as_os_str().as_bytes()),
        home: Bytes::optional(home.home.as_deref()),
        process_group: Bytes::new(b""),
        python_eggs: Bytes::optional(global.python_eggs.as_deref()),
        warnings: List::new(&warnings),
        interpreters: List::new(&interpreters),
        imports: List::new(&imports),
        server_version: facts.version,
        server_description: Bytes::new(&facts.description),
        server_built: Bytes::new(&facts.built),
        mpm_name: Bytes::from(mpm.name.as_str()),
        processes: mpm.processes,
        threads: mpm.threads,
        mpm_processes: mpm.processes,
        mpm_threads: mpm.threads,
        optimize: global.python_optimize,
        hash_seed: global.python_hash_seed.map_or(-1, i64::from),
        dont_write_bytecode: global.dont_write_bytecode == Some(true),
        destroy_interpreters: global.destroys_interpreters(),
        case_sensitive: global.case_sensitive(),
        script_reloading,
        multithread: mpm.is_threaded && mpm.threads != 1,
        multiprocess: mpm.is_forked && mpm.processes != 1,
        run_once: false,
        single_process: facts.single_process,
    })
}

fn options(block: &Block) -> InterpreterOptions<'_> {
    InterpreterOptions {
        process_group: Bytes::optional(block.process_group.as_deref()),
        application_group: Bytes::optional(block.application_group.as_deref()),
        python_path: Bytes::optional(block.python_path.as_deref()),
        switch_interval: block.switch_interval.unwrap_or(0.0),
        per_interpreter_gil: tristate(block.per_interpreter_gil),
        free_threading: tristate(block.free_threading),
        restrict_stdin: tristate(block.restrict_stdin),
        restrict_stdout: tristate(block.restrict_stdout),
        restrict_signal: tristate(block.restrict_signal),
    }
}
