"""Replaces a daemon process when a file of its modules changes.

The process asks for its replacement as `kill -USR1` would. The new one takes over when it is ready. As long as that
cannot start (because of a syntax error, say), the old one goes on and keeps watching.
"""

import os
import signal
import stat
import sys
import threading
import time
from importlib.machinery import SourceFileLoader

import mod_wsgi

_lock = threading.Lock()
_tracked = set()
# The states of sources when they were imported.
_imported = {}
_interval = None
_stopping = False
# Set when the interval has changed, or the process ends.
_news = threading.Event()


def track_changes(path):
    """Watches one more file, such as a configuration file."""
    with _lock:
        _tracked.add(os.path.abspath(path))


def start_reloader(interval=1.0):
    """Checks the files of all modules and those of `track_changes()` every `interval` seconds.

    If it is called again, the smallest interval counts. Outside of daemon processes it does nothing, since only those can
    be replaced.
    """
    global _interval
    if not getattr(mod_wsgi, "process_group", ""):
        return
    with _lock:
        if _interval is not None:
            _interval = min(_interval, interval)
            _news.set()
            return
        _interval = interval
    mod_wsgi.subscribe_shutdown(_stop)
    _notice_imports()
    threading.Thread(target=_watch, name="mod_wsgi-reloader", daemon=True).start()


def _stop(*_, **__):
    global _stopping
    _stopping = True
    _news.set()


def _notice_imports():
    """Records the states of files when they are imported, since a file may change between its import and the next check."""
    original = SourceFileLoader.path_stats

    def path_stats(self, path):
        _imported[path] = _state(path)
        return original(self, path)

    SourceFileLoader.path_stats = path_stats


def _watch():
    known = {}
    _changes(known)
    while not _stopping:
        if _news.wait(_interval):
            _news.clear()
            continue
        changed = _changes(known)
        if not changed:
            continue
        # Wait until a file that is being written is complete.
        while not _stopping:
            time.sleep(0.1)
            if not _changes(known):
                break
        pid = os.getpid()
        print(f"monitor (pid={pid}): '{changed[0]}' has changed.", file=sys.stderr)
        print(f"monitor (pid={pid}): Asking for a new process, which takes over when it is ready.", file=sys.stderr)
        os.kill(pid, signal.SIGUSR1)


def _changes(known):
    """Returns the files that have changed since `known`, and updates `known`. New files do not count as changed."""
    changed = []
    for path in _files() | known.keys():
        state = _state(path)
        if known.setdefault(path, _imported.get(path, state)) != state:
            known[path] = state
            changed.append(path)
    return changed


def _files():
    with _lock:
        files = set(_tracked)
    for module in list(sys.modules.values()):
        # Not getattr: an object that stands in for a module may import one when it is asked for an attribute.
        path = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(path, str):
            files.add(_source(path))
    return files


def _source(path):
    """Returns the source beside a compiled file, or the path itself."""
    if path.endswith(".pyc") and os.path.exists(path[:-1]):
        return path[:-1]
    return path


def _state(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return stat.S_IFMT(status.st_mode), status.st_mtime_ns
