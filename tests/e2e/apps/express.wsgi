"""Prints where it runs, for servers that mod_wsgi-express has set up."""

import os
import sys

import mod_wsgi

import imported

umask = os.umask(0)
os.umask(umask)


def requests():
    """Whether the scoreboard names requests; None where it is not to be seen."""
    metrics = mod_wsgi.server_metrics()
    return metrics and any(worker["request"] for process in metrics["processes"] for worker in process["workers"])


def application(environ, start_response):
    received = environ["wsgi.input"].read()
    values = {
        "received": len(received),
        "imported": imported.value,
        "process_group": mod_wsgi.process_group,
        "application_group": mod_wsgi.application_group,
        "threads": mod_wsgi.threads_per_process,
        "multiprocess": environ["wsgi.multiprocess"],
        "pid": os.getpid(),
        "uid": os.getuid(),
        "directory": os.getcwd(),
        "python": sys.executable,
        "umask": oct(umask),
        "locale": os.environ.get("LC_ALL"),
        "express": os.environ.get("MOD_WSGI_EXPRESS"),
        "requests": requests(),
        "added": [path for path in sys.path if path.endswith("added")],
    }
    body = "".join(f"{name}\t{value}\n" for name, value in values.items()).encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Method", environ["REQUEST_METHOD"])]
    start_response("200 OK", headers)
    return [body]
