"""Applications that are measured."""

import contextlib

from mod_wsgi.express.debugging.response import Response


class Measured:
    """An application that runs under instruments, whichever thread serves a request."""

    def __init__(self, application, instruments):
        self._application = application
        self._instruments = instruments

    def __call__(self, environ, start_response):
        iterable = self._measure("call", lambda: self._application(environ, start_response))
        return Response(iterable, self._measure)

    def _measure(self, step, function):
        with contextlib.ExitStack() as stack:
            for instrument in self._instruments:
                stack.enter_context(instrument.measuring())
            return function()


def report_failure(what, directory, error):
    """Writes to the error log that a report could not be made."""
    import sys

    print(f"mod_wsgi-express: the {what} in {directory} could not be written: {error}", file=sys.stderr)
