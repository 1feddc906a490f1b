"""Reads the request's body in every way."""

import hashlib

PLAIN = [("Content-Type", "text/plain")]
kept = {}


class Index:
    def __index__(self):
        return 3


def ending(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__


def methods(environ, start_response):
    stream = environ["wsgi.input"]
    lines = [
        f"type\t{type(stream).__name__}",
        f"read-none\t{ending(lambda: stream.read(None))}",
        f"read-float\t{ending(lambda: stream.read(1.5))}",
        f"read-keyword\t{ending(lambda: stream.read(size=1))}",
        f"read-two\t{ending(lambda: stream.read(1, 2))}",
        f"fileno\t{ending(lambda: stream.fileno())}",
        f"with\t{ending(lambda: stream.__enter__)}",
        f"read-0\t{ending(lambda: stream.read(0))}",
        f"read-2\t{ending(lambda: stream.read(2))}",
        f"read-index\t{ending(lambda: stream.read(Index()))}",
        f"readline\t{ending(lambda: stream.readline())}",
        f"readline-0\t{ending(lambda: stream.readline(0))}",
        f"readline-2\t{ending(lambda: stream.readline(2))}",
        f"readline-99\t{ending(lambda: stream.readline(99))}",
        f"readline-negative\t{ending(lambda: stream.readline(-1))}",
        f"readlines-hint\t{ending(lambda: stream.readlines(3))}",
        f"iter\t{iter(stream) is stream}",
        f"next\t{ending(lambda: next(stream))}",
        f"close\t{ending(lambda: stream.close())}",
        f"readlines\t{ending(lambda: stream.readlines())}",
        f"end-read\t{ending(lambda: stream.read())}",
        f"end-read-5\t{ending(lambda: stream.read(5))}",
        f"end-readline\t{ending(lambda: stream.readline())}",
        f"end-readlines\t{ending(lambda: stream.readlines())}",
        f"end-next\t{ending(lambda: next(stream))}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def digest(environ, start_response):
    """The whole body, read in the way and block size that the query says."""
    how, _, size = environ["QUERY_STRING"].partition("/")
    stream = environ["wsgi.input"]
    seen = hashlib.md5()
    count = calls = 0
    if how == "iterate":
        blocks = stream
    elif how == "lines":
        blocks = stream.readlines()
    elif how == "all":
        blocks = [stream.read()]
    else:
        blocks = iter(lambda: getattr(stream, how)(int(size)), b"")
    exact = True
    for block in blocks:
        if how == "read" and len(block) != int(size):
            # Only the last block may be short.
            exact = not stream.read(1)
        seen.update(block)
        count += len(block)
    lines = [
        f"md5\t{seen.hexdigest()}",
        f"count\t{count}",
        f"exact\t{exact}",
        f"CONTENT_LENGTH\t{environ.get('CONTENT_LENGTH')!r}",
        f"HTTP_TRANSFER_ENCODING\t{environ.get('HTTP_TRANSFER_ENCODING')!r}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", PLAIN)
    return [body]


def ignore(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"ignored"]


def answer_first(environ, start_response):
    """Answers while the upload is still unread, then reads it."""
    write = start_response("200 OK", PLAIN)
    write(b"early ")
    count = len(environ["wsgi.input"].read())
    return [f"then {count}".encode()]


def failing(environ, start_response):
    stream = environ["wsgi.input"]
    result = ending(lambda: stream.read())
    environ["wsgi.errors"].write(f"first {result} second {ending(lambda: stream.read())} "
                                 f"line {ending(lambda: stream.readline())}\n")
    start_response("200 OK", PLAIN)
    return [result.encode()]


def propagate(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", PLAIN)
    return [b"read"]


def keep(environ, start_response):
    kept["stream"] = environ["wsgi.input"]
    start_response("200 OK", PLAIN)
    return [b"kept"]


def use(environ, start_response):
    stream = kept["stream"]
    lines = [
        f"read\t{ending(lambda: stream.read())}",
        f"readline\t{ending(lambda: stream.readline())}",
        f"readlines\t{ending(lambda: stream.readlines())}",
        f"next\t{ending(lambda: next(stream))}",
        f"close\t{ending(lambda: stream.close())}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
