//! The options that belong to no module of their own.

use crate::spec::{LAST_PORT, MAXIMUM, MOST_OF_APACHE, Spec, section};

section! {
    APPLICATION {
        title: "The application",
        about: "One application at a URL path. The directory of a script need not be on Python's path, which contains \
                `--working-directory` and each `--python-path`.",
        example: "mod_wsgi-express start-server app.wsgi --working-directory src --mount-point /shop",
    }

    APPLICATION_TYPE = Spec::text("--application-type", &["TYPE"],
        "What the entry point is: script, module, paste or static.")
        .default("script")
        .note("`script`: a WSGI script file. `module`: the dotted name of a module. `paste`: a configuration for PasteDeploy. `static`: \
               a directory of files (the current one if none is named), without an application.");
    ENTRY_POINT = Spec::text("--entry-point", &["ENTRY-POINT"],
        "What to serve; wins over the positional argument.")
        .note("A module may be named with its callable: `shop.wsgi:app`, or with a function that returns it, \
               `shop.wsgi:create_app()`.");
    CALLABLE_OBJECT = Spec::text("--callable-object", &["NAME"],
        "Name of the WSGI callable in the script or module.")
        .default("application");
    STRICT = Spec::flag("--strict",
        "Loads the application before the server starts, and fails with status 1 if it cannot be loaded.")
        .note("Without it, the server starts, requests get status 500, and loading is tried again. With it, a process of Python's own loads the \
               application once more than otherwise, as the account that serves, with its directories and variables, within `--startup-timeout`. \
               In that process `mod_wsgi` has its names, but there are no requests. For `start-server` and `manage.py runmodwsgi`.");
    MOUNT_POINT = Spec::text("--mount-point", &["URL-PATH"],
        "URL path of the application.")
        .default("/")
        .note("`/shop` itself redirects to `/shop/`; other URLs are served from the document root.");
    APPLICATION_GROUP = Spec::text("--application-group", &["NAME"],
        "Python interpreter that runs the application.")
        .default("%{GLOBAL}, the main one");
    WORKING_DIRECTORY = Spec::text("--working-directory", &["DIRECTORY"],
        "Working directory of the application, first on Python's import path.")
        .default("the current directory");
    PYTHON_PATH = Spec::text("--python-path", &["DIRECTORY"],
        "Directory to add to Python's import path.").repeated();
}

section! {
    SERVER {
        title: "The server",
        about: "",
        example: "mod_wsgi-express start-server app.wsgi --host 127.0.0.1 --port 8080 --server-root /run/shop",
    }

    HOST = Spec::text("--host", &["ADDRESS"],
        "Address to listen on.")
        .default("all addresses");
    PORT = Spec::integer("--port",
        "Port to listen on.")
        .within(1, LAST_PORT)
        .default("8000");
    SERVER_ROOT = Spec::text("--server-root", &["DIRECTORY"],
        "Directory for the generated files.")
        .default("a directory below $TMPDIR or /tmp");
    SETUP_ONLY = Spec::flag("--setup-only",
        "Generates the server root without starting the server.");
    USER = Spec::text("--user", &["USER"],
        "Account that serves requests when started as root.")
        .default("www-data, else nobody");
    GROUP = Spec::text("--group", &["GROUP"],
        "Group that serves requests when started as root.")
        .default("the account's primary group");
    LOCALE = Spec::text("--locale", &["NAME"],
        "Locale of the application, such as de_DE.UTF-8.")
        .default("that of the environment, else C.UTF-8");
    LANG = Spec::text("--lang", &["NAME"],
        "Former name of --locale.").hidden();
    PROCESS_NAME = Spec::text("--process-name", &["NAME"],
        "Name that ps shows for Apache's processes.")
        .default("the program's path");
    INCLUDE_FILE = Spec::text("--include-file", &["FILE"],
        "Apache configuration to include at the end of the generated one.").repeated();
}

section! {
    PROCESSES_AND_THREADS {
        title: "Processes and threads",
        about: "The application runs in daemon processes of its own, or with `--embedded-mode` in Apache's.",
        example: "mod_wsgi-express start-server app.wsgi --processes 3 --threads 10 --maximum-requests 10k",
    }

    PROCESSES = Spec::range("--processes",
        "Number of processes that run the application.")
        .within(1, MAXIMUM)
        .default("1")
        .note("With a range, such as `0-5`, it follows the load.");
    THREADS = Spec::integer("--threads",
        "Number of threads in each of these processes.")
        .within(1, MAXIMUM)
        .default("5");
    SCALE_UP_WAIT = Spec::milliseconds("--scale-up-wait",
        "With a range of processes, another one is started when requests have waited for this long.")
        .default("100");
    SCALE_DOWN_IDLE = Spec::seconds("--scale-down-idle",
        "With a range of processes, one beyond the least ends when it has had no request for this long.")
        .default("60");
    EMBEDDED_MODE = Spec::flag("--embedded-mode",
        "Runs the application in Apache's own processes instead of daemon processes, and never reloads it.");
    PROCESS_GROUP = Spec::text("--process-group", &["NAME"],
        "Name of the group of daemon processes.")
        .default("HOST:PORT");
    UMASK = Spec::text("--umask", &["OCTAL"],
        "Mask for the permissions of files that the daemon processes create, such as 0027.");
    MAXIMUM_REQUESTS = Spec::count("--maximum-requests",
        "Requests after which a process is replaced.")
        .within(0, MOST_OF_APACHE)
        .default("never");
    RESTART_INTERVAL = Spec::seconds("--restart-interval",
        "Seconds after which a daemon process is replaced.")
        .default("never");
    RESTART_JITTER = Spec::integer("--restart-jitter",
        "Percentage by which --maximum-requests and --restart-interval may be exceeded, at random, so that daemon processes are not all \
         replaced at once.")
        .within(0, 100)
        .default("0");
    MEMORY_RECYCLE = Spec::bytes("--memory-recycle",
        "Bytes of memory after which a daemon process is replaced.")
        .default("never");
    INACTIVITY_TIMEOUT = Spec::seconds("--inactivity-timeout",
        "Seconds without a request after which a daemon process is replaced.")
        .default("never");
    IGNORE_ACTIVITY = Spec::text("--ignore-activity", &["URL-PATH"],
        "URL whose requests do not count for --inactivity-timeout.").repeated();
    STARTUP_TIMEOUT = Spec::seconds("--startup-timeout",
        "Seconds for the application to load, from the first request on.")
        .default("15");
    SHUTDOWN_TIMEOUT = Spec::seconds("--shutdown-timeout",
        "Seconds for a daemon process to shut down before it is killed.")
        .default("5");
    GRACEFUL_TIMEOUT = Spec::seconds("--graceful-timeout",
        "Seconds for a daemon process to finish its requests when it is replaced.")
        .default("15")
        .note("It is also the limit for all requests when the server ends gracefully, as it does in a container at the first `SIGTERM`. \
               Ending a request that hangs takes up to ten seconds more, and `--shutdown-timeout`. So give the container the sum, as with \
               `docker stop --timeout 31`.");
    EVICTION_TIMEOUT = Spec::seconds("--eviction-timeout",
        "The same for a daemon process that has received the signal USR1.")
        .default("--graceful-timeout");
    DEADLOCK_TIMEOUT = Spec::seconds("--deadlock-timeout",
        "Seconds for which Python's lock (GIL) may be held.")
        .default("60");
    CPU_TIME_LIMIT = Spec::seconds("--cpu-time-limit",
        "Seconds of CPU time after which a daemon process is replaced.")
        .default("never");
    MEMORY_LIMIT = Spec::bytes("--memory-limit",
        "Bytes of memory for data that a daemon process may have.")
        .default("no limit");
    VIRTUAL_MEMORY_LIMIT = Spec::bytes("--virtual-memory-limit",
        "Bytes of address space that a daemon process may have.")
        .default("no limit");
}

section! {
    REQUESTS {
        title: "Requests",
        about: "The time that a request may take, and how long it may wait.",
        example: "mod_wsgi-express start-server app.wsgi --request-timeout 30 --interrupt-timeout 5",
    }

    REQUEST_TIMEOUT = Spec::seconds("--request-timeout",
        "Seconds that a request may take, multiplied by 1 + ln(threads): 157 with the defaults.")
        .default("60");
    INTERRUPT_TIMEOUT = Spec::seconds("--interrupt-timeout",
        "Seconds that a request has after the exception mod_wsgi.RequestTimeout for --request-timeout.")
        .default("no exception");
    STUCK_TIMEOUT = Spec::seconds("--stuck-timeout",
        "Seconds after which a request is logged, once, with the Python stack of its thread; 0 for never.")
        .default("--request-timeout");
    QUEUE_TIMEOUT = Spec::seconds("--queue-timeout",
        "Seconds that a request may wait for a thread.")
        .default("45");
    CONNECT_TIMEOUT = Spec::seconds("--connect-timeout",
        "Seconds that a request may wait for a daemon process to exist.")
        .default("15");
    SOCKET_TIMEOUT = Spec::seconds("--socket-timeout",
        "Seconds to wait for a client, and for a daemon process.")
        .within(1, MOST_OF_APACHE)
        .default("60");
    RESPONSE_SOCKET_TIMEOUT = Spec::seconds("--response-socket-timeout",
        "Seconds that a write to a client may take.")
        .default("--socket-timeout");
    DAEMON_BACKLOG = Spec::integer("--daemon-backlog",
        "Requests that may wait for the threads of a daemon process.")
        .default("100");
    HEADER_BUFFER_SIZE = Spec::bytes("--header-buffer-size",
        "Bytes that a header of a response may have.")
        .default("32768");
    RESPONSE_BUFFER_SIZE = Spec::bytes("--response-buffer-size",
        "Bytes of a response that Apache may hold back.")
        .default("8388608");
    RESPONSE_FLUSH_DELAY = Spec::milliseconds("--response-flush-delay",
        "Milliseconds for which Apache may hold back a response.")
        .default("5");
    SEND_BUFFER_SIZE = Spec::bytes("--send-buffer-size",
        "Send buffer between Apache and the daemon processes.")
        .default("212992");
    RECEIVE_BUFFER_SIZE = Spec::bytes("--receive-buffer-size",
        "Receive buffer between Apache and the daemon processes.")
        .default("212992");
    SOCKET_PREFIX = Spec::text("--socket-prefix", &["DIRECTORY"],
        "No longer needed, and without effect: daemon processes have no socket files.");
}

section! {
    RELOADING {
        title: "Reloading",
        about: "In daemon mode, a new process loads a script that has changed.",
        example: "mod_wsgi-express start-server app.wsgi --reload-on-changes",
    }

    RELOAD_ON_CHANGES = Spec::flag("--reload-on-changes",
        "Replaces the daemon processes also when a file of an imported module changes.");
    DISABLE_RELOADING = Spec::flag("--disable-reloading",
        "Ignores changes of the script.");
}

section! {
    INTERPRETERS {
        title: "Python",
        about: "",
        example: "mod_wsgi-express start-server app.wsgi --python /opt/shop/venv/bin/python --python-warnings error::DeprecationWarning",
    }

    PYTHON = Spec::text("--python", &["FILE"],
        "The Python interpreter.")
        .default("$PYTHON; the Python of the virtual environment that this command is called in by its path, of the active one, of \
                  the one that this command is in; else the first that the serving account can execute of: the one named at \
                  installation, the one beside this command, those on PATH");
    PYTHON_EGGS = Spec::text("--python-eggs", &["DIRECTORY"],
        "Directory where Python eggs are unpacked.")
        .default("python-eggs in the server root");
    PYTHON_WARNINGS = Spec::text("--python-warnings", &["FILTER"],
        "Python warning filter, such as error::DeprecationWarning.").repeated();
    SWITCH_INTERVAL = Spec::float("--switch-interval",
        "Seconds after which Python lets another thread run, such as 0.001.");
    FREE_THREADING = Spec::flag("--free-threading",
        "Runs a free-threaded Python without the GIL; no such Python is supported yet.");
    ORPHAN_INTERPRETER = Spec::flag("--orphan-interpreter",
        "Does not destroy interpreters at the end of a process.");
}

section! {
    FRONT {
        title: "Apache's own processes",
        about: "Apache's processes accept the clients' connections and pass requests on to the daemon processes. In \
                embedded mode, `--processes` and `--threads` determine their number.",
        example: "mod_wsgi-express start-server app.wsgi --max-clients 200 --server-mpm event",
    }

    SERVER_MPM = Spec::text("--server-mpm", &["NAME"],
        "Apache's processing model (event, worker or prefork) to choose from.").repeated();
    MAX_CLIENTS = Spec::integer("--max-clients",
        "Clients that Apache serves at a time.")
        .within(1, MAXIMUM)
        .default("10, and half as many again as the application (at least 10)");
    INITIAL_WORKERS = Spec::float("--initial-workers",
        "Fraction of these that Apache starts with.")
        .default("0.05 (prefork) or 0.2");
    MINIMUM_SPARE_WORKERS = Spec::float("--minimum-spare-workers",
        "Fraction that is at least kept idle.")
        .default("--initial-workers");
    MAXIMUM_SPARE_WORKERS = Spec::float("--maximum-spare-workers",
        "Fraction that is at most kept idle.")
        .default("0.1 (prefork) or 0.6");
    SERVER_METRICS = Spec::flag("--server-metrics",
        "Lets the application see Apache's scoreboard, with the requests of all clients: mod_wsgi.server_metrics().");
    HTTPD_EXECUTABLE = Spec::text("--httpd-executable", &["FILE"],
        "The Apache server to run; the variable HTTPD wins over it.");
    MODULES_DIRECTORY = Spec::text("--modules-directory", &["DIRECTORY"],
        "Directory of Apache's modules (for install-module: directory to install to).");
}

section! {
    SERVICES {
        title: "Service scripts",
        about: "",
        example: "mod_wsgi-express start-server app.wsgi --service-script mail mailer.py --service-log-file mail mail.log",
    }

    SERVICE_SCRIPT = Spec::text("--service-script", &["NAME", "FILE"],
        "Script that runs in a daemon process of its own, for as long as it likes.").repeated();
    SERVICE_USER = Spec::text("--service-user", &["NAME", "USER"],
        "Account of a service script when started as root.")
        .default("that of --user");
    SERVICE_GROUP = Spec::text("--service-group", &["NAME", "GROUP"],
        "Group of a service script when started as root.")
        .default("its account's primary group");
    SERVICE_LOG_FILE = Spec::text("--service-log-file", &["NAME", "FILE"],
        "Error log of a service script, in the directory of the logs.")
        .default("the error log");
}
