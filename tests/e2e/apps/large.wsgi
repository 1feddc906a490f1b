"""Bodies too large for memory: counts one, makes one, sends a file."""

import os

FILE = os.path.join(os.path.dirname(__file__), "..", "large.bin")
PLAIN = [("Content-Type", "text/plain")]
BLOCK = bytes(range(256)) * 256


def count(environ, start_response):
    size = 0
    while block := environ["wsgi.input"].read(65536):
        size += len(block)
    start_response("200 OK", PLAIN)
    return [str(size).encode()]


def blocks(environ, start_response):
    """As many as the query says."""
    start_response("200 OK", PLAIN)
    return (BLOCK for _ in range(int(environ["QUERY_STRING"])))


def file(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(FILE, "rb"))


def end(environ, start_response):
    """So many bytes as the query says, from the end of the file."""
    opened = open(FILE, "rb")
    opened.seek(-int(environ["QUERY_STRING"]), os.SEEK_END)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](opened)


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].rsplit("/", 1)[1]](environ, start_response)
