"""Applications that fail in every way."""

import sys

PLAIN = [("Content-Type", "text/plain"), ("X-App", "yes"), ("WWW-Authenticate", "Basic realm=app")]


class Custom(BaseException):
    pass


def inner():
    raise KeyError("on purpose")


def call(environ, start_response):
    inner()


def chained(environ, start_response):
    try:
        inner()
    except KeyError as error:
        raise ValueError("the outer one") from error


def after_start(environ, start_response):
    start_response("200 OK", PLAIN)
    inner()


def after_empty_write(environ, start_response):
    start_response("200 OK", PLAIN)(b"")
    inner()


def after_write(environ, start_response):
    start_response("201 Created", PLAIN)(b"data")
    inner()


def iteration_first(environ, start_response):
    start_response("200 OK", PLAIN)
    inner()
    yield b"never"


def iteration_late(environ, start_response):
    start_response("201 Created", PLAIN)
    yield b"data"
    inner()


def iteration_late_length(environ, start_response):
    start_response("201 Created", [*PLAIN, ("Content-Length", "10")])
    yield b"data"
    inner()


def item_text(environ, start_response):
    start_response("200 OK", PLAIN)
    return ["text"]


def item_none(environ, start_response):
    start_response("200 OK", PLAIN)
    return [None]


def item_late(environ, start_response):
    start_response("201 Created", PLAIN)
    return [b"data", "text"]


def plain_bytes(environ, start_response):
    start_response("200 OK", PLAIN)
    return b"bytes"


def plain_text(environ, start_response):
    start_response("200 OK", PLAIN)
    return "text"


def none(environ, start_response):
    start_response("200 OK", PLAIN)


def number(environ, start_response):
    start_response("200 OK", PLAIN)
    return 5


def not_started(environ, start_response):
    return [b"data"]


def not_started_empty(environ, start_response):
    return []


def system_exit(environ, start_response):
    sys.exit(3)


def system_exit_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"data"
    sys.exit(3)


def keyboard(environ, start_response):
    raise KeyboardInterrupt


def custom(environ, start_response):
    raise Custom("mine")


def recursion(environ, start_response):
    return recursion(environ, start_response)


def unprintable(environ, start_response):
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError("cannot be shown")

    raise Unprintable


def surrogate(environ, start_response):
    raise ValueError("lone \udc80 and \u2603")


def fine(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"fine"]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
