//! The table: name, code, level, meaning, remedy.

use super::{Code, codes};
use crate::level::Level;

codes! {
    NO_PROCESS = "WSGI0001", Alert,
        "No process can be started for a process group, or Python cannot be started in this process.",
        "Raise the limits of processes (`ulimit -u`, `pids.max`) and of open files (`ulimit -n`) that the message asks about. \
         Where Python did not start, a message before this one says why.";
    SUPERVISOR_FAILED = "WSGI0002", Critical,
        "The program that starts and watches the daemon processes cannot start, or cannot go on.",
        "Install `mod_wsgi.so` and all that belongs to it together, from one build. Where the parent process of the server is \
         gone, start the server again.";
    CHROOT_NOT_ENTERED = "WSGI0003", Alert,
        "The directory that `chroot=` names cannot be entered.",
        "Create it, or correct `chroot=`.";
    GROUP_NOT_SET = "WSGI0004", Alert,
        "A daemon process cannot take on its group.",
        "Start the server as root, with all its capabilities.";
    SUPPLEMENTARY_GROUPS_NOT_SET = "WSGI0005", Alert,
        "A daemon process cannot take on the groups of `supplementary-groups=`.",
        "Start the server as root, with all its capabilities.";
    USER_GROUPS_NOT_SET = "WSGI0006", Alert,
        "A daemon process cannot take on the groups that its user is a member of.",
        "Start the server as root, with all its capabilities.";
    USER_NOT_SET = "WSGI0007", Alert,
        "A daemon process cannot take on its user.",
        "Start the server as root, with all its capabilities.";
    PRIVILEGES_LEFT = "WSGI0008", Alert,
        "A process that has taken on its user could become root again. It is not started.",
        "Look for a kernel, container or security module that changes what `setuid` does.";
    HOME_NOT_ENTERED = "WSGI0009", Alert,
        "A daemon process cannot change to the directory of `home=`.",
        "Create it, let the user of the process in, or name another one with `home=`.";
    USER_HOME_NOT_ENTERED = "WSGI0010", Alert,
        "A daemon process cannot change to the home directory of its user.",
        "Create it, let the user in, or name another one with `home=`.";
    USER_UNKNOWN = "WSGI0011", Alert,
        "The user of a daemon process has no entry in the user database, so there is no home directory to start in.",
        "Name a directory with `home=`, or create the user.";
    CHANNELS_NOT_MADE = "WSGI0012", Alert,
        "The channels between the server and its daemon processes cannot be made.",
        "Allow the server more open files (`ulimit -n`, `LimitNOFILE=` of the service): each process takes three.";
    CONNECTION_NOT_TAKEN = "WSGI0016", Error,
        "A daemon process cannot take a connection from the server, most often for lack of file descriptors.",
        "Close files and sockets that the application leaves open, or allow the process more descriptors (`ulimit -n`).";
    WAIT_FAILED = "WSGI0018", Critical,
        "A daemon process cannot wait for requests.",
        "Look in the message for the error of the system. The process is replaced.";
    SUPERVISOR_NOT_STARTED = "WSGI0020", Alert,
        "The program that starts and watches the daemon processes cannot be started. Requests to them get status 503.",
        "Let root run the program that the message names, and allow enough processes (`pids.max`) and open files (`ulimit -n`). \
         The server tries again by itself.";
    PROCESS_NOT_RUN = "WSGI0022", Critical,
        "A daemon process ends because it cannot start a thread or watch its sockets.",
        "Raise the limits of processes and threads (`ulimit -u`, `pids.max`), of memory and of open files.";
    DAEMON_NOT_CONFIGURED = "WSGI0025", Alert,
        "A daemon process could not take on its directory, user or groups, and is not used. Another one is started after a pause.",
        "Look at the message before this one: it names what the process could not do, and the option.";
    DAEMON_NOT_STARTED = "WSGI0028", Critical,
        "A daemon process has not become the Python of its group.",
        "Correct `python-home=`, `python=` or `WSGIPythonHome`, and let the user of the process read and run that Python. If the \
         process is killed because it takes too long, look at the file systems and the user database that it waits for.";
    DAEMON_NOT_SET_UP = "WSGI0029", Critical,
        "Python has started in a daemon process, but cannot be made ready for applications.",
        "Look in the message for the cause; most often the installation of Python is incomplete.";
    INTERPRETER_NOT_SET_UP = "WSGI0035", Critical,
        "A Python interpreter has been created, but cannot be made ready for applications.",
        "Look in the message for the exception: a module of the standard library, or a `sitecustomize`, may be broken.";
    PYTHON_NOT_STARTED = "WSGI0036", Critical,
        "There is no usable Python, or no host of mod_wsgi for it, or the host is of another build than the module.",
        "Name the installation of Python with `WSGIPythonHome`, `python-home=` or `python=`, and build and install the host for \
         it with `make host PYTHON=...`. (Wheels and packages bring the hosts for all Pythons that are supported; a later version \
         may support a newer one.) After an upgrade, restart the server.";
    IMPORT_WITHOUT_INTERPRETER = "WSGI0040", Critical,
        "A script is not imported at start, since its interpreter is not available.",
        "Look in the message for why the interpreter is not available.";
    NO_USER_SCRIPT = "WSGI0041", Error,
        "A password is to be checked by a script, and none is configured: the request gets status 500.",
        "Name one with `WSGIAuthUserScript` where `AuthBasicProvider wsgi` stands, or where it is inherited.";
    NO_INTERPRETER_FOR_PASSWORD = "WSGI0042", Error,
        "The interpreter that is to check a password is not available: the request gets status 500.",
        "Look for the reason in the message, and in those of the start of Python.";
    NO_CHECK_PASSWORD = "WSGI0043", Error,
        "The script of `WSGIAuthUserScript` has no function `check_password`: the request gets status 500.",
        "Define `check_password(environ, user, password)` in it.";
    NO_HASH_SCRIPT = "WSGI0044", Error,
        "The hash of a user is to be found by a script, and none is configured: the request gets status 500.",
        "Name one with `WSGIAuthUserScript` where `AuthDigestProvider wsgi` stands, or where it is inherited.";
    NO_INTERPRETER_FOR_HASH = "WSGI0045", Error,
        "The interpreter that is to find the hash of a user is not available: the request gets status 500.",
        "Look for the reason in the message, and in those of the start of Python.";
    NO_REALM_HASH = "WSGI0046", Error,
        "The script of `WSGIAuthUserScript` has no function `get_realm_hash`: the request gets status 500.",
        "Define `get_realm_hash(environ, user, realm)` in it.";
    NO_INTERPRETER_FOR_GROUPS = "WSGI0048", Error,
        "The interpreter that is to find the groups of a user is not available: the request is denied, with status 401.",
        "Look for the reason in the message, and in those of the start of Python.";
    GROUP_NOT_LATIN1 = "WSGI0049", Error,
        "A group that `groups_for_user` returned has characters outside of Latin-1: the request is denied, with status 401.",
        "Return such names as bytes, encoded as in `Require wsgi-group`.";
    GROUP_NOT_TEXT = "WSGI0050", Error,
        "A group that `groups_for_user` returned is neither text nor bytes: the request is denied, with status 401.",
        "Return `str` or `bytes`.";
    GROUPS_NOT_ITERABLE = "WSGI0051", Error,
        "The result of `groups_for_user` cannot be iterated: the request is denied, with status 401.",
        "Return a list of groups.";
    NO_GROUPS_FUNCTION = "WSGI0052", Error,
        "The script of `WSGIAuthGroupScript` has no function `groups_for_user`: the request is denied, with status 401.",
        "Define `groups_for_user(environ, user)` in it.";
    NO_INTERPRETER_FOR_ACCESS = "WSGI0054", Error,
        "The interpreter that is to decide about access is not available: the request gets status 403.",
        "Look for the reason in the message, and in those of the start of Python.";
    ACCESS_UNCLEAR = "WSGI0055", Error,
        "The result of `allow_access` is none of `True`, `False` and `None`: the request gets status 403.",
        "Return one of these three.";
    NO_ALLOW_ACCESS = "WSGI0056", Error,
        "The script of `WSGIAccessScript` has no function `allow_access`: the request gets status 403.",
        "Define `allow_access(environ, host)` in it.";
    ACCESS_DENIED = "WSGI0057", Error,
        "The script of `WSGIAccessScript` has denied access: the request gets status 403.",
        "This is what the script is for. If it should not have, correct it.";
    NO_GROUP_SCRIPT = "WSGI0058", Error,
        "The groups of a user are to be found by a script, and none is configured: the request is denied, with status 401.",
        "Name one with `WSGIAuthGroupScript` where `Require wsgi-group` stands, or where it is inherited.";
    USER_HAS_NO_GROUPS = "WSGI0059", Error,
        "The user has no groups, and `Require wsgi-group` demands one: the request is denied, with status 401.",
        "Let `groups_for_user` return the user's groups.";
    USER_NOT_IN_GROUP = "WSGI0060", Error,
        "The user is in none of the groups that `Require wsgi-group` names: the request is denied, with status 401.",
        "Let `groups_for_user` return one of them, or correct the line.";
    CORE_LIMIT_NOT_SET = "WSGI0061", Warning,
        "The limit of core dumps of a daemon process cannot be set. The process runs without it.",
        "Start the server as root, with all its capabilities.";
    STACKS_NOT_LOGGED = "WSGI0067", Error,
        "The stacks of Python's threads cannot be logged.",
        "Look at the traceback behind the message.";
    PRIORITY_NOT_SET = "WSGI0075", Warning,
        "The priority of `cpu-priority=` cannot be set. The process runs with that of the server.",
        "Start the server as root, or leave the option out.";
    CPU_LIMIT_NOT_SET = "WSGI0076", Warning,
        "The limit of `cpu-time-limit=` cannot be set. The process runs without it.",
        "Name a limit that is not above that of the server, or start the server as root.";
    MEMORY_LIMIT_NOT_SET = "WSGI0077", Warning,
        "The limit of `memory-limit=` cannot be set. The process runs without it.",
        "Name a limit that is not above that of the server, or start the server as root.";
    ADDRESS_SPACE_LIMIT_NOT_SET = "WSGI0078", Warning,
        "The limit of `virtual-memory-limit=` cannot be set. The process runs without it.",
        "Name a limit that is not above that of the server, or start the server as root.";
    LOCALE_NOT_SET = "WSGI0079", Warning,
        "The locale of `locale=` is not installed. The process runs in that of the server.",
        "Install the locale (`locale -a` lists those that are), or write `locale=C.UTF-8`.";
    REQUEST_NOT_READ = "WSGI0080", Error,
        "A daemon process has been sent a request that it cannot read. It closes the connection.",
        "Make sure that `mod_wsgi.so` and the hosts of mod_wsgi are of one build, and restart the server.";
    SCRIPT_OUTSIDE_CHROOT = "WSGI0081", Error,
        "The script of a request is outside of the root directory of the process (`chroot=`). The client gets status 502.",
        "Put the script below that directory, or send the request to another process group.";
    QUEUE_TIMEOUT = "WSGI0084", Error,
        "A request has waited for longer than `queue-timeout=` for a process. The client gets status 504.",
        "Give the group more processes or threads, make the application faster, or raise `queue-timeout=`.";
    NO_INTERPRETER_FOR_DISPATCH = "WSGI0086", Error,
        "The interpreter of the dispatch script is not available: the request gets status 500.",
        "Look for the reason in the message, and in those of the start of Python.";
    NO_INTERPRETER_FOR_REQUEST = "WSGI0087", Error,
        "The interpreter for a request is not available. The client gets status 500.",
        "Look for the cause in the message; it is tried again with the next request.";
    NO_CALLABLE = "WSGI0089", Error,
        "A script does not have the callable that answers requests. The client gets status 404 in embedded mode, and 500 in daemon \
         mode.",
        "Define `application` in the script, or name what it has with `WSGICallableObject` or `callable-object=`.";
    PATH_NOT_ADDED = "WSGI0091", Error,
        "A directory cannot be added to Python's path. The rest of that list is skipped.",
        "Correct the directory of `WSGIPythonPath` or `python-path=`, or the `.pth` file in it that the traceback names.";
    ADDSITEDIR_MISSING = "WSGI0094", Error,
        "Python's module `site` has no function `addsitedir`, so nothing is added to the path.",
        "Look for what takes it away: a `sitecustomize`, or a `.pth` file of another directory.";
    SITE_NOT_IMPORTED = "WSGI0095", Error,
        "Python's module `site` cannot be imported, so nothing is added to the path.",
        "Repair the installation of Python.";
    SYS_PATH_MISSING = "WSGI0096", Error,
        "Python's `sys.path` is no list any more, so the entries that were to be added to it are not moved to its front.",
        "Look for what replaces it: a `sitecustomize`, or a `.pth` file of a directory in the path.";
    PYTHON_HOME_NOT_FOUND = "WSGI0100", Warning,
        "The directory of `WSGIPythonHome` does not exist or cannot be examined.",
        "Name the directory that contains `bin/python3`, and let the user of the server enter all directories above it.";
    PYTHON_HOME_NO_DIRECTORY = "WSGI0101", Warning,
        "`WSGIPythonHome` names something that is not a directory.",
        "Name the directory that contains `bin/python3`, or the executable of a Python.";
    PYTHON_HOME_NOT_SEARCHABLE = "WSGI0102", Warning,
        "The directory of `WSGIPythonHome` cannot be searched.",
        "Give the user of the server the permission to search it (`x`).";
    NO_INTERPRETER = "WSGI0103", Error,
        "The interpreter of an application group cannot be created.",
        "Look for the cause in the message. With `WSGIApplicationGroup %{GLOBAL}` an application runs in the main interpreter.";
    STOPPING_NOT_PUBLISHED = "WSGI0104", Error,
        "The event `process_stopping` cannot be published to those that have subscribed.",
        "Look at the traceback behind the message.";
    SCRIPT_NOT_COMPILED = "WSGI0105", Error,
        "The script of a request cannot be read, or is not Python. The client gets status 500.",
        "Correct the script, or let the user that the process runs as read it.";
    IMPORT_NOT_COMPILED = "WSGI0106", Error,
        "A script to be imported at start cannot be read, or is not Python.",
        "Correct the script, or let the user that the process runs as read it.";
    SCRIPT_EXITED = "WSGI0107", Error,
        "The script of a request has raised `SystemExit` while it was loaded. The client gets status 500.",
        "Do not call `sys.exit()` when the script is loaded.";
    IMPORT_EXITED = "WSGI0108", Error,
        "A script that is imported at start has raised `SystemExit`.",
        "Do not call `sys.exit()` when the script is loaded.";
    SCRIPT_RAISED = "WSGI0109", Error,
        "The script of a request has raised an exception while it was loaded. The client gets status 500.",
        "Look at the traceback behind the message.";
    IMPORT_RAISED = "WSGI0110", Error,
        "A script that is imported at start has raised an exception, or cannot be imported at all.",
        "Look at the traceback behind the message.";
    CALLBACK_RAISED = "WSGI0112", Error,
        "A function that has subscribed to an event has raised an exception. The others are called all the same.",
        "Look at the traceback behind the message.";
    EVENT_NOT_PUBLISHED = "WSGI0114", Error,
        "An event of a request cannot be published to those that have subscribed.",
        "Look at the traceback behind the message.";
    NOT_TAKEN = "WSGI0116", Error,
        "No process of a group has taken a request. The client gets status 503.",
        "If processes fail to start, the error log says why. Otherwise give the group more processes or threads, or raise \
         `connect-timeout=`, the time that a request waits.";
    NOT_CONNECTED = "WSGI0117", Error,
        "The server cannot connect to a process group. The client gets status 503.",
        "Look in the message for the error of the system; after a restart of the server the next request may do.";
    RESPONSE_BROKEN_OFF = "WSGI0119", Error,
        "A daemon process has begun a response and not ended it. The connection to the client is closed, so that the client notices.",
        "Look for what ended the process, or for what the application waits for; `socket-timeout=` limits the time.";
    PASSED_ON_TOO_OFTEN = "WSGI0124", Error,
        "Processes that were being replaced have passed on a request too often. The client gets status 503.",
        "Look for the reason why processes are replaced all the time: scripts that change, `maximum-requests=`, `restart-interval=`.";
    REQUEST_TOO_LONG = "WSGI0125", Error,
        "The headers and variables of a request are too long for a daemon process. The client gets status 502.",
        "Set fewer or shorter variables (`SetEnv`), or lower `LimitRequestFieldSize` and `LimitRequestFields`.";
    BODY_NOT_READ = "WSGI0126", Error,
        "The body of a request, which a daemon process wants to read, or which is to be read before the application is called, cannot be had: the client has left or sends nothing, or it is \
         malformed or too long. The application gets an `OSError`, or is not called. A client that is still there gets status 400, 408 or 413.",
        "Look in the message for the status. Where clients are slow, raise `Timeout` or the limits of `RequestReadTimeout`; where \
         bodies are large, `LimitRequestBody`.";
    TELEMETRY_NOT_OPENED = "WSGI0132", Warning,
        "A process cannot report to the target of telemetry (`WSGITelemetryService`), most often because the path of the socket is too \
         long.",
        "Name a socket with a shorter path, or allow the process more open files (`ulimit -n`).";
    TELEMETRY_NOT_STARTED = "WSGI0133", Warning,
        "A process reports no telemetry, since its thread for that cannot be started.",
        "Raise the limits of processes and threads (`ulimit -u`, `pids.max`), and of memory.";
    EXECUTION_NOT_ALLOWED = "WSGI0134", Error,
        "`Options ExecCGI` is not in force for a script that no `WSGIScriptAlias` leads to. The client gets status 403.",
        "Add `Options +ExecCGI` to the directory, or a `WSGIScriptAlias`.";
    SCRIPT_NOT_FOUND = "WSGI0135", Error,
        "The script of a request does not exist or cannot be examined. The client gets status 404.",
        "Correct the path, or let the user of the server enter all directories above the script.";
    SCRIPT_IS_DIRECTORY = "WSGI0136", Error,
        "The script of a request is a directory. The client gets status 403.",
        "Name a file; a `WSGIScriptAlias` for a directory ends with `/` on both sides.";
    PATH_INFO_NOT_ALLOWED = "WSGI0137", Error,
        "`AcceptPathInfo Off` is in force, and a URL continues after its script. The client gets status 404.",
        "Leave `AcceptPathInfo` out if the application uses such URLs.";
    TRANSFER_ENCODING_UNKNOWN = "WSGI0138", Error,
        "The body of a request has a transfer encoding other than `chunked`. The client gets status 501.",
        "Correct the client.";
    CHUNKED_NOT_ALLOWED = "WSGI0139", Error,
        "The body of a request is chunked. The client gets status 411.",
        "Set `WSGIChunkedRequest On`, if the application reads until the end of its input.";
    CONTENT_LENGTH_MALFORMED = "WSGI0141", Error,
        "The `Content-Length` of a request is not a number. The client gets status 400.",
        "Correct the client.";
    EMBEDDED_RESTRICTED = "WSGI0143", Error,
        "`WSGIRestrictEmbedded On` is in force, and a request goes to no process group. The client gets status 500.",
        "Send the request to a group with `WSGIProcessGroup` or `process-group=`.";
    HEAD_TOO_LONG = "WSGI0144", Error,
        "The head of a response is too long. The client gets status 500.",
        "Have the application send fewer or shorter headers, or raise `header-buffer-size=` of the process group.";
    SOCKET_TIMEOUT = "WSGI0145", Error,
        "A daemon process has not answered for as long as `socket-timeout=` (or `Timeout`) allows. The client gets status 504.",
        "Look for what the application waits for, or raise `socket-timeout=`.";
    CONNECTION_CLOSED = "WSGI0146", Error,
        "A daemon process has closed its connection before it answered. The client gets status 502.",
        "Look for what ended the process: the message says so where it is known, and so do the lines of the process.";
    CONNECTION_RESET = "WSGI0147", Error,
        "The connection to a daemon process has failed before it answered. The client gets status 502.",
        "Look for what ended the process: the message says so where it is known, and so do the lines of the process.";
    RESPONSE_MALFORMED = "WSGI0148", Error,
        "A daemon process does not keep to the protocol, or the head of a response is malformed. The client gets status 502, or \
         500 from an application in the server's own process.",
        "Look for an application that writes to descriptors which it did not open. After an upgrade, restart the server.";
    PROCESS_GROUP_RESTRICTED = "WSGI0149", Error,
        "`WSGIRestrictProcess` does not list the process group of a request. The client gets status 500.",
        "Add the group to the list, or send the request to another one.";
    NO_GROUPS = "WSGI0150", Error,
        "A request goes to a process group, and no process group is defined at all. The client gets status 500.",
        "Define the group with `WSGIDaemonProcess`.";
    NO_SUCH_GROUP = "WSGI0151", Error,
        "A request goes to a process group that is not defined, though others are, or that has no processes for requests. The \
         client gets status 500.",
        "Define the group with `WSGIDaemonProcess`, correct its name, or give it threads. Where its processes have not been \
         started, the error log says why.";
    GROUP_OF_OTHER_HOST = "WSGI0152", Error,
        "A request goes to a process group of a virtual host of another name. The client gets status 500.",
        "Define the group outside of `<VirtualHost>`, or in this one.";
    GROUP_SCRIPT_UNKNOWN = "WSGI0153", Error,
        "`script-group=` is in force, and the script cannot be examined. The client gets status 403.",
        "Let the user of the server enter all directories above the script.";
    GROUP_SCRIPT_FOREIGN = "WSGI0155", Error,
        "The script does not belong to the group of `script-group=`. The client gets status 403.",
        "Change the group of the script (`chgrp`), or the option.";
    GROUP_SCRIPT_OPEN_TO_ALL = "WSGI0157", Error,
        "Everybody can write to the script, which `script-group=` forbids. The client gets status 403.",
        "Take the permission away: `chmod o-w`.";
    GROUP_DIRECTORY_UNKNOWN = "WSGI0158", Error,
        "`script-group=` is in force, and the directory of the script cannot be examined. The client gets status 403.",
        "Let the user of the server enter all directories above the script.";
    GROUP_DIRECTORY_FOREIGN = "WSGI0160", Error,
        "The directory of the script does not belong to the group of `script-group=`. The client gets status 403.",
        "Change the group of the directory (`chgrp`), or the option.";
    GROUP_DIRECTORY_OPEN_TO_ALL = "WSGI0161", Error,
        "Everybody can write to the directory of the script, which `script-group=` forbids. The client gets status 403.",
        "Take the permission away: `chmod o-w`.";
    USER_SCRIPT_UNKNOWN = "WSGI0162", Error,
        "`script-user=` is in force, and the script cannot be examined. The client gets status 403.",
        "Let the user of the server enter all directories above the script.";
    USER_SCRIPT_FOREIGN = "WSGI0164", Error,
        "The script does not belong to the user of `script-user=`. The client gets status 403.",
        "Change the owner of the script (`chown`), or the option.";
    USER_SCRIPT_OPEN_TO_GROUP = "WSGI0166", Error,
        "Its group can write to the script, which `script-user=` forbids. The client gets status 403.",
        "Take the permission away: `chmod go-w`.";
    USER_SCRIPT_OPEN_TO_ALL = "WSGI0168", Error,
        "Everybody can write to the script, which `script-user=` forbids. The client gets status 403.",
        "Take the permission away: `chmod go-w`.";
    USER_DIRECTORY_UNKNOWN = "WSGI0169", Error,
        "`script-user=` is in force, and the directory of the script cannot be examined. The client gets status 403.",
        "Let the user of the server enter all directories above the script.";
    USER_DIRECTORY_FOREIGN = "WSGI0171", Error,
        "The directory of the script does not belong to the user of `script-user=`. The client gets status 403.",
        "Change the owner of the directory (`chown`), or the option.";
    USER_DIRECTORY_OPEN_TO_ALL = "WSGI0172", Error,
        "Everybody can write to the directory of the script, which `script-user=` forbids. The client gets status 403.",
        "Take the permission away: `chmod go-w`.";
    USER_DIRECTORY_OPEN_TO_GROUP = "WSGI0173", Error,
        "Its group can write to the directory of the script, which `script-user=` forbids. The client gets status 403.",
        "Take the permission away: `chmod go-w`.";
    EXCEPTION = "WSGI0174", Error,
        "An application, or `reload_required()` of its script, has raised an exception that nobody caught. The client \
         gets status 500, or an incomplete response where it had begun.",
        "Look at the traceback after the message.";
    SYSTEM_EXIT = "WSGI0175", Error,
        "An application has raised `SystemExit`. The process goes on.",
        "Do not call `sys.exit()` in an application.";
    USER_EMPTY = "WSGI0176", Error,
        "The result of `check_password` is an empty text, which cannot be a user: the request gets status 500.",
        "Return the name of the user, or `True`.";
    PASSWORD_UNCLEAR = "WSGI0177", Error,
        "The result of `check_password` is none of `True`, `False`, `None` and a text: the request gets status 500.",
        "Return one of these.";
    HASH_EMPTY = "WSGI0178", Error,
        "The result of `get_realm_hash` is empty: the request gets status 500.",
        "Return the hash, or `None` if the user is unknown.";
    HASH_UNCLEAR = "WSGI0179", Error,
        "The result of `get_realm_hash` is neither text in Latin-1, nor bytes, nor `None`: the request gets status 500.",
        "Return the MD5 of `user:realm:password`, hexadecimal.";
    MODULE_NOT_IMPORTED = "WSGI0188", Error,
        "The module `mod_wsgi` or `apache` that applications import cannot be completed.",
        "Look at the traceback behind the message: an installed package of that name may be broken.";
    CALLBACK_EXITED = "WSGI0190", Error,
        "A function that has subscribed to an event has raised `SystemExit`. The others are called all the same.",
        "Do not call `sys.exit()` in such a function.";
    CLOSE_NOT_FOUND = "WSGI0194", Error,
        "Looking up `close()` of a response has raised an exception other than `AttributeError`. It is not called.",
        "Look at the traceback behind the message.";
    SCRIPT_NOT_CLOSED = "WSGI0195", Warning,
        "The file system has reported an error when the script of a request was closed. What was read of it is used.",
        "Look in the message for the error of the system; most often a file system of the network has one.";
    IMPORT_NOT_CLOSED = "WSGI0196", Warning,
        "The file system has reported an error when a script that is imported at start was closed. What was read of it is used.",
        "Look in the message for the error of the system; most often a file system of the network has one.";
    OWN_GIL_TOO_NEW = "WSGI0198", Warning,
        "`WSGIPerInterpreterGIL` has no effect before Python 3.12.",
        "Use a newer Python, or leave the directive out.";
    SWITCH_INTERVAL_SHARED = "WSGI0199", Warning,
        "`WSGISwitchInterval` has no effect on an interpreter that shares its GIL.",
        "Set it outside of sections with `application-group=`, or add `WSGIPerInterpreterGIL On`.";
    FREE_THREADING_NOT_BUILT = "WSGI0200", Warning,
        "`WSGIFreeThreading` has no effect with a Python that is not a free-threaded build.",
        "Leave the directive out: free-threaded builds are not supported yet (3.14t will be the first).";
    FREE_THREADING_OF_PROCESS = "WSGI0201", Warning,
        "`WSGIFreeThreading` is ignored in a section with `application-group=`: it holds for whole processes.",
        "Move it out of the section.";
    OWN_GIL_WITHOUT_GIL = "WSGI0202", Warning,
        "`WSGIPerInterpreterGIL` has no effect in a process that runs without a GIL.",
        "Leave out one of `WSGIPerInterpreterGIL` and `WSGIFreeThreading`.";
    SWITCH_INTERVAL_OF_SERVER_WITHOUT_GIL = "WSGI0203", Warning,
        "`WSGISwitchInterval` of the server has no effect in its own processes, which run without a GIL.",
        "Leave out one of `WSGISwitchInterval` and `WSGIFreeThreading`.";
    SWITCH_INTERVAL_OF_GROUP_WITHOUT_GIL = "WSGI0204", Warning,
        "`switch-interval=` has no effect in a process that runs without a GIL.",
        "Leave out one of `switch-interval=` and `WSGIFreeThreading`.";
    SWITCH_INTERVAL_WITHOUT_GIL = "WSGI0205", Warning,
        "`WSGISwitchInterval` has no effect in a process that runs without a GIL.",
        "Leave out one of `WSGISwitchInterval` and `WSGIFreeThreading`.";
    DAEMON_FAILED = "WSGI0208", Critical,
        "A daemon process ends because of an error after which it cannot go on.",
        "Look in the message for the cause. If it is a panic, report it.";
    SIGNAL_NOT_PUBLISHED = "WSGI0209", Error,
        "The event `process_signal` cannot be published to those that have subscribed.",
        "Look at the traceback behind the message.";
    PYTHON_NOT_RUNNING = "WSGI0210", Error,
        "Python is not running in a process of the server. The client gets status 500.",
        "Look in the error log for the message about the start of Python, which says why.";
    SUPERVISOR_ENDED = "WSGI1001", Error,
        "The program that starts and watches the daemon processes has ended. Its processes end with it, and another one is \
         started.",
        "Look for what ended it: the system may have killed it for lack of memory (`dmesg`).";
    PROCESS_DIED = "WSGI1002", Error,
        "A daemon process has ended unexpectedly: by a signal, or with an exit status other than 0.",
        "Look at what the process wrote before. A signal such as `SIGSEGV` is most often an extension module's fault; `SIGKILL` \
         comes from the system for lack of memory (`dmesg`), `SIGXCPU` from `cpu-time-limit=`.";
    TOO_LITTLE_MEMORY = "WSGI1003", Error,
        "A daemon process with `memory-limit=` or `virtual-memory-limit=` has ended before it was ready.",
        "Raise the limit, leave it out, or give the group fewer threads or a smaller `stack-size=`.";
    PROCESSES_END_AT_ONCE = "WSGI1004", Error,
        "The processes of a group end by themselves as soon as they are started. The next one is started after a pause, and \
         requests get status 503 until then.",
        "Look for what ends them, such as an import that sends a signal to its own process.";
    NOT_READY_IN_TIME = "WSGI1005", Error,
        "A daemon process was not ready within `startup-timeout=`, or within a minute where others of a growing group served. It is ended, and \
         another one is started.",
        "Look for an import that hangs, or raise `startup-timeout=`.";
    SUCCESSOR_FAILED = "WSGI1006", Error,
        "A process that was started to replace another one could not take its place. The other one goes on.",
        "Look in this message and the ones before it for the cause: most often a changed script cannot be imported.";
    CONTROL_SOCKET_CLOSED = "WSGI1007", Error,
        "A daemon process has closed its connection to the program that watches it. It is ended, and another one is started.",
        "Have the application close only the descriptors that it has opened.";
    PROCESS_KILLED = "WSGI1008", Warning,
        "A daemon process has not ended in time and is killed.",
        "Look for what the application waits for when it ends, or raise `shutdown-timeout=`.";
    PROCESS_STUCK = "WSGI1009", Critical,
        "A daemon process was killed but does not end. The supervisor no longer waits for it.",
        "Look for a file system or a device that hangs.";
    MEMORY_RECYCLE_TOO_SMALL = "WSGI1010", Warning,
        "A process uses more memory than `memory-recycle=` soon after it began to serve. It is not replaced at once, since its \
         successor would do the same.",
        "Raise `memory-recycle=` well above what a process needs that has served for a while: the message has both sizes. Or look for what \
         makes the application grow so fast.";
    MEMORY_NOT_KNOWN = "WSGI1011", Warning,
        "A process cannot find out how much memory it uses. `memory-recycle=` has no effect.",
        "Mount `proc` in the jail (`chroot=`), or remove `memory-recycle=`.";
    THREAD_LOST = "WSGI1012", Critical,
        "Code of an application has ended the thread that runs its request (`pthread_exit`), which is the server's. A daemon process is \
         replaced, and the client gets status 502; in embedded mode, the client gets no answer, and the child goes on with a thread less.",
        "Look for the extension module, or the library that is used through `ctypes`, which calls `pthread_exit`. It may do so only in \
         threads of its own.";
    FILE_NOT_SENT = "WSGI1020", Error,
        "A file that an application returned (`wsgi.file_wrapper`) cannot be sent.",
        "Look in the message for what is wrong with it, or have the application read the file itself.";
    RESPONSE_TOO_SHORT = "WSGI1021", Error,
        "A response is shorter than its `Content-Length` says. If it has begun, the connection is closed, so that the client \
         notices; if there is no body at all, the client gets status 502.",
        "Correct the `Content-Length` of the application. If a file has become shorter while it was sent, replace files by \
         renaming.";
    BODY_NOT_KEPT = "WSGI1022", Error,
        "The body of a request cannot be kept in a file, or not be read from it: the disk is full, the directory is missing or not \
         writable, or the child has too many open files. The client gets status 507 if the disk is full, otherwise 500.",
        "The message names the directory, which is that of the variable `TMPDIR` of Apache's environment, or `/var/tmp`, and says what to \
         do.";
    HOOK_TIMEOUT = "WSGI1030", Error,
        "A script that controls access, or chooses where a request goes, has not answered in time. The request is refused, with \
         status 500 (by a script of groups, 401). Where the script does not run Python code, it cannot be interrupted and goes on by itself.",
        "Look for what it waits for, such as a database, and give that a time limit of its own. `timeout=` of the directive gives the \
         script more time.";
    HOOK_OVERDUE = "WSGI1031", Error,
        "A script that controls access, or chooses where a request goes, is not asked, because too many calls of it have not \
         returned. The request is refused, with status 500 (by a script of groups, 401).",
        "See WSGI1030. The script is asked again as soon as one of these calls has returned.";
    HOOK_UNANSWERED = "WSGI1032", Error,
        "A daemon process that has a script to ask (`process-group=`) has ended, or does not keep to the protocol. The request is \
         refused, with status 403 by `WSGIAccessScript`, 401 by a script of groups, otherwise 500.",
        "Look for what ended the process: the message says so where it is known, and so do the lines of the process.";
    SCRIPT_CHANGE_NOT_LOADED = "WSGI1033", Error,
        "A script of access control has changed, and no process of its group (`process-group=`) could load the change. Requests are \
         refused (status 403, 401 or 500), since the former version might let in whom the change keeps out.",
        "Correct the script: the message says why it could not be loaded, or an earlier one of a process that tried.";
    REQUEST_LOST = "WSGI1040", Error,
        "A child of Apache has ended while it had this request: it has crashed, or was killed. The client gets no answer.",
        "Look for the signal in Apache's own message about the child. In embedded mode most likely the application, or an extension module \
         that it uses, has crashed: daemon mode keeps that away from Apache.";
    TELEMETRY_LOST = "WSGI1050", Warning,
        "A process cannot send to the collector of telemetry (`WSGITelemetryService`). It goes on without, and says so once.",
        "Start the collector, let the users of the processes write to its socket, or have it read faster, as the message says.";
    EXPORTER_NOT_STARTED = "WSGI1060", Error,
        "The program that sends spans and metrics to an OpenTelemetry collector (`WSGIOpenTelemetry`) cannot be started. The server goes on \
         without, and tries again.",
        "Look in the message for the reason. The program is `lib/mod_wsgi/exporter`, and runs as Apache's `User`.";
    EXPORTER_ENDED = "WSGI1061", Error,
        "The program that sends spans and metrics to an OpenTelemetry collector has ended unexpectedly. Another one is started.",
        "Look for what ended it: the system may have killed it for lack of memory (`dmesg`).";
    COLLECTOR_FAILED = "WSGI1062", Warning,
        "An OpenTelemetry collector does not take what it is sent, or does not answer. Spans that wait for too long are dropped and counted; \
         requests are not affected. The message comes once, and again when it works.",
        "Look at the collector, at `endpoint=` of `WSGIOpenTelemetry` and at the variables `OTEL_EXPORTER_OTLP_*`.";
    OPENTELEMETRY_NOT_SET_UP = "WSGI1063", Error,
        "A part of what `WSGIOpenTelemetry` or a variable `OTEL_*` says cannot be had. The message says which, and what the server does \
         without.",
        "Correct the directive or the variable, or install all programs of one build.";
    REQUEST_STUCK = "WSGI1070", Warning,
        "A request has held its thread for longer than `stuck-timeout=` or `WSGIStuckTimeout`. It goes on. The message is followed by what the \
         thread executes; it comes once for a request. Each process logs twenty of them at a stretch, and twenty a minute, and then says how many more \
         there were.",
        "Look in the stack for what the request waits for, and give that a time limit of its own: a database, another server, a lock. \
         `request-timeout=` ends such requests. A request that has to take that long, such as a download or a long poll, belongs to a group \
         of its own with a longer `stuck-timeout=`.";
}
