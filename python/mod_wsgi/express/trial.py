"""Loads an application as the server would, before the server starts: for the option `--strict`."""

import atexit
import importlib
import locale
import logging
import os
import site
import sys
import traceback
import types

# The statuses of the process: `trial.rs` knows them.
LOADED = 17
FAILED = 1


def run(packages, home, python_path, python_eggs, process_group, application_group, processes, threads, function, *entry):
    """Loads what `function` of the loader makes of its entry, and ends the process."""
    sys.argv = ["mod_wsgi"]
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        pass
    os.environ["PYTHON_EGG_CACHE"] = python_eggs
    _set_path(packages, home, python_path)
    _stand_in(process_group, application_group, int(processes), int(threads))
    status = FAILED
    own = os.getpid()
    try:
        loading = importlib.import_module("mod_wsgi.express.loading")
        application, _ = getattr(loading, function)(*entry)
        if not callable(application):
            raise TypeError(f"what {entry[0]} has as its application, a {type(application).__name__}, cannot be called")
        status = LOADED
    except BaseException:
        traceback.print_exc()
    # What the application has registered may tidy up; its threads are not waited for.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(status if os.getpid() == own else FAILED)


def _set_path(packages, home, python_path):
    """Makes the import path that of the processes that serve."""
    sys.path.remove(packages)
    before = list(sys.path)
    for entry in filter(None, python_path.split(os.pathsep)):
        site.addsitedir(entry)
    fresh = [entry for entry in sys.path if entry not in before]
    sys.path[:] = [*([home] if home else []), *fresh, *before]


def _stand_in(process_group, application_group, processes, threads):
    """Gives the modules `mod_wsgi` and `apache` what applications look for while they are loaded."""
    import mod_wsgi

    def subscribe(callback):
        return callback

    def nothing():
        return None

    def no_request():
        raise RuntimeError("no request is running: mod_wsgi-express tries whether the application can be loaded (--strict)")

    mod_wsgi.version = (6, 1, 1)
    mod_wsgi.process_group = process_group
    mod_wsgi.application_group = application_group
    mod_wsgi.maximum_processes = processes
    mod_wsgi.threads_per_process = threads
    mod_wsgi.RequestTimeout = type("RequestTimeout", (BaseException,), {"__module__": "mod_wsgi"})
    mod_wsgi.FileWrapper = importlib.import_module("wsgiref.util").FileWrapper
    mod_wsgi.LogHandler = logging.StreamHandler
    mod_wsgi.active_requests = {}
    mod_wsgi.event_callbacks = []
    mod_wsgi.shutdown_callbacks = []
    mod_wsgi.signal_callbacks = []
    mod_wsgi.subscribe_events = mod_wsgi.subscribe_shutdown = mod_wsgi.subscribe_signals = subscribe
    mod_wsgi.request_data = no_request
    mod_wsgi.start_recording_metrics = nothing
    mod_wsgi.request_metrics = mod_wsgi.process_metrics = mod_wsgi.server_metrics = nothing

    apache = types.ModuleType("apache")
    apache.version = (2, 4, 0)
    apache.description = apache.mpm_name = apache.build_date = ""
    apache.maximum_processes = processes
    apache.threads_per_process = threads
    sys.modules["apache"] = apache
