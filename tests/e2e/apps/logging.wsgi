"""Writes to every log stream."""

import io
import logging
import sys
import threading

import mod_wsgi

PLAIN = [("Content-Type", "text/plain")]
kept = {}

print("printed while loading")
sys.stderr.write("written while loading\n")


def ending(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__


def attributes(environ, start_response):
    lines = []
    for name, stream in [
        ("errors", environ["wsgi.errors"]),
        ("stdout", sys.stdout),
        ("stderr", sys.stderr),
    ]:
        lines += [
            f"{name}-type\t{type(stream) is io.TextIOWrapper}",
            f"{name}-buffer\t{type(stream.buffer).__name__}",
            f"{name}-name\t{stream.name}",
            f"{name}-encoding\t{stream.encoding} {stream.errors}",
            f"{name}-buffering\t{stream.line_buffering} {stream.write_through}",
            f"{name}-mode\t{ending(lambda: stream.mode)}",
            f"{name}-isatty\t{stream.isatty()}",
            f"{name}-abilities\t{stream.readable()} {stream.seekable()} {stream.writable()}",
            f"{name}-fileno\t{ending(lambda: stream.fileno())}",
            f"{name}-write\t{ending(lambda: stream.buffer.write(b''))}",
            f"{name}-memoryview\t{ending(lambda: stream.buffer.write(memoryview(b'')))}",
            f"{name}-int\t{ending(lambda: stream.buffer.write(1))}",
            f"{name}-writelines\t{ending(lambda: stream.buffer.writelines(5))}",
            f"{name}-coding\t{stream.buffer.encoding} {stream.buffer.errors}",
            f"{name}-closed\t{stream.closed}",
        ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def streams(environ, start_response):
    print("by print")
    print("to stderr", file=sys.stderr)
    environ["wsgi.errors"].write("to wsgi.errors\n")
    environ["wsgi.errors"].writelines(["one of two\n", "two of two\n"])
    sys.stderr.write("joined ")
    sys.stdout.write("frag")
    environ["wsgi.errors"].write("ments\n")
    environ["wsgi.errors"].buffer.write(b"by buffer\nrest ")
    environ["wsgi.errors"].flush()
    print("caf\xe9 \u2603 \udc80")
    print("x" * 20000)
    print("before\0after")
    sys.stdout.write("unfinished")
    start_response("200 OK", PLAIN)
    return [b"streams"]


def thread(environ, start_response):
    worker = threading.Thread(target=lambda: print("from a thread"))
    worker.start()
    worker.join()
    start_response("200 OK", PLAIN)
    return [b"thread"]


def handler(environ, start_response):
    logger = logging.getLogger("e2e")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [mod_wsgi.LogHandler()]
    logger.debug("handler debug")
    logger.info("handler info")
    logger.warning("handler warning")
    logger.error("handler error\nsecond line")
    logger.critical("handler %s", "critical")
    logger.error("")
    try:
        raise KeyError("handled")
    except KeyError:
        logger.exception("handler exception")
    lines = [f"surrogate\t{ending(lambda: logger.error('lone %s', chr(0xDC80)))}"]
    lines.append(f"subclass\t{issubclass(mod_wsgi.LogHandler, logging.Handler)}")
    lines.append(f"level\t{mod_wsgi.LogHandler(logging.ERROR).level}")
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def keep(environ, start_response):
    kept["errors"] = environ["wsgi.errors"]
    start_response("200 OK", PLAIN)
    return [b"kept"]


def use(environ, start_response):
    stream = kept["errors"]
    lines = [
        f"flush\t{ending(lambda: stream.flush())}",
        f"write\t{ending(lambda: stream.write('late' + chr(10)))}",
        f"writelines\t{ending(lambda: stream.buffer.writelines([b'late']))}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def signals(environ, start_response):
    import os
    import signal

    def mine(*arguments):
        pass

    lines = [
        f"result\t{signal.signal(signal.SIGUSR2, mine) is mine}",
        f"installed\t{signal.getsignal(signal.SIGUSR2) is mine}",
        f"bad\t{ending(lambda: signal.signal('x'))}",
        f"stdin\t{ending(lambda: sys.stdin.read)}",
        f"stdout\t{ending(lambda: sys.stdout.write)}",
        f"print\t{ending(lambda: print('x'))}",
        f"hasattr\t{ending(lambda: hasattr(sys.stdout, 'x'))}",
        f"type\t{type(sys.stdout).__name__}",
        f"argv\t{sys.argv!r}",
        f"egg\t{os.environ.get('PYTHON_EGG_CACHE')!r}",
    ]
    start_response("200 OK", PLAIN)
    return ["\n".join(lines).encode()]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
