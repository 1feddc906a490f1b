"""Code coverage, with an HTML report at the end of the process."""

import atexit
import contextlib
import os
import sys
import threading

from mod_wsgi.express.debugging.instruments import report_failure

try:
    import coverage
except ModuleNotFoundError as error:
    if error.name != "coverage":
        raise
    raise ImportError("--enable-coverage needs the package coverage: pip install coverage") from error


class Coverage:
    """Measures from its creation on. Settings of the package are read from its usual files."""

    def __init__(self, directory, script):
        self._directory = directory
        self._process = os.getpid()
        # Without a file of its own for the data: there may be no place that this process may write to.
        self._coverage = coverage.Coverage(data_file=None)
        own = [os.path.join(os.path.dirname(os.path.dirname(__file__)), "**"), script]
        omitted = self._coverage.get_option("run:omit") or []
        self._coverage.set_option("run:omit", [*omitted, *own])
        self._coverage.start()
        atexit.register(self._report)

    @contextlib.contextmanager
    def measuring(self):
        """Has this thread measured, which may be one of the server's. It goes on afterwards."""
        # What coverage uses for threads that Python starts; None if it needs nothing of the kind.
        trace = threading.gettrace()
        if trace is not None and sys.gettrace() is None:
            sys.settrace(trace)
        yield

    def _report(self):
        if os.getpid() != self._process:
            return
        self._coverage.stop()
        try:
            self._coverage.html_report(directory=self._directory, ignore_errors=True)
        except (coverage.CoverageException, OSError) as error:
            report_failure("coverage report", self._directory, error)
