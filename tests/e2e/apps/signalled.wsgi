"""Has a thread of its own interrupted by the signal that ends the process."""

import os
import signal
import threading
import time


def interrupted():
    # The response has been sent by then; if not, the test fails.
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


def application(environ, start_response):
    threading.Thread(target=interrupted, daemon=True).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
