"""Sends a file that somebody else makes shorter meanwhile."""

import os

PATH = os.path.join(os.path.dirname(__file__), "..", "shrinking.bin")


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ok":
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))
