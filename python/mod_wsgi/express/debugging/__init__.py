"""What the debug options of mod_wsgi-express put around an application.

`handler.wsgi` loads the application under the instruments, and wraps it. The debugger is outside of the instruments that
measure, since nobody wants to measure a prompt. The recorder is outside of all.
"""

import contextlib

from mod_wsgi.express.debugging.debugger import PostMortemDebugger
from mod_wsgi.express.debugging.instruments import Measured
from mod_wsgi.express.debugging.recorder import RequestRecorder

_instruments = None


@contextlib.contextmanager
def measuring(script, coverage=None, profiler=None):
    """Measures what happens inside, with reports in these directories at the end of the process.

    The `script` that calls it is loaded again for each request as long as the application cannot be: all attempts have the
    same instruments.
    """
    global _instruments
    if _instruments is None:
        _instruments = []
        # Each is imported only if it is wanted: coverage is no part of Python.
        if coverage is not None:
            from mod_wsgi.express.debugging.coverage import Coverage

            _instruments.append(Coverage(coverage, script))
        if profiler is not None:
            from mod_wsgi.express.debugging.profiler import Profiler

            _instruments.append(Profiler(profiler))
    with contextlib.ExitStack() as stack:
        for instrument in _instruments:
            stack.enter_context(instrument.measuring())
        yield


def wrap(application, debugger=False, at_startup=False, recorder=None):
    """Returns the application with what was asked for around it."""
    if _instruments:
        application = Measured(application, _instruments)
    if debugger:
        application = PostMortemDebugger(application, at_startup)
    if recorder is not None:
        application = RequestRecorder(application, recorder)
    return application
