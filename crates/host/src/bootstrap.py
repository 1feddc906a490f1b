"""Sets up one interpreter: the modules `mod_wsgi` and `apache`, the standard streams, signals, the import path.

Compiled into the host and run once in each interpreter, with globals like those of the module `mod_wsgi`;
`native` is the host's part (see native.rs). Rare or slow operations are written here, those of every request
are not.
"""

import os
import sys

# Log levels of Apache.
CRIT, ERROR, WARNING, INFO, DEBUG = 2, 3, 4, 6, 7

# Fields of records: see core/src/log_record.rs.
LOGGER, EXCEPTION, TRACEBACK, THREAD, APPLICATION, LEVEL, NAME, TEXT, TOKEN = 2, 3, 4, 5, 8, 11, 12, 13, 14


class RequestTimeout(BaseException):
    """Raised in a thread whose request has exceeded the request timeout."""


class FileWrapper:
    """`wsgi.file_wrapper`: an iterator over the blocks of a file-like object."""

    def __init__(self, filelike, blksize=8192):
        if isinstance(blksize, float) or not hasattr(blksize, "__index__"):
            raise TypeError(f"blksize must be an integer, not {type(blksize).__name__}")
        blksize = blksize.__index__()
        if blksize < 0:
            raise ValueError("blksize must not be negative")
        self._filelike = filelike
        self._blksize = blksize

    @property
    def filelike(self):
        """The object that was wrapped."""
        if self._filelike is None:
            raise ValueError("file wrapper is closed")
        return self._filelike

    @property
    def blksize(self):
        """The size of the blocks, in bytes."""
        return self._blksize

    def __iter__(self):
        return self

    def __next__(self):
        block = self.filelike.read(self._blksize)
        if not isinstance(block, bytes):
            raise TypeError(f"file wrapper expects bytes from read(), got {type(block).__name__}")
        if not block:
            raise StopIteration
        return block

    def close(self):
        """Closes the file-like object, if it can be."""
        filelike, self._filelike = self._filelike, None
        try:
            close = filelike.close
        except AttributeError:
            return
        try:
            close()
        except Exception:
            pass


class Restricted:
    """Stands in for a standard stream that applications must not use."""

    __slots__ = ("_name",)

    def __init__(self, name, directive):
        object.__setattr__(self, "_name", (name, directive))

    def __getattribute__(self, name):
        stream, directive = object.__getattribute__(self, "_name")
        raise OSError(f"{stream} access restricted by mod_wsgi (see {directive})")

    def __setattr__(self, name, value):
        self.__getattribute__(name)


class SignalIntercept:
    """Stands in for `signal.signal` in processes whose signals belong to the server."""

    def __init__(self, register):
        self._register = register
        self._pid = os.getpid()

    def __call__(self, signum, handler, /):
        if os.getpid() != self._pid:
            return self._register(signum, handler)
        if not isinstance(signum, int):
            raise TypeError(f"signal number must be an integer, not {type(signum).__name__}")
        native.log(INFO, f"Callback registration for signal {int(signum)} ignored.")
        _log_caller(2)
        return handler


def _log_caller(depth):
    frame = sys._getframe(depth)
    place = "executing"
    while frame is not None:
        code = frame.f_code
        native.log(INFO, f'{place} file "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}')
        frame, place = frame.f_back, "called from"


def _exit(signum, frame):
    sys.exit()


def _interrupt_on_signal():
    """Handles the signal that follows a request to end the server, where that is a single process and Python is at work."""
    import cmd
    import signal

    prompt = cmd.Cmd.cmdloop.__code__

    def interrupt(signum, frame):
        if frame is None or frame.f_code is not prompt:
            raise KeyboardInterrupt
        # A debugger would go on after that one, and from Python 3.14 on, ask back at the end of the input.
        import bdb

        raise bdb.BdbQuit if isinstance(frame.f_locals.get("self"), bdb.Bdb) else EOFError

    try:
        signal.signal(signal.SIGUSR2, interrupt)
    except ValueError:
        # Python has been started by a thread, for which no signal is meant.
        pass


def _one_callback(name, arguments, keywords):
    if keywords or len(arguments) != 1:
        raise TypeError(f"{name}() takes exactly one positional argument")
    return arguments[0]


def subscribe_events(*arguments, **keywords):
    callback = _one_callback("subscribe_events", arguments, keywords)
    event_callbacks.append(callback)
    return callback


def subscribe_shutdown(*arguments, **keywords):
    callback = _one_callback("subscribe_shutdown", arguments, keywords)
    shutdown_callbacks.append(callback)
    return callback


def subscribe_signals(*arguments, **keywords):
    callback = _one_callback("subscribe_signals", arguments, keywords)
    if process_group:
        signal_callbacks.append(callback)
    else:
        native.log(INFO, "Signal subscription ignored: signals are delivered in daemon processes only.")
        _log_caller(2)
    return callback


def publish(name, callbacks, event):
    """Calls each callback with the event's items, and merges the dicts that they return into it."""
    for callback in list(callbacks):
        try:
            result = callback(name, **event)
        except BaseException as exception:
            code = "WSGI0190" if isinstance(exception, SystemExit) else "WSGI0112"
            _log_exception(f"{code}: {type(exception).__name__} raised by event callback for '{name}'.", exception)
        else:
            if isinstance(result, dict):
                event.update(result)
    return event


def publish_stopping(reason):
    event = {"shutdown_reason": reason}
    publish("process_stopping", [*event_callbacks, *shutdown_callbacks], event)


def publish_signal(name, number):
    event = {"signame": name, "signum": number}
    publish("process_signal", [*event_callbacks, *signal_callbacks], event)


def _frames():
    """Returns the frames of the threads of this interpreter, by their ids."""
    # Interpreters with locks of their own go on while `sys._current_frames()` looks into them, which may crash the
    # process. Those of the server's threads can be had otherwise.
    return native.frames() if native.own_gils else sys._current_frames()


def dump_stacks(ident):
    """Logs the stacks of all threads of this interpreter, or of one."""
    for thread, frame in _frames().items():
        if ident is None or thread == ident:
            place = f"thread {thread} executing"
            while frame is not None:
                code = frame.f_code
                native.log(INFO, f'{place} file "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}')
                frame, place = frame.f_back, "called from"


def stack_of(ident):
    """Returns the lines of the stack of a thread, as a traceback has them."""
    frame = native.frames().get(ident)
    lines = []
    while frame is not None and len(lines) < 100:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}')
        frame = frame.f_back
    if frame is not None:
        lines.append("  ...")
    lines.append("Stack (most recent call last):")
    return lines[::-1]


def wind_down(limit, settled, ends_here):
    """Joins the threads that are not daemons for `limit` seconds at most (negative: as long as they run).

    If some are left, or the interpreter `ends_here`, runs `atexit` functions, joins once more, for `settled` seconds at
    most, and flushes the streams. Returns whether no such threads are left.
    """
    is_done = _join_threads(limit)
    if ends_here or not is_done:
        atexit = sys.modules.get("atexit")
        if atexit is not None:
            atexit._run_exitfuncs()
        is_done = _join_threads(settled)
        _flush()
    return is_done


def _flush():
    """Flushes the standard streams, as finalisation does: text without an end of line may be left in them."""
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except Exception:
            pass


def _join_threads(limit):
    """Does the work of `threading._shutdown` with a limit: that function waits for ever, and holds up the process."""
    threading = sys.modules.get("threading")
    if threading is None:
        return True
    if limit < 0:
        try:
            threading._shutdown()
        except SystemExit:
            # A service is told to end.
            return False
        finally:
            threading._shutdown = _nothing
        return True
    import _thread
    from time import monotonic, sleep

    end = monotonic() + max(limit, 0.0)
    # What concurrent.futures registers here joins its threads.
    callbacks = threading._threading_atexits
    pending, callbacks[:] = callbacks[::-1], []
    threading._SHUTTING_DOWN = True
    if pending:
        done = _thread.allocate_lock()
        done.acquire()

        def call():
            try:
                for callback in pending:
                    callback()
            finally:
                done.release()

        _thread.start_new_thread(call, ())
        done.acquire(timeout=max(limit, 0.0))

    main = threading.main_thread()
    _end_main_thread(main)
    # CPython is going to call it. With the main thread ended, not every version takes that well.
    threading._shutdown = _nothing
    while True:
        others = (thread for thread in threading.enumerate() if not thread.daemon and thread is not main)
        left = [thread for thread in others if thread.ident != _thread.get_ident()]
        if not left:
            return True
        if monotonic() >= end:
            return False
        for thread in left:
            if thread.ident is None:
                # It is being started.
                sleep(0.001)
            else:
                thread.join(max(end - monotonic(), 0.0))


def _nothing():
    pass


def _end_main_thread(main):
    """Releases threads that wait for the end of the main thread, as `threading._shutdown` does before it joins them."""
    try:
        if hasattr(main, "_tstate_lock"):
            if main._tstate_lock is not None:
                main._tstate_lock.release()
                main._stop()
        elif not application_group:
            handle = main._os_thread_handle if hasattr(main, "_os_thread_handle") else main._handle
            handle._set_done()
    except Exception:
        # It had ended, or Python has changed: the threads are not released.
        pass


def threads_left():
    """Returns a line for each thread of the application that `threading` knows: its name and position."""
    threading = sys.modules.get("threading")
    if threading is None:
        return []
    lines = []
    frames = _frames()
    for thread in threading.enumerate():
        # Threads of the server run nothing.
        frame = frames.get(thread.ident)
        is_hidden = native.own_gils and not isinstance(thread, (threading._DummyThread, threading._MainThread))
        if thread.ident == threading.get_ident() or frame is None and not is_hidden:
            continue
        kind = "daemon" if thread.daemon else "not a daemon"
        title = f"{type(thread).__name__} '{thread.name}' ({kind})"
        if frame is None:
            lines.append(title)
            continue
        # The caller of `threading` says more than the wait itself.
        inner = frame
        while inner is not None and inner.f_code.co_filename == threading.__file__:
            inner = inner.f_back
        frame = inner or frame
        code = frame.f_code
        lines.append(f'{title}, executing file "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}')
    return lines


def describe(exception):
    """Returns the lines of an exception's report."""
    import traceback

    text = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    lines = [line for line in text.split("\n") if line.strip()]
    hint = _interpreter_hint(exception)
    return lines + [hint] if hint else lines


def _log_exception(text, exception):
    lines = describe(exception)
    if native.records:
        fields = [EXCEPTION, _class_name(type(exception)), TRACEBACK, "\n".join(lines), APPLICATION, application_group]
        native.log_record(None, ERROR, text, fields)
    else:
        for line in (text, *lines):
            native.log(ERROR, line)


def _class_name(cls):
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _interpreter_hint(exception):
    """Returns advice for an extension module that cannot be used in a sub-interpreter, or None."""
    if not application_group:
        return None
    seen = set()
    while exception is not None and id(exception) not in seen:
        seen.add(id(exception))
        if isinstance(exception, ImportError):
            text = str(exception)
            if any(words in text for words in _SUBINTERPRETER_WORDS):
                import re

                named = re.search(r"module '?([\w.]+)'? does not", text)
                name = exception.name or (named and named[1])
                name = f"'{name}'" if name else "of an extension"
                return (
                    f"The module {name} does not support the sub-interpreter '{application_group}': run the "
                    "application in the main interpreter with 'WSGIApplicationGroup %{GLOBAL}'"
                    + (" or switch WSGIPerInterpreterGIL off" if native.own_gil else "")
                    + "."
                )
        exception = exception.__cause__ or exception.__context__
    return None


_SUBINTERPRETER_WORDS = (
    "subinterpreter",
    "sub-interpreter",
    "sub interpreter",
    "per interpreter",
    "once per process",
    "per-interpreter",
    "PyO3 modules",
)


def file_region(wrapper):
    """Returns descriptor, position and size of a wrapped regular file, or None."""
    import stat

    try:
        filelike = wrapper.filelike
        descriptor = filelike.fileno()
        position = filelike.tell()
        status = os.fstat(descriptor)
    except Exception:
        return None
    if not isinstance(descriptor, int) or not isinstance(position, int) or position < 0:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return descriptor, position, status.st_size


def restore_position(descriptor, position):
    try:
        os.lseek(descriptor, position, os.SEEK_SET)
    except OSError:
        pass


class _Finder:
    """Finds modules as others do, and sets them up once they are loaded.

    To import them here would cost every process some milliseconds, whether it needs them or not.
    """

    def find_spec(self, name, path=None, target=None):
        if name not in _to_set_up:
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find and find(name, path, target)
            if spec:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, _to_set_up[name])
                return spec
        return None


class _Loader:
    def __init__(self, loader, set_up):
        self._loader = loader
        self._set_up = set_up

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._set_up(module)


def _set_up_threading(threading):
    """Has threads prepare for an overflow of their stacks: without that, `faulthandler` writes nothing then.

    What threads call first is wrapped, not what they run, so that no traceback shows it.
    """
    set_ident = getattr(threading.Thread, "_set_ident", None)
    if set_ident is None:
        return

    def _set_ident(self):
        native.begin_thread()
        set_ident(self)

    threading.Thread._set_ident = _set_ident


def _set_up_logging(logging):
    """Has the records of loggers without handlers keep their levels, instead of going to `sys.stderr`.

    The root logger gets no handler: `basicConfig()` would do nothing then, and frameworks would not add theirs.
    Where the log wants records with fields, those of handlers that write to the log's streams become some, too.
    """
    if getattr(logging, "lastResort", None) is not None:
        logging.lastResort = _log_handler(logging)()
    if native.records:
        _keep_records(logging)


_to_set_up = {"logging": _set_up_logging, "threading": _set_up_threading}


def _keep_records(logging):
    log_type = type(sys.stderr.buffer)
    emit_text = logging.StreamHandler.emit

    def emit(self, record):
        # It may be a proxy of a framework.
        try:
            buffer = getattr(self.stream, "buffer", None)
        except Exception:
            buffer = None
        if type(buffer) is log_type:
            # Whatever the level: the application has decided that it is written.
            _emit_record(logging, self, record, buffer, ERROR)
        else:
            emit_text(self, record)

    emit.__qualname__, emit.__doc__ = emit_text.__qualname__, emit_text.__doc__
    logging.StreamHandler.emit = emit


def _emit_record(logging, handler, record, target, level):
    """Logs a record with its fields, instead of the text that the handler would make of it."""
    try:
        fields = [LOGGER, str(record.name), THREAD, str(record.threadName or ""), APPLICATION, application_group]
        fields += [LEVEL, str(_level(record.levelno))]
        if record.exc_info and record.exc_info[0] is not None:
            fields += [EXCEPTION, _class_name(record.exc_info[0])]
        formatter = handler.formatter
        is_plain = formatter is None or type(formatter) is logging.Formatter
        if is_plain and type(handler).format is logging.Handler.format:
            message = record.getMessage()
            fields += _fields_of(logging, record)
        else:
            # Who brings a formatter may want to hide something.
            message = handler.format(record)
            if not isinstance(message, str):
                message = str(message)
        native.log_record(target, level, message, fields)
    except Exception:
        handler.handleError(record)


def _fields_of(logging, record):
    global _own_attributes
    if _own_attributes is None:
        _own_attributes = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
    fields = []
    traceback = record.exc_text
    if not traceback and record.exc_info and record.exc_info[0] is not None:
        traceback = logging.Formatter().formatException(record.exc_info)
    if traceback:
        fields += [TRACEBACK, traceback]
    if record.stack_info:
        fields += [NAME, "stack", TEXT, str(record.stack_info)]
    for name, value in vars(record).items():
        if name not in _own_attributes:
            fields += [NAME, str(name), *_value(value)]
    return fields


# The names that every record of `logging` has.
_own_attributes = None


def _value(value):
    if value is None:
        return TOKEN, "null"
    if value is True or value is False:
        return TOKEN, "true" if value else "false"
    if type(value) is float or type(value) is int and -(2**63) <= value < 2**63:
        # The log checks whether it is a number of JSON: others become texts.
        return TOKEN, repr(value)
    try:
        return TEXT, str(value)
    except Exception as exception:
        return TEXT, f"<{type(value).__name__}, whose str() raised {type(exception).__name__}>"


def _level(level):
    """Returns Apache's level for one of `logging`."""
    if not isinstance(level, int):
        raise TypeError(f"levelno must be an integer, not {type(level).__name__}")
    if level >= 50:
        return CRIT
    if level >= 40:
        return ERROR
    if level >= 30:
        return WARNING
    return INFO if level >= 20 else DEBUG


def _log_handler(logging):
    module = sys.modules["mod_wsgi"]
    if "LogHandler" not in vars(module):
        module.LogHandler = _make_log_handler(logging)
    return module.LogHandler


def _make_log_handler(logging):
    class LogHandler(logging.Handler):
        """Writes records to the Apache error log, at the level of the record."""

        def emit(self, record):
            level = _level(record.levelno)
            if not native.is_logged_in_context(level):
                return
            if native.records:
                _emit_record(logging, self, record, True, level)
                return
            try:
                message = self.format(record)
            except Exception:
                self.handleError(record)
                return
            if not isinstance(message, str):
                message = str(message)
            if message:
                native.log_in_context(level, message.removesuffix("\n"))

    LogHandler.__module__ = "mod_wsgi"
    LogHandler.__qualname__ = "LogHandler"
    return LogHandler


def __getattr__(name):
    # `logging` is imported on first use.
    if name == "LogHandler":
        import logging

        return _log_handler(logging)
    # As `sys.path` may change, it is computed when a submodule is imported.
    if name == "__path__":
        return _module_path()
    raise AttributeError(f"module 'mod_wsgi' has no attribute '{name}'")


def _has_sys_path():
    """Returns whether `sys.path` is what it has to be; says so if not."""
    if isinstance(getattr(sys, "path", None), list):
        return True
    native.log(
        ERROR,
        "WSGI0096: sys.path is no list any more, so the Python path cannot be put together. "
        "Look for what replaces it: sitecustomize, or a .pth file.",
    )
    return False


def _extend_path(path):
    """Calls `site.addsitedir` for each entry, and moves new entries of `sys.path` to the front."""
    try:
        import site
    except ImportError as exception:
        native.log(ERROR, f"WSGI0095: Unable to import the 'site' module: {exception}.")
        return
    addsitedir = getattr(site, "addsitedir", None)
    if not callable(addsitedir):
        native.log(
            ERROR,
            f"WSGI0094: The 'site' module has no function 'addsitedir', so '{path}' is not added to the Python path. "
            "Look for what takes it away: sitecustomize, or a .pth file.",
        )
        return
    if not _has_sys_path():
        return
    before = list(sys.path)
    for entry in path.split(os.pathsep):
        if not entry:
            continue
        native.log(INFO, f"Adding '{entry}' to the Python path.")
        try:
            addsitedir(entry)
        except Exception as exception:
            _log_exception(f"WSGI0091: Adding '{entry}' to the Python path failed; the rest is skipped.", exception)
            break
    if not _has_sys_path():
        return
    known = set(before)
    fresh = [entry for entry in sys.path if entry not in known]
    sys.path[:] = fresh + [entry for entry in sys.path if entry in known]


# The directory of our own packages; the `sys.path` for which `_module_paths` are right.
_own_packages = None
_paths_searched = None
_module_paths = []


def _module_path():
    """Returns the directories of all packages `mod_wsgi`, where its submodules are: ours first, then those on `sys.path`."""
    global _paths_searched
    paths = tuple(sys.path)
    if paths != _paths_searched:
        from importlib.machinery import PathFinder

        found = []
        for entry in (_own_packages, *paths):
            try:
                spec = None if entry is None else PathFinder.find_spec("mod_wsgi", [entry])
            except Exception as exception:
                _log_exception(f"WSGI0188: Looking for a package 'mod_wsgi' in '{entry}' failed.", exception)
                continue
            locations = (spec and spec.submodule_search_locations) or ()
            found.extend(location for location in locations if location not in found)
        _module_paths[:] = found
        _paths_searched = paths
    return _module_paths


def _descriptor_for(file):
    """Returns a file for `faulthandler`. Log streams have no descriptor, but standard error leads to the log as well."""
    import io

    try:
        (sys.stderr if file is None else file).fileno()
    except io.UnsupportedOperation:
        return 2
    except Exception:
        # The function itself reports what is wrong with it.
        pass
    return file


def _with_descriptor(function, place):
    """Wraps a function of `faulthandler` whose argument at `place` is the file."""

    def wrapper(*arguments, **keywords):
        if len(arguments) > place:
            arguments = (*arguments[:place], _descriptor_for(arguments[place]), *arguments[place + 1 :])
        else:
            keywords["file"] = _descriptor_for(keywords.get("file"))
        return function(*arguments, **keywords)

    wrapper.__name__ = wrapper.__qualname__ = function.__name__
    wrapper.__doc__ = function.__doc__
    return wrapper


def _set_up_faulthandler():
    try:
        import faulthandler
    except ImportError:
        return
    for name, place in [("enable", 0), ("dump_traceback", 0), ("dump_traceback_later", 2), ("register", 1)]:
        setattr(faulthandler, name, _with_descriptor(getattr(faulthandler, name), place))
    # A process that dies of a signal says what its threads were doing. (PYTHONFAULTHANDLER has done that before.)
    if not application_group and not faulthandler.is_enabled():
        faulthandler.enable()


def _set_up_apache(options):
    module = None
    if not process_group:
        try:
            import apache as module
        except ModuleNotFoundError:
            pass
        except Exception as exception:
            _log_exception("WSGI0188: Importing the module 'apache' failed.", exception)
    if module is None:
        module = type(sys)("apache")
        sys.modules["apache"] = module
    module.version = options["server_version"]
    module.maximum_processes = options["mpm_processes"]
    module.threads_per_process = options["mpm_threads"]
    module.description = options["server_description"]
    module.mpm_name = options["mpm_name"]
    module.build_date = options["server_built"]


def set_up(module, options):
    """Makes this interpreter what applications expect; the order of steps is part of the contract."""
    import io

    global _own_packages
    _own_packages = options["packages"]
    if not application_group:
        import threading  # noqa: F401  (so that it knows the main thread)
    if options["switch_interval"] > 0:
        sys.setswitchinterval(options["switch_interval"])

    module.FileWrapper = FileWrapper
    module.RequestTimeout = RequestTimeout
    module.__getattr__ = __getattr__
    module.__doc__ = None
    sys.modules["mod_wsgi"] = module

    def stream(name):
        return io.TextIOWrapper(
            native.log_stream(name), encoding="utf-8", errors="replace", line_buffering=True, write_through=True
        )

    sys.stderr = stream("<stderr>")
    if not options["single_process"]:
        if options["restrict_stdout"]:
            sys.stdout = Restricted("sys.stdout", "WSGIRestrictStdout")
        else:
            sys.stdout = stream("<stdout>")
        if options["restrict_stdin"]:
            sys.stdin = Restricted("sys.stdin", "WSGIRestrictStdin")
    elif not application_group:
        _interrupt_on_signal()
    sys.argv = ["mod_wsgi"]
    _set_up_faulthandler()

    if options["is_service"]:
        import signal

        if not application_group:
            signal.signal(signal.SIGTERM, _exit)
    elif options["restrict_signal"]:
        import signal

        signal.signal = SignalIntercept(signal.signal)

    sys.meta_path.insert(0, _Finder())
    for name, set_up_module in _to_set_up.items():
        if name in sys.modules:
            set_up_module(sys.modules[name])

    import codecs

    for codec in ("utf-8", "latin-1", "ascii", "idna"):
        codecs.lookup(codec)

    if options["python_eggs"] is not None:
        os.environ["PYTHON_EGG_CACHE"] = options["python_eggs"]
    for path in options["python_paths"]:
        _extend_path(path)
    if options["home"] is not None:
        sys.path.insert(0, options["home"])
    # A copy of the process must not hold what belongs to the original, nor answer in its place.
    os.register_at_fork(before=native.before_fork, after_in_parent=native.after_fork, after_in_child=native.forked)

    module.version = options["version"]
    module.process_group = process_group
    module.application_group = application_group
    module.maximum_processes = options["processes"]
    module.threads_per_process = options["threads"]
    module.subscribe_events = subscribe_events
    module.subscribe_shutdown = subscribe_shutdown
    module.subscribe_signals = subscribe_signals
    module.event_callbacks = event_callbacks
    module.shutdown_callbacks = shutdown_callbacks
    module.signal_callbacks = signal_callbacks
    module.active_requests = active_requests
    module.request_data = native.request_data
    module.start_recording_metrics = native.start_recording_metrics
    module.request_metrics = native.request_metrics
    module.process_metrics = native.process_metrics
    module.server_metrics = native.server_metrics
    _set_up_apache(options)


event_callbacks = []
shutdown_callbacks = []
signal_callbacks = []
active_requests = {}
# Ids and data of active requests that are not in active_requests, since a later one has the same id.
covered_requests = []


def cover_request(id, data):
    earlier = active_requests.get(id)
    if earlier is not None:
        covered_requests.append((id, earlier))
    active_requests[id] = data


def uncover_request(id, data):
    if active_requests.get(id) is not data:
        # The later one still runs.
        covered_requests[:] = [covered for covered in covered_requests if covered[1] is not data]
        return
    for covered in reversed(covered_requests):
        if covered[0] == id:
            active_requests[id] = covered[1]
            covered_requests[:] = [other for other in covered_requests if other is not covered]
            return
    active_requests.pop(id, None)
