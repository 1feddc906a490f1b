"""Files with everything about each request."""

import itertools
import os
import pprint
import time
import traceback

from mod_wsgi.express.debugging.response import Response

_BLOCK = 65536


class RequestRecorder:
    """An application whose requests and responses are recorded in a directory, in files that only this account can read."""

    def __init__(self, application, savedir):
        self._application = application
        self._directory = savedir
        self._numbers = itertools.count(1)

    def __call__(self, environ, start_response):
        record = _Record(self._directory, next(self._numbers))
        try:
            record.request(environ)
            iterable = record.guard("call", lambda: self._application(environ, record.start(start_response)))
        except BaseException:
            record.close()
            raise
        return _RecordedResponse(iterable, record)


class _Record:
    """The files of one request."""

    # The steps of a response, and the files for what they raise.
    _EXCEPTIONS = {"call": "oaexcept", "iteration": "orexcept", "close": "ofexcept"}

    def __init__(self, directory, number):
        self._prefix = os.path.join(directory, f"{time.time_ns() // 1000}-{os.getpid()}-{number}")
        self._input = None
        self._output = None

    def request(self, environ):
        for extension in ("oheaders", *self._EXCEPTIONS.values()):
            self._create(extension).close()
        self._output = self._create("ocontent")
        with self._create("iheaders") as file:
            file.write(_encoded(pprint.pformat(environ) + "\n"))
        with self._create("icontent") as file:
            received = environ["wsgi.input"]
            while block := received.read(_BLOCK):
                file.write(block)
        self._input = open(f"{self._prefix}.icontent", "rb")
        environ["wsgi.input"] = self._input

    def start(self, start_response):
        """Returns a `start_response` that records."""

        def start(status, headers, *exc_info, **keywords):
            # As they are now: an application may use the list again.
            text = pprint.pformat((status, list(headers))) + "\n"
            write = start_response(status, headers, *exc_info, **keywords)
            self._replace("oheaders", _encoded(text))
            return self._recorded(write)

        return start

    def _recorded(self, write):
        def recorded(block):
            self.content(block)
            return write(block)

        return recorded

    def content(self, block):
        if isinstance(block, bytes):
            self._output.write(block)
            self._output.flush()

    def guard(self, step, function):
        try:
            return function()
        except GeneratorExit:
            raise
        except BaseException:
            self._replace(self._EXCEPTIONS[step], _encoded(traceback.format_exc()))
            raise

    def close(self):
        for file in (self._input, self._output):
            if file is not None:
                file.close()

    def _create(self, extension):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.fdopen(os.open(f"{self._prefix}.{extension}", flags, 0o600), "wb")

    def _replace(self, extension, content):
        with open(f"{self._prefix}.{extension}", "wb") as file:
            file.write(content)


class _RecordedResponse(Response):
    def __init__(self, iterable, record):
        super().__init__(iterable, record.guard)
        self._record = record

    def __next__(self):
        block = super().__next__()
        self._record.content(block)
        return block

    def close(self):
        try:
            super().close()
        finally:
            self._record.close()


def _encoded(text):
    return text.encode("utf-8", "backslashreplace")
