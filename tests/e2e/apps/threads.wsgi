"""Has threads of its own, and traces memory, as the query says; answers with the id of the process."""

import atexit
import os
import threading
import tracemalloc

atexit.register(lambda: print("runs exit functions", flush=True))


def wait_for_ever():
    threading.Event().wait()


def application(environ, start_response):
    what = environ["QUERY_STRING"]
    if what == "threads":
        threading.Thread(target=wait_for_ever, name="never-ends", daemon=False).start()
        timer = threading.Timer(3600, print)
        timer.daemon = False
        timer.start()
    if what == "trace":
        tracemalloc.start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
