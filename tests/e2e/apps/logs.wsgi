"""Writes to descriptor 2 what and how the log must bear."""

import errno
import fcntl
import os
import signal
import threading
import time

PLAIN = [("Content-Type", "text/plain")]


def answer(start_response, text):
    start_response("200 OK", PLAIN)
    return [text.encode()]


def pid(environ, start_response):
    return answer(start_response, str(os.getpid()))


def write(environ, start_response):
    os.write(2, environ["QUERY_STRING"].encode() + b"\n")
    return answer(start_response, "written")


def by_name(environ, start_response):
    """As scripts do that an application starts."""
    with open("/dev/stderr", "w") as stream:
        stream.write("by name\n")
    return answer(start_response, "written")


def hold(environ, start_response):
    """Answers when the gate is open."""
    gate = os.path.join(environ["DOCUMENT_ROOT"], "gate")
    os.write(2, b"is held\n")
    end = time.monotonic() + 20
    while not os.path.exists(gate) and time.monotonic() < end:
        time.sleep(0.01)
    if environ["QUERY_STRING"]:
        os.write(2, b"%d is released\n" % os.getpid())
    return answer(start_response, str(os.getpid()))


def default_sigpipe(environ, start_response):
    """As some libraries do."""
    import ctypes

    ctypes.CDLL(None).signal(signal.SIGPIPE, 0)
    return answer(start_response, "set")


def flood():
    for number in range(30_000):
        os.write(2, b"flood %d %s\n" % (number, b"-" * 100))


flooding = threading.Thread(target=flood, daemon=True)


def start_flood(environ, start_response):
    os.write(2, b"stop reading\n")
    flooding.start()
    return answer(start_response, "started")


def flooded(environ, start_response):
    return answer(start_response, str(not flooding.is_alive()))


def tamper(environ, start_response):
    outcome = []
    for action in [
        lambda: os.ftruncate(2, 0),
        lambda: os.lseek(2, 0, os.SEEK_SET),
        lambda: fcntl.fcntl(2, fcntl.F_SETFL, os.O_DIRECT | os.O_NONBLOCK),
        lambda: os.ftruncate(1, 0),
    ]:
        try:
            action()
            outcome.append("done")
        except OSError as error:
            outcome.append(errno.errorcode[error.errno])
    return answer(start_response, " ".join(outcome))


def threads(environ, start_response):
    """Lines by print and past Python, from several threads."""

    def work(name):
        for number in range(1_000):
            if number % 2:
                os.write(2, f"line {name} {number} {name * 100} end\n".encode())
            else:
                # Now and then longer than what a pipe takes whole.
                length = 7_000 if number % 100 == 0 else 100
                print(f"line {name} {number} {name * length} end")

    workers = [threading.Thread(target=work, args=(name,)) for name in "abcdefghij"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answer(start_response, "done")


def last_words(environ, start_response):
    import ctypes
    import faulthandler

    faulthandler.enable()
    # What a library would write.
    os.write(2, b"about to crash, ")
    ctypes.string_at(0)


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
