"""What the soak test asks for. It keeps nothing from one request to the next."""

import os
import threading

import mod_wsgi

PATH = os.path.join(os.path.dirname(__file__), "..", "data.bin")
PLAIN = [("Content-Type", "text/plain")]


def group(environ, start_response):
    start_response("200 OK", PLAIN)
    return [mod_wsgi.application_group.encode()]


def generator(environ, start_response):
    start_response("200 OK", PLAIN)
    for _ in range(100):
        yield b"x" * 1000


def written(environ, start_response):
    write = start_response("200 OK", PLAIN)
    for _ in range(10):
        write(b"x" * 1000)
    return []


def endless(environ, start_response):
    start_response("200 OK", PLAIN)
    while True:
        yield b"x" * 65536


def file(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))


def count(environ, start_response):
    """The length of the request's body."""
    try:
        length = str(sum(len(line) for line in environ["wsgi.input"]))
    except OSError:
        length = "cut off"
    start_response("200 OK", PLAIN)
    return [length.encode()]


def ignore(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"ignored"]


def thread(environ, start_response):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(mod_wsgi.application_group))
    thread.start()
    thread.join()
    start_response("200 OK", PLAIN)
    return [seen[0].encode()]


def printed(environ, start_response):
    print("printed on purpose")
    start_response("200 OK", PLAIN)
    return [b"printed"]


def fails(environ, start_response):
    raise ValueError("raised on purpose")


def fails_late(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"data"
    raise ValueError("raised on purpose")


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
