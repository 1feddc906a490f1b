"""An application that shows what it knows of the server, and returns the body of the request."""

import locale
import os
import sys

import mod_wsgi


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    yield "".join(f"{line}\n" for line in _lines(environ)).encode("utf-8", "backslashreplace")
    stream = environ["wsgi.input"]
    while block := stream.read(65536):
        yield block


def _lines(environ):
    yield f"PID: {os.getpid()}"
    yield f"PPID: {os.getppid()}"
    yield f"UID: {os.getuid()}"
    yield f"GID: {os.getgid()}"
    yield f"CWD: {os.getcwd()}"
    yield ""
    yield f"python.version: {sys.version!r}"
    yield f"python.prefix: {sys.prefix!r}"
    yield f"python.path: {sys.path!r}"
    yield ""
    yield f"apache.version: {environ.get('apache.version')!r}"
    yield f"mod_wsgi.version: {getattr(mod_wsgi, 'version', None)!r}"
    for name in ("process_group", "application_group", "maximum_processes", "threads_per_process"):
        yield f"mod_wsgi.{name}: {getattr(mod_wsgi, name, None)!r}"
    yield f"locale: {'.'.join(part or '' for part in locale.getlocale())!r}"
    yield f"encoding: {sys.getfilesystemencoding()!r}"
    yield ""
    for name, value in sorted(environ.items()):
        yield f"{name}: {value!r}"
    yield ""
    for name, value in sorted(os.environ.items()):
        yield f"os.environ[{name!r}]: {value!r}"
    yield ""
