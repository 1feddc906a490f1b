"""Shows the process, the interpreter and the WSGI environ of the application."""

import os
import sys
import threading


def application(environ, start_response):
    lines = [
        f"PID: {os.getpid()}, UID: {os.getuid()}, GID: {os.getgid()}, thread: {threading.current_thread().name}",
        f"Python: {sys.version}",
        f"sys.prefix: {sys.prefix}",
        *(f"sys.path: {path}" for path in sys.path),
        "",
        *(f"{key}: {environ[key]!r}" for key in sorted(environ)),
        "",
    ]
    body = "\n".join(lines).encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
