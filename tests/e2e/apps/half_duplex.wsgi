"""Long answers to bodies that the application has not read, or reads late."""

import hashlib
import os

LENGTH = 13_000_000
BLOCK = b"a" * 65_536
PLAIN = ("Content-Type", "text/plain")
FILE = os.path.join(os.path.dirname(__file__), "..", "answer.bin")


def blocks():
    left = LENGTH
    while left > 0:
        yield BLOCK[:left]
        left -= len(BLOCK)


def answer_list(environ, start_response):
    start_response("200 OK", [PLAIN])
    return [b"a" * LENGTH]


def answer_length(environ, start_response):
    start_response("200 OK", [PLAIN, ("Content-Length", str(LENGTH))])
    return [b"a" * LENGTH]


def answer_blocks(environ, start_response):
    start_response("200 OK", [PLAIN])
    return blocks()


def answer_write(environ, start_response):
    write = start_response("200 OK", [PLAIN])
    for block in blocks():
        write(block)
    return []


def answer_file(environ, start_response):
    start_response("200 OK", [PLAIN])
    return environ["wsgi.file_wrapper"](open(FILE, "rb"))


def read_late(environ, start_response):
    """The digest of a body that is read in the way of the query, after a long beginning of the answer."""
    start_response("200 OK", [PLAIN])
    stream = environ["wsgi.input"]
    first = stream.read(1000) if environ["QUERY_STRING"] == "begun" else b""
    yield from blocks()
    seen = hashlib.md5(first)
    length = len(first)
    while block := stream.read(50_000):
        seen.update(block)
        length += len(block)
    yield f"{length} {seen.hexdigest()}".encode()


def echo(environ, start_response):
    start_response("200 OK", [PLAIN])
    return iter(lambda: environ["wsgi.input"].read(65_536), b"")


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].lstrip("/")](environ, start_response)
