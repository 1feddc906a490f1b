"""Ends in ways that the error log tells of."""

import sys
import time

import mod_wsgi


class Custom(Exception):
    pass


def raised(environ, start_response):
    raise Custom("on purpose")


def in_close(environ, start_response):
    class Body(list):
        def close(self):
            raise Custom("on purpose")

    start_response("200 OK", [])
    return Body([b"data"])


def close_not_found(environ, start_response):
    class Body(list):
        @property
        def close(self):
            raise Custom("on purpose")

    start_response("200 OK", [])
    return Body([b"data"])


def exits(environ, start_response):
    sys.exit(3)


def own_timeout(environ, start_response):
    raise mod_wsgi.RequestTimeout("on purpose")


def runs_on(environ, start_response):
    """Runs until it is interrupted."""
    while True:
        time.sleep(0.01)


def fine(environ, start_response):
    start_response("200 OK", [])
    return [b"fine"]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
