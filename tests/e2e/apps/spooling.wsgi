"""Bodies that the server has read before the application is called."""

import hashlib

PLAIN = [("Content-Type", "text/plain")]
calls = []


def ending(action):
    try:
        return repr(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def facts(environ, start_response):
    """What the body is, read in pieces, from the beginning twice, and from the end."""
    stream = environ["wsgi.input"]
    first = hashlib.md5()
    length = 0
    while block := stream.read(70_000):
        first.update(block)
        length += len(block)
    lines = [
        f"type\t{type(stream).__name__}",
        f"content-length\t{environ.get('CONTENT_LENGTH')}",
        f"length\t{length}",
        f"digest\t{first.hexdigest()}",
        f"same\t{ending(lambda: stream.seek(0) or hashlib.md5(stream.read()).hexdigest() == first.hexdigest())}",
        f"lines\t{ending(lambda: stream.seek(0) or sum(map(len, stream)) == length)}",
        f"end\t{ending(lambda: stream.seek(0, 2) == length)}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def seeks(environ, start_response):
    stream = environ["wsgi.input"]
    lines = [
        f"seekable\t{ending(stream.seekable)}",
        f"end-first\t{ending(lambda: stream.seek(0, 2))}",
        f"at-end\t{ending(stream.read)}",
        f"start\t{ending(lambda: (stream.seek(0), stream.tell()))}",
        f"readline\t{ending(lambda: (stream.readline(), stream.tell()))}",
        f"current\t{ending(lambda: (stream.seek(1, 1), stream.read(3), stream.tell()))}",
        f"back\t{ending(lambda: (stream.seek(-2, 2), stream.read()))}",
        f"before\t{ending(lambda: (stream.seek(-99, 1), stream.read(1)))}",
        f"beyond\t{ending(lambda: (stream.seek(1000000), stream.tell(), stream.read()))}",
        f"too-far\t{ending(lambda: (stream.seek(2**63 - 1), stream.seek(1, 1)))}",
        f"unmoved\t{ending(lambda: (stream.seek(-(2**63 - 1), 1), stream.tell()))}",
        f"negative\t{ending(lambda: stream.seek(-1))}",
        f"whence\t{ending(lambda: stream.seek(0, 3))}",
        f"no-number\t{ending(lambda: stream.seek('x'))}",
        f"nothing\t{ending(stream.seek)}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def called(environ, start_response):
    """How often the other function was."""
    start_response("200 OK", PLAIN)
    return [str(len(calls)).encode()]


def slow(environ, start_response):
    calls.append(1)
    start_response("200 OK", PLAIN)
    return [str(len(environ["wsgi.input"].read())).encode()]


def unread(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"unread"]


def redirects(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Location", "/unread")])
    return [b""]


def error(environ, start_response):
    start_response(f"{environ['REDIRECT_STATUS']} Error", PLAIN)
    return [f"document {type(environ['wsgi.input']).__name__}".encode()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].rsplit("/", 1)[1]](environ, start_response)
