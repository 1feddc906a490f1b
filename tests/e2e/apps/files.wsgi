"""Files, by wsgi.file_wrapper."""

import io
import os
import threading

PLAIN = ("Content-Type", "text/plain")
PATH = os.path.join(os.path.dirname(__file__), "..", "data.bin")
closed = []


def ending(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__


class Logged:
    """A file that tells when it is closed."""

    def __init__(self, file, name):
        self.file = file
        self.name = name

    def __getattr__(self, name):
        return getattr(self.file, name)

    def close(self):
        closed.append(self.name)
        self.file.close()


class Unclosable:
    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, size):
        return self.data.read(size)


class Fileno(Unclosable):
    """Has a descriptor, but no position."""

    def fileno(self):
        return descriptor

    def tell(self):
        raise OSError("no position")


descriptor = os.open(PATH, os.O_RDONLY)


def start(start_response, *headers):
    return start_response("200 OK", [PLAIN, *headers])


def no_ranges(environ, start_response):
    start(start_response, ("Accept-Ranges", "none"))
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))


def whole(environ, start_response):
    start(start_response)
    return environ["wsgi.file_wrapper"](Logged(open(PATH, "rb"), "whole"))


def from_middle(environ, start_response):
    file = open(PATH, "rb")
    file.seek(1000)
    start(start_response)
    return environ["wsgi.file_wrapper"](file, 4096)


def part(environ, start_response):
    file = open(PATH, "rb")
    file.seek(10)
    start(start_response, ("Content-Length", "100"))
    return environ["wsgi.file_wrapper"](file)


def too_long(environ, start_response):
    size = os.path.getsize(PATH)
    start(start_response, ("Content-Length", str(size + 100)))
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))


def at_end(environ, start_response):
    file = open(PATH, "rb")
    file.seek(0, 2)
    start(start_response)
    return environ["wsgi.file_wrapper"](file)


def after_write(environ, start_response):
    start(start_response)(b"before ")
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))


def memory(environ, start_response):
    start(start_response)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"memory" * 5000), 1024)


def unclosable(environ, start_response):
    start(start_response)
    return environ["wsgi.file_wrapper"](Unclosable(b"no close"))


def no_position(environ, start_response):
    start(start_response)
    return environ["wsgi.file_wrapper"](Fileno(b"iterated"))


def pipe(environ, start_response):
    reader, writer = os.pipe()
    threading.Thread(target=lambda: (os.write(writer, b"through a pipe"), os.close(writer))).start()
    start(start_response)
    return environ["wsgi.file_wrapper"](os.fdopen(reader, "rb"))


def subclass(environ, start_response):
    class Mine(environ["wsgi.file_wrapper"]):
        def __iter__(self):
            raise RuntimeError("iterated")

    start(start_response)
    return Mine(open(PATH, "rb"))


def not_started(environ, start_response):
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))


def position(environ, start_response):
    """The position of a file that is kept open does not move."""
    file = kept.setdefault("file", open(PATH, "rb"))
    start(start_response, ("X-Position", str(file.tell())))

    class Open:
        def __getattr__(self, name):
            return getattr(file, name)

        def close(self):
            pass

    return environ["wsgi.file_wrapper"](Open())


kept = {}


def methods(environ, start_response):
    wrapper = environ["wsgi.file_wrapper"]
    one = wrapper(io.BytesIO(b"abcdef"), 4)
    lines = [
        f"attributes\t{type(one.filelike).__name__} {one.blksize}",
        f"default\t{wrapper(io.BytesIO()).blksize}",
        f"keywords\t{ending(lambda: wrapper(filelike=io.BytesIO(), blksize=7).blksize)}",
        f"negative\t{ending(lambda: wrapper(io.BytesIO(), -1))}",
        f"float\t{ending(lambda: wrapper(io.BytesIO(), 1.5))}",
        f"nothing\t{ending(lambda: wrapper())}",
        f"assign\t{ending(lambda: setattr(one, 'blksize', 1))}",
        f"iter\t{iter(one) is one}",
        f"list\t{list(one)!r}",
        f"text\t{ending(lambda: list(wrapper(io.StringIO('x'))))}",
        f"close\t{one.close()!r} {one.close()!r}",
        f"closed-filelike\t{ending(lambda: one.filelike)}",
        f"closed-next\t{ending(lambda: next(one))}",
        f"no-close\t{ending(lambda: wrapper(Unclosable(b'')).close())}",
    ]
    start(start_response)
    return ["\n".join(lines).encode()]


def seen(environ, start_response):
    start(start_response)
    return ["\n".join(closed).encode()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/").split("/")[-1]](environ, start_response)
