//! The options of the contract that this version knows and refuses.

use super::Spec;

/// See [`super::server`].
pub(super) static LATER: &[Spec] = &[
    // Access control
    Spec::text("--host-access-script", &["FILE"], "Script that admits clients.").later(),
    Spec::text("--auth-user-script", &["FILE"], "Script that checks passwords.").later(),
    Spec::text("--auth-type", &["TYPE"], "Basic or Digest authentication.").later(),
    Spec::text("--auth-group-script", &["FILE"], "Script that names a user's groups.").later(),
    Spec::text("--auth-group", &["NAME"], "Group that a user has to be in.").later(),
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
