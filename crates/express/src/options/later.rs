//! The options of the contract that this version knows and refuses.

use super::Spec;

/// See [`super::server`].
pub(super) static LATER: &[Spec] = &[
    // Debug modes
    Spec::flag("--debug-mode", "Runs Apache in one process with one thread.").later(),
    Spec::flag("--enable-debugger", "Starts pdb on exceptions.").later(),
    Spec::flag("--debugger-startup", "Starts pdb before the first request.").later(),
    Spec::flag("--enable-coverage", "Measures code coverage.").later(),
    Spec::text("--coverage-directory", &["DIRECTORY"], "Where coverage reports go.").later(),
    Spec::flag("--enable-profiler", "Profiles the application.").later(),
    Spec::text("--profiler-directory", &["DIRECTORY"], "Where profiles go.").later(),
    Spec::flag("--enable-recorder", "Records requests and responses.").later(),
    Spec::text("--recorder-directory", &["DIRECTORY"], "Where recordings go.").later(),
    Spec::flag("--enable-gdb", "Runs Apache under gdb.").later(),
    Spec::text("--gdb-executable", &["FILE"], "The gdb program.").later(),
];
