"""Logs in every way."""

import faulthandler
import logging
import os
import subprocess
import sys
import threading
import traceback

import mod_wsgi

sys.stderr.write("written while loading\n")
logging.getLogger("shop").setLevel(logging.DEBUG)


def fail():
    raise LookupError('no "shelf"\nof that name')


def unconfigured():
    logger = logging.getLogger("shop.unconfigured")
    logger.debug("not written")
    logger.info("an info")
    logger.warning("a %s", "warning", extra={"user": "J\xf6rg", "count": 3, "rate": float("nan"), "is_new": True})
    try:
        fail()
    except LookupError:
        logger.exception("an exception", stack_info=True)


def stream_handler():
    logger = logging.getLogger("shop.stream")
    logger.propagate = False
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(message)s"))
    logger.handlers = [handler]
    logger.debug("streamed debug")
    try:
        fail()
    except LookupError:
        logger.exception("streamed exception")


class Hiding(logging.Formatter):
    def format(self, record):
        return super().format(record).replace("secret", "***")


def own_formatter():
    logger = logging.getLogger("shop.hiding")
    logger.propagate = False
    handler = mod_wsgi.LogHandler()
    handler.setFormatter(Hiding("%(levelname)s: %(message)s"))
    logger.handlers = [handler]
    logger.error("a secret", extra={"more": "secret"})


def in_thread():
    def work():
        logging.getLogger("shop.thread").warning("in a thread")
        print("printed in a thread")

    thread = threading.Thread(target=work, name="worker-7")
    thread.start()
    thread.join()


def hostile():
    print('"quotes" \\ and \x00\x1b[31m controls \udc80 \u2028 end')
    print("x" * 100_000 + " end of the long line")
    sys.stderr.buffer.write(b"\xff\xfe binary\n")
    logging.getLogger("shop.hostile").error('"' * 100_000)
    bad = logging.getLogger('na"me\n')
    bad.error("%d", "no number")
    logging.getLogger("shop.hostile").error("bad str", extra={"value": Unprintable(), 'na"me': [1, {"a": "b"}]})
    sys.stderr.write('{"time":"forged","message":"an object"}\n')


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


def past_python():
    os.write(2, b"raw \xff text\n")
    os.write(2, b'{"time":"forged, but no object\n')
    subprocess.run(["sh", "-c", "echo from another program >&2"], check=True)
    faulthandler.dump_traceback()


def several_lines():
    try:
        fail()
    except LookupError:
        sys.stderr.write("several lines\n" + traceback.format_exc())


def deep(level):
    if level == 0:
        raise LookupError("\x01" * 100_000)
    deep(level - 1)


def huge():
    more = {f"name {number}" * 100: "\x02" * 10_000 for number in range(50)}
    name = threading.current_thread().name
    threading.current_thread().name = "\x03" * 10_000
    try:
        deep(500)
    except LookupError:
        logging.getLogger("\x04" * 10_000).exception("huge " + "\x05" * 100_000, extra=more)
        threading.current_thread().name = name
        logging.getLogger("shop.huge").error("small again")
        raise


def in_a_copy():
    pid = os.fork()
    if pid == 0:
        print("printed in a copy")
        logging.getLogger("shop.copy").warning("logged in a copy")
        sys.stderr.flush()
        os._exit(0)
    os.waitpid(pid, 0)


def in_copies():
    copies = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for number in range(100):
                os.write(2, b"begun")
                logging.getLogger("shop.copies").warning(f"long {number} " + "z" * 6000)
            os._exit(0)
        copies.append(pid)
    for pid in copies:
        os.waitpid(pid, 0)


WAYS = [unconfigured, stream_handler, own_formatter, in_thread, hostile, several_lines]
if mod_wsgi.process_group:
    # Elsewhere it is Apache's own standard error.
    WAYS.append(past_python)


def application(environ, start_response):
    path = environ["PATH_INFO"].strip("/")
    environ["wsgi.errors"].write(f"to wsgi.errors for {path}\n")
    if path == "fail":
        fail()
    if path == "flood":
        for number in range(500):
            print(f"flood {number} " + "y" * 300)
    for way in [*WAYS, huge, in_a_copy, in_copies] if path != "all" else WAYS:
        if path in (way.__name__, "all"):
            way()
    print(f"done with {path}")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [path.encode()]
