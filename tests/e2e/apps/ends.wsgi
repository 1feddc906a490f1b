"""Responses that are waited for, cut short, or nobody's any more."""

import hashlib
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


# Clients that leave.


def writes(environ, start_response):
    """Writes until that fails, and does not handle it."""
    write = start_response("200 OK", [PLAIN])
    while True:
        write(b"x" * 65536)


def yields_nothing(environ, start_response):
    """Has nothing to say for a minute, after what the query says."""
    name = environ["QUERY_STRING"]
    start_response("200 OK", [PLAIN])
    say(environ, f"begins {name}")
    try:
        if name.startswith("begun"):
            yield b"begun"
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.02)
            yield b""
    except GeneratorExit:
        # The request may be over, and so may its log be.
        print(f"closed {name}")
        raise
    yield b"end"


# Bodies of requests that cannot be read.


def reading(environ):
    """What came of reading the body."""
    try:
        return f"read {len(environ['wsgi.input'].read())}"
    except OSError as error:
        return type(error).__name__


def read(environ, start_response):
    environ["wsgi.input"].read()
    return fine(environ, start_response)


def read_and_catch(environ, start_response):
    result = reading(environ)
    start_response("200 OK", [PLAIN, ("X-App", "yes")])
    return [result.encode()]


def read_and_stream(environ, start_response):
    result = reading(environ)
    start_response("200 OK", [PLAIN])
    for _ in range(5):
        yield result.encode()


def read_and_write(environ, start_response):
    result = reading(environ)
    write = start_response("200 OK", [PLAIN])
    try:
        write(result.encode())
        write(b"more")
    except OSError:
        pass
    return [b"end"]


def read_when_begun(environ, start_response):
    write = start_response("200 OK", [PLAIN])
    write(b"begun")
    return [reading(environ).encode()]


# Bodies that another thread reads.


def start_reader(environ, read):
    """Has a thread read; returns the thread, and what it has come to."""
    results = []

    def run():
        say(environ, f"reader begins {environ['QUERY_STRING']}")
        try:
            results.append(read(environ["wsgi.input"]))
        except Exception as error:
            results.append(error)
        # The request may be over, and so may its log be.
        print(f"reader of {environ['QUERY_STRING']}: {type(results[0]).__name__}")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    # Long enough for it to be in the middle.
    time.sleep(0.3)
    return thread, results


def reader_stays(environ, start_response):
    """Answers as the query says, while the thread still reads."""
    start_reader(environ, lambda stream: stream.read())
    how = environ["QUERY_STRING"].split("/")[0]
    headers = [PLAIN, ("Content-Length", "6")] if how == "length" else [PLAIN]
    write = start_response("200 OK", headers)
    if how == "write":
        write(b"ans")
        return [b"wer"]
    if how == "blocks":
        return (block for block in [b"an", b"", b"sw", b"er"])
    if how == "nothing":
        return []
    return [b"answer"]


def reader_ends(environ, start_response):
    """The thread reads all, or lines, while this one sends blocks."""
    how = environ["QUERY_STRING"].split("/")[0]
    reads = {
        "all": lambda stream: len(stream.read()),
        "blocks": lambda stream: sum(map(len, iter(lambda: stream.read(1000), b""))),
        "lines": lambda stream: sum(map(len, stream)),
    }
    thread, results = start_reader(environ, reads[how])
    write = start_response("200 OK", [PLAIN])
    write(b"begun ")
    thread.join(30)
    return [f"read {results[0]!r}".encode()]


def writes_meanwhile(environ, start_response):
    """Another thread writes while the request's own reads."""
    write = start_response("200 OK", [PLAIN])

    def late():
        # Long enough for the other one to be in the middle.
        time.sleep(0.3)
        write(b"written ")

    thread = threading.Thread(target=late, daemon=True)
    thread.start()
    result = len(environ["wsgi.input"].read())
    thread.join(30)
    return [f"read {result}".encode()]


def writes_much_meanwhile(environ, start_response):
    """Another thread writes long blocks while the request's own reads a long body."""
    write = start_response("200 OK", [PLAIN])
    count = int(environ["CONTENT_LENGTH"])

    def copy():
        for _ in range(0, count, 1_000_000):
            write(b"." * 1_000_000)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    digest = hashlib.md5(usedforsecurity=False)
    for block in iter(lambda: environ["wsgi.input"].read(1_000_000), b""):
        digest.update(block)
    thread.join(30)
    return [digest.hexdigest().encode()]


# Files that mod_xsendfile sends instead.


def file(environ, start_response):
    """The file that the query names; how the body is made and what length is declared, behind slashes."""
    name, how, length = environ["QUERY_STRING"].split("/")
    headers = [PLAIN, ("X-Sendfile", os.path.join(os.path.dirname(environ["test.gates"]), name))]
    if length:
        headers.append(("Content-Length", length))
    write = start_response("200 OK", headers)
    if how == "write":
        write(b"written")
    return {
        "nothing": [],
        "list": [b"not ", b"shown"],
        "blocks": (block for block in [b"not", b" ", b"shown"]),
        "empty": (block for block in [b"", b""]),
        "write": [b"more"],
    }[how]


def no_file(environ, start_response):
    """A status that mod_xsendfile leaves alone, and less than was declared."""
    headers = [PLAIN, ("Content-Length", "1000")]
    if environ["QUERY_STRING"]:
        headers.append(("X-Sendfile", environ["test.gates"]))
    start_response("404 Not Found", headers)
    return []


# Responses that break off.

counts = {}


def breaking(environ, start_response):
    """How it ends is said by the query: when, and how. Says how often it was called."""
    when, how = environ["QUERY_STRING"].split("/")[:2]
    count = counts[environ["QUERY_STRING"]] = counts.get(environ["QUERY_STRING"], 0) + 1
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "max-age=100")]
    if how == "length":
        headers.append(("Content-Length", "100000"))
    start_response("200 OK", headers)
    text = b"<html><body>called %d times" % count
    yield text + b"." * 5000 if when == "much" else text
    if when == "later":
        time.sleep(0.3)
    if how == "raise":
        raise KeyError("on purpose")
    if how == "kill":
        os.kill(os.getpid(), 9)
        time.sleep(10)
    if how == "end":
        yield b"</body></html>"


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
