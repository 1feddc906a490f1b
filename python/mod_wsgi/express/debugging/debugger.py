"""The debugger pdb on the terminal that the server was started from."""

import bdb
import os
import pdb
import sys
import traceback

from mod_wsgi.express.debugging.response import Response


class _Debugger(pdb.Pdb):
    def __init__(self):
        # Signals are the server's.
        super().__init__(nosigint=True)

    def lookupmodule(self, filename):
        # From 3.13 on, pdb takes only files for modules whose names end in .py; scripts have other names.
        path = os.path.abspath(filename)
        return self.canonic(path) if os.path.isfile(path) else super().lookupmodule(filename)


class PostMortemDebugger:
    """An application whose exceptions are looked into before the server gets them."""

    def __init__(self, application, startup=False):
        self._application = application
        self._debugger = None
        if startup:
            self._prompt()

    def __call__(self, environ, start_response):
        iterable = self._guard("call", lambda: self._application(environ, start_response))
        return Response(iterable, self._guard)

    def _guard(self, step, function):
        self._keep_breakpoints()
        try:
            return function()
        except Exception as error:
            if not isinstance(error, bdb.BdbQuit):
                _look_into(error)
            raise

    def _prompt(self):
        """Stops here, with everything loaded, so that breakpoints can be set."""
        application = self._application
        _say("The application is loaded. Set breakpoints with `b file:line`; `c` starts to serve.")
        self._debugger = _Debugger()
        try:
            self._debugger.set_trace()
            # Before 3.13, it stops at the next line.
            del application
        except (bdb.BdbQuit, SystemExit):
            # Leaving the debugger does not end the server.
            sys.settrace(None)
            self._debugger = None

    def _keep_breakpoints(self):
        """Lets breakpoints have their effect in this thread, which may not be the one that they were set in."""
        if self._debugger is not None and self._debugger.breaks and sys.gettrace() is None:
            sys.settrace(self._debugger.trace_dispatch)


def _look_into(error):
    whole = error.__traceback__
    error.__traceback__ = _of_application(whole)
    try:
        _say("".join(traceback.format_exception(error)).rstrip())
        debugger = _Debugger()
        debugger.reset()
        # From 3.13 on, pdb can go to what an exception was raised from.
        debugger.interaction(None, error if sys.version_info >= (3, 13) else error.__traceback__)
    except (bdb.BdbQuit, SystemExit):
        pass
    finally:
        error.__traceback__ = whole


def _of_application(whole):
    """Returns the part of a traceback that is below what is put around the application."""
    part = whole
    while part is not None and part.tb_frame.f_globals.get("__package__") == __package__:
        part = part.tb_next
    return part or whole


def _say(text):
    print(text, file=sys.stdout, flush=True)
