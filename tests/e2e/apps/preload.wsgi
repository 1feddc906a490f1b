"""Shows what a process has of the template that it was forked from."""

import os
import random
import sys
import time
import uuid

import mod_wsgi

IMPORTED_BY = os.getpid()
events = []
mod_wsgi.start_recording_metrics()

os.register_at_fork(
    before=lambda: events.append(f"before {os.getpid()}"),
    after_in_child=lambda: events.append(f"child {os.getpid()}"),
    after_in_parent=lambda: events.append(f"parent {os.getpid()}"),
)
print(f"imported by {IMPORTED_BY}", file=sys.stderr)


def answer(start_response, *lines):
    body = "\n".join(lines).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def pid(environ, start_response):
    return answer(start_response, str(os.getpid()))


def version(environ, start_response):
    return answer(start_response, "one")


def facts(environ, start_response):
    import threading

    metrics = mod_wsgi.process_metrics()
    return answer(
        start_response,
        f"pid {os.getpid()}",
        f"template {IMPORTED_BY}",
        f"parent {os.getppid()}",
        f"session {os.getsid(0) == os.getpid()}",
        f"random {random.random()}",
        f"uuid {uuid.uuid4()}",
        f"events {events}",
        f"age {metrics['running_time']}",
        f"restarted {time.time() - metrics['restart_time']:.3f}",
        f"main {threading.main_thread().is_alive()}",
        f"uid {os.getuid()}",
        f"frozen {__import__('gc').get_freeze_count() > 0}",
    )


def held(environ, start_response):
    shown = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            shown.append(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            pass
    return answer(start_response, *shown)


def forked(environ, start_response):
    """The exit status of a child of a forked process, and whether it knows that it is a copy."""
    child = os.fork()
    if child == 0:
        print("from the copy", file=sys.stderr)
        os._exit(7)
    return answer(start_response, str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def hold(environ, start_response):
    """Answers with what one process has, once the gate is open."""
    print(f"holds {environ['QUERY_STRING']} in {os.getpid()}", file=environ["wsgi.errors"])
    gate = f"{environ['test.gates']}/{environ['QUERY_STRING']}"
    end = time.monotonic() + 30
    while not os.path.exists(gate) and time.monotonic() < end:
        time.sleep(0.01)
    return facts(environ, start_response)


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
