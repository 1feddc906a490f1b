//! The options that this version supports.

use super::Spec;

macro_rules! options {
    ($($name:ident = $spec:expr;)*) => {
        $(pub(crate) static $name: Spec = $spec;)*

        /// In the order of the help.
        pub(super) static SERVER: &[&Spec] = &[$(&$name),*];
    };
}

options! {
    ENTRY_POINT = Spec::text("--entry-point", &["FILE"],
        "The WSGI script file; wins over the positional argument.");
    HOST = Spec::text("--host", &["ADDRESS"],
        "Address to listen on; all addresses if not given.");
    PORT = Spec::integer("--port",
        "Port to listen on; 8000 if not given.");
    SERVER_ROOT = Spec::text("--server-root", &["DIRECTORY"],
        "Where the generated files go; a directory below $TMPDIR or /tmp if not given.");
    USER = Spec::text("--user", &["USER"],
        "Account that serves requests when started as root; www-data, else nobody, if not given.");
    GROUP = Spec::text("--group", &["GROUP"],
        "Group that serves requests when started as root; the account's primary group if not given.");
    PROCESSES = Spec::integer("--processes",
        "Number of processes that run the application; 1 if not given.");
    THREADS = Spec::integer("--threads",
        "Number of threads in each of these processes; 5 if not given.");
    MOUNT_POINT = Spec::text("--mount-point", &["URL-PATH"],
        "URL path of the application; / if not given.");
    CALLABLE_OBJECT = Spec::text("--callable-object", &["NAME"],
        "Name of the WSGI callable in the script; application if not given.");
    APPLICATION_GROUP = Spec::text("--application-group", &["NAME"],
        "Python interpreter that runs the application; %{GLOBAL}, the main one, if not given.");
    DOCUMENT_ROOT = Spec::text("--document-root", &["DIRECTORY"],
        "Directory of static files, served in preference to the application.");
    URL_ALIAS = Spec::text("--url-alias", &["URL-PATH", "FILE-OR-DIRECTORY"],
        "Serves static files below a URL path; may be repeated.");
    INCLUDE_FILE = Spec::text("--include-file", &["FILE"],
        "Apache configuration to include at the end of the generated one; may be repeated.");
    LOG_TO_TERMINAL = Spec::flag("--log-to-terminal",
        "Writes the logs to standard error and standard output instead of files.");
    LOG_LEVEL = Spec::text("--log-level", &["LEVEL"],
        "Apache's log level, such as info or \"warn wsgi:debug\"; warn if not given.");
    LOG_DIRECTORY = Spec::text("--log-directory", &["DIRECTORY"],
        "Where log files go; the server root if not given.");
    ACCESS_LOG = Spec::flag("--access-log",
        "Logs each request.");
    WORKING_DIRECTORY = Spec::text("--working-directory", &["DIRECTORY"],
        "Put first on Python's import path; the current directory if not given.");
    PYTHON_PATH = Spec::text("--python-path", &["DIRECTORY"],
        "Directory to add to Python's import path; may be repeated.");
    PYTHON = Spec::text("--python", &["FILE"],
        "The Python interpreter; $PYTHON, the active virtual environment's, or the first python3 on PATH that the \
         serving account can execute, if not given.");
    EMBEDDED_MODE = Spec::flag("--embedded-mode",
        "Runs the application in Apache's own processes, and never reloads it.");
    SERVER_MPM = Spec::text("--server-mpm", &["NAME"],
        "Apache's processing model (event, worker or prefork) to choose from; may be repeated.");
    HTTPD_EXECUTABLE = Spec::text("--httpd-executable", &["FILE"],
        "The Apache server to run; the variable HTTPD wins over it.");
    MODULES_DIRECTORY = Spec::text("--modules-directory", &["DIRECTORY"],
        "Where Apache's modules are (for install-module: where to install to).");
    SETUP_ONLY = Spec::flag("--setup-only",
        "Generates the server root without starting the server.");
}
