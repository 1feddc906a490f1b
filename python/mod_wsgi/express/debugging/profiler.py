"""A profile of the application, written at the end of the process."""

import atexit
import contextlib
import cProfile
import os
import threading
import time

from mod_wsgi.express.debugging.instruments import report_failure


class Profiler:
    """Profiles the loading of the application and its requests, but not the time in between."""

    def __init__(self, directory):
        self._directory = directory
        self._process = os.getpid()
        self._profile = cProfile.Profile()
        # One profile has one stack of calls.
        self._lock = threading.Lock()
        atexit.register(self._write)

    @contextlib.contextmanager
    def measuring(self):
        """Profiles what happens inside, unless that is part of what is profiled already."""
        if not self._lock.acquire(blocking=False):
            yield
            return
        try:
            self._profile.enable()
            try:
                yield
            finally:
                self._profile.disable()
        finally:
            self._lock.release()

    def _write(self):
        if os.getpid() != self._process:
            return
        path = os.path.join(self._directory, f"{time.time_ns() // 1000}-{self._process}.pstats")
        try:
            self._profile.dump_stats(path)
        except OSError as error:
            report_failure("profile", self._directory, error)
