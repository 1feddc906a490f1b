"""Says when it is told of the end; a request waits for its gate."""

import atexit
import os
import time

import mod_wsgi

mod_wsgi.subscribe_shutdown(lambda name, **event: print("is told", flush=True))
atexit.register(lambda: print("runs exit functions", flush=True))


def application(environ, start_response):
    gate = os.path.join(environ["test.gates"], environ["QUERY_STRING"])
    environ["wsgi.errors"].write(f"waits for {environ['QUERY_STRING']}\n")
    while not os.path.exists(gate):
        time.sleep(0.005)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
