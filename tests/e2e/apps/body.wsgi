"""Response bodies of every kind."""

import os
import threading

PLAIN = ("Content-Type", "text/plain")
closed = []


class Iterable:
    def __init__(self, name, blocks):
        self.name = name
        self.blocks = iter(blocks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)

    def close(self):
        closed.append(self.name)


class Unclosable(Iterable):
    def close(self):
        raise ValueError("close failed on purpose")


class Locked(Iterable):
    @property
    def close(self):
        raise KeyError("close cannot be looked up")


class Legacy:
    """Only has __getitem__."""

    def __getitem__(self, index):
        return [b"a", b"b", b"c"][index]


class Block(bytes):
    pass


def start(start_response, *headers):
    return start_response("200 OK", [PLAIN, *headers])


def one(environ, start_response):
    start(start_response)
    return [b"one"]


def many(environ, start_response):
    start(start_response)
    return (b"a", b"", b"b", b"c")


def generator(environ, start_response):
    start(start_response)
    yield b"a"
    yield b""
    yield b"b"


def late(environ, start_response):
    def blocks():
        start(start_response)
        yield b"late"

    return blocks()


def legacy(environ, start_response):
    start(start_response)
    return Legacy()


def subclass(environ, start_response):
    start(start_response)
    return [Block(b"sub")]


def empty(environ, start_response):
    start(start_response)
    return []


def empty_blocks(environ, start_response):
    start(start_response)
    return [b"", b""]


def written(environ, start_response):
    write = start(start_response)
    write(b"w1 ")
    write(b"")
    write(b"w2 ")
    return [b"returned"]


def large(environ, start_response):
    start(start_response)
    return [b"0123456789abcdef" * 65536] * 8


def flushed(environ, start_response):
    """The second block comes only when the client has seen the first one."""
    event = gates.setdefault(environ["QUERY_STRING"], threading.Event())
    start(start_response)
    yield b"first"
    if event.wait(30):
        yield b"second"


def gate(environ, start_response):
    gates.setdefault(environ["QUERY_STRING"], threading.Event()).set()
    return one(environ, start_response)


gates = {}


def flushed_by_file(environ, start_response):
    """The same for servers whose processes share nothing."""
    import time

    start(start_response)
    yield b"first"
    for _ in range(3000):
        if os.path.exists(environ["test.gate"]):
            yield b"second"
            return
        time.sleep(0.01)


def length(environ, start_response):
    """Declares the length before `/`, sends blocks of the lengths behind it."""
    declared, _, blocks = environ["QUERY_STRING"].partition("/")
    start(start_response, ("Content-Length", declared.replace("+", " ").replace("%2B", "+")))
    return Iterable("length", [b"x" * int(size) for size in blocks.split(",") if size])


def lengths(environ, start_response):
    try:
        start(start_response, *[("Content-Length", length) for length in environ["QUERY_STRING"].split(",")])
    except ValueError:
        start(start_response)
        return [b"start_response raised ValueError"]
    return [b"four"]


def closing(environ, start_response):
    start(start_response)
    return Iterable("closing", [b"x"])


def closing_raises(environ, start_response):
    start(start_response)
    return Unclosable("closing_raises", [b"body"])


def closing_lookup_raises(environ, start_response):
    start(start_response)
    return Locked("closing_lookup_raises", [b"body"])


def closing_failure(environ, start_response):
    def blocks():
        raise RuntimeError("on purpose")
        yield

    start(start_response)
    return Iterable("closing_failure", blocks())


def endless(environ, start_response):
    def blocks():
        closed.append("endless begins")
        while True:
            yield b"x" * 65536

    start(start_response)
    return Iterable("endless", blocks())


def endless_excess(environ, start_response):
    def blocks():
        closed.append("endless_excess begins")
        while True:
            yield b"x" * 65536

    start(start_response, ("Content-Length", "5"))
    return Iterable("endless_excess", blocks())


def endless_write(environ, start_response):
    write = start(start_response)
    try:
        while True:
            write(b"x" * 65536)
    except BaseException as error:
        closed.append("endless_write " + type(error).__name__)
    return []


def writers_stay(environ, start_response):
    """Returns while other threads write."""
    write = start(start_response)
    written = threading.Event()

    def run():
        try:
            while True:
                write(b"written")
                written.set()
        except Exception:
            written.set()

    for _ in range(3):
        threading.Thread(target=run, daemon=True).start()
    written.wait(20)
    return [b"end"]


def seen(environ, start_response):
    start(start_response)
    return ["\n".join(closed).encode()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
