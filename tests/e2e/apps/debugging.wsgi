"""Does what is worth debugging."""

import os
import time

value = 1
directory = os.path.dirname(__file__)


class Failing:
    """A response whose `close()` fails."""

    def __iter__(self):
        return iter([b"closing"])

    def close(self):
        raise LookupError("of close")


def failing():
    yield b"begun"
    raise KeyError("of the iteration")


def application(environ, start_response):
    global value
    path = environ["PATH_INFO"]
    if path == "/stops":
        value = 2
        breakpoint()
        value = 3
    if path == "/endless":
        open(os.path.join(directory, "shared", "begun"), "w").close()
        while True:
            time.sleep(0.01)
    if path == "/fails":
        raise ValueError("of the call")
    variables = [name for name in sorted(os.environ) if name.startswith("MOD_WSGI_") and os.environ[name] == "true"]
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("X-Path", path)])
    if path == "/writes":
        write(b"written ")
        return [b"and returned"]
    if path == "/fails-later":
        return failing()
    if path == "/fails-closing":
        return Failing()
    body = environ["wsgi.input"].read()
    return [f"variables\t{' '.join(variables)}\nvalue\t{value}\npid\t{os.getpid()}\nbody\t".encode(), body, b"\n"]
