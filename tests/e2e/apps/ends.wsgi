"""Responses that are waited for, cut short, or nobody's any more."""

import os
import threading
import time

PLAIN = ("Content-Type", "text/plain")


def wait_for(path, seconds=30):
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.005)


def gate(environ, name):
    return os.path.join(environ["test.gates"], name)


def say(environ, text):
    environ["wsgi.errors"].write(f"{text}\n")
    environ["wsgi.errors"].flush()


def fine(environ, start_response):
    start_response("200 OK", [PLAIN])
    return [b"fine"]


def hold(environ, start_response):
    """Answers when the gate that the query names is open."""
    say(environ, f"holds {environ['QUERY_STRING']}")
    wait_for(gate(environ, environ["QUERY_STRING"]))
    start_response("200 OK", [PLAIN])
    return [b"held"]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
