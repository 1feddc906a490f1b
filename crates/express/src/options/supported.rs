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
    EMBEDDED_MODE = Spec::flag("--embedded-mode",
        "Runs the application in Apache's own processes instead of daemon processes, and never reloads it.");
    PROCESS_GROUP = Spec::text("--process-group", &["NAME"],
        "Name of the group of daemon processes; HOST:PORT if not given.");
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
        "Where the application works, and first on Python's import path; the current directory if not given.");
    PYTHON_PATH = Spec::text("--python-path", &["DIRECTORY"],
        "Directory to add to Python's import path; may be repeated.");
    PYTHON = Spec::text("--python", &["FILE"],
        "The Python interpreter; $PYTHON, the active virtual environment's, or the first python3 on PATH that the \
         serving account can execute, if not given.");
    SERVER_MPM = Spec::text("--server-mpm", &["NAME"],
        "Apache's processing model (event, worker or prefork) to choose from; may be repeated.");
    HTTPD_EXECUTABLE = Spec::text("--httpd-executable", &["FILE"],
        "The Apache server to run; the variable HTTPD wins over it.");
    MODULES_DIRECTORY = Spec::text("--modules-directory", &["DIRECTORY"],
        "Where Apache's modules are (for install-module: where to install to).");
    ERROR_OVERRIDE = Spec::flag("--error-override",
        "Replaces the application's error pages by Apache's.");
    SERVER_METRICS = Spec::flag("--server-metrics",
        "Lets the application see Apache's scoreboard, with the requests of all clients: mod_wsgi.server_metrics().");
    // Reloading
    RELOAD_ON_CHANGES = Spec::flag("--reload-on-changes",
        "Replaces the daemon processes also when a file of an imported module changes.");
    DISABLE_RELOADING = Spec::flag("--disable-reloading",
        "Ignores changes of the script.");
    // Python
    PYTHON_EGGS = Spec::text("--python-eggs", &["DIRECTORY"],
        "Where Python eggs are unpacked; python-eggs in the server root if not given.");
    PYTHON_WARNINGS = Spec::text("--python-warnings", &["FILTER"],
        "Python warning filter, such as error::DeprecationWarning; may be repeated.");
    SWITCH_INTERVAL = Spec::float("--switch-interval",
        "Seconds after which Python lets another thread run, such as 0.001.");
    FREE_THREADING = Spec::flag("--free-threading",
        "Runs a free-threaded Python without its lock.");
    ORPHAN_INTERPRETER = Spec::flag("--orphan-interpreter",
        "Does not destroy interpreters at the end of a process.");
    // Identity and environment of the processes
    LOCALE = Spec::text("--locale", &["NAME"],
        "Locale of the application, such as de_DE.UTF-8; that of the environment, else C.UTF-8, if not given.");
    LANG = Spec::text("--lang", &["NAME"],
        "Former name of --locale.").hidden();
    PROCESS_NAME = Spec::text("--process-name", &["NAME"],
        "What ps shows for Apache's processes; the program's path if not given.");
    UMASK = Spec::text("--umask", &["OCTAL"],
        "Mask for the permissions of files that the daemon processes make, such as 0027.");
    // The life of daemon processes
    MAXIMUM_REQUESTS = Spec::count("--maximum-requests",
        "Requests after which a process is replaced; never if not given.");
    RESTART_INTERVAL = Spec::seconds("--restart-interval",
        "Seconds after which a daemon process is replaced; never if not given.");
    INACTIVITY_TIMEOUT = Spec::seconds("--inactivity-timeout",
        "Seconds without a request after which a daemon process is replaced; never if not given.");
    IGNORE_ACTIVITY = Spec::text("--ignore-activity", &["URL-PATH"],
        "URL whose requests do not count for --inactivity-timeout; may be repeated.");
    STARTUP_TIMEOUT = Spec::seconds("--startup-timeout",
        "Seconds for the application to load, from the first request on; 15 if not given.");
    SHUTDOWN_TIMEOUT = Spec::seconds("--shutdown-timeout",
        "Seconds for a daemon process to shut down before it is ended by force; 5 if not given.");
    GRACEFUL_TIMEOUT = Spec::seconds("--graceful-timeout",
        "Seconds for the requests of a daemon process that is replaced to end; 15 if not given.");
    EVICTION_TIMEOUT = Spec::seconds("--eviction-timeout",
        "The same for a daemon process that gets the signal USR1; --graceful-timeout if not given.");
    DEADLOCK_TIMEOUT = Spec::seconds("--deadlock-timeout",
        "Seconds for which Python's lock may be held; 60 if not given.");
    // Requests
    REQUEST_TIMEOUT = Spec::seconds("--request-timeout",
        "Seconds that a request may take, times 1 + ln(threads); 60 if not given.");
    INTERRUPT_TIMEOUT = Spec::seconds("--interrupt-timeout",
        "Seconds that such a request has left after the exception mod_wsgi.RequestTimeout; no exception if not given.");
    QUEUE_TIMEOUT = Spec::seconds("--queue-timeout",
        "Seconds that a request may wait for a thread; 45 if not given.");
    CONNECT_TIMEOUT = Spec::seconds("--connect-timeout",
        "Seconds that a request may wait for a daemon process to exist; 15 if not given.");
    SOCKET_TIMEOUT = Spec::seconds("--socket-timeout",
        "Seconds to wait for a client, and for a daemon process; 60 if not given.");
    RESPONSE_SOCKET_TIMEOUT = Spec::seconds("--response-socket-timeout",
        "Seconds that a write to a client may take; --socket-timeout if not given.");
    DAEMON_BACKLOG = Spec::integer("--daemon-backlog",
        "Requests that may wait for the threads of a daemon process; 100 if not given.");
    // Resources
    CPU_TIME_LIMIT = Spec::seconds("--cpu-time-limit",
        "Seconds of CPU time after which a daemon process is replaced; never if not given.");
    MEMORY_LIMIT = Spec::bytes("--memory-limit",
        "Bytes of memory for data that a daemon process may have; no limit if not given.");
    VIRTUAL_MEMORY_LIMIT = Spec::bytes("--virtual-memory-limit",
        "Bytes of address space that a daemon process may have; no limit if not given.");
    HEADER_BUFFER_SIZE = Spec::bytes("--header-buffer-size",
        "Bytes that a header of a response may have; 32768 if not given.");
    RESPONSE_BUFFER_SIZE = Spec::bytes("--response-buffer-size",
        "Bytes of a response that Apache may hold back; 8388608 if not given.");
    RESPONSE_FLUSH_DELAY = Spec::milliseconds("--response-flush-delay",
        "Milliseconds for which it does; 5 if not given.");
    SEND_BUFFER_SIZE = Spec::bytes("--send-buffer-size",
        "Send buffer between Apache and the daemon processes; the system's if not given.");
    RECEIVE_BUFFER_SIZE = Spec::bytes("--receive-buffer-size",
        "Receive buffer between Apache and the daemon processes; the system's if not given.");
    SOCKET_PREFIX = Spec::text("--socket-prefix", &["DIRECTORY"],
        "No longer needed, and without effect: daemon processes have no socket files.");
    // Apache's own processes
    MAX_CLIENTS = Spec::integer("--max-clients",
        "Clients that Apache serves at a time; 10, and half as many again as the application (at least 10), if not given.");
    INITIAL_WORKERS = Spec::float("--initial-workers",
        "Fraction of these that is there from the start; 0.05 (prefork) or 0.2 if not given.");
    MINIMUM_SPARE_WORKERS = Spec::float("--minimum-spare-workers",
        "Fraction that is kept idle at least; --initial-workers if not given.");
    MAXIMUM_SPARE_WORKERS = Spec::float("--maximum-spare-workers",
        "Fraction that is kept idle at most; 0.1 (prefork) or 0.6 if not given.");
    // Service scripts
    SERVICE_SCRIPT = Spec::text("--service-script", &["NAME", "FILE"],
        "Script that runs in a daemon process of its own, for as long as it likes; may be repeated.");
    SERVICE_USER = Spec::text("--service-user", &["NAME", "USER"],
        "Account of a service script when started as root; that of --user if not given.");
    SERVICE_GROUP = Spec::text("--service-group", &["NAME", "GROUP"],
        "Group of a service script when started as root; its account's primary group if not given.");
    SERVICE_LOG_FILE = Spec::text("--service-log-file", &["NAME", "FILE"],
        "Error log of a service script, in the directory of the logs; the error log if not given.");
    SETUP_ONLY = Spec::flag("--setup-only",
        "Generates the server root without starting the server.");
}
