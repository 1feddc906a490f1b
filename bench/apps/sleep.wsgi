"""Waits 20 ms, as for a database, and answers like hello."""

import time

BODY = b"Hello World!\n"
LENGTH = str(len(BODY))


def application(environ, start_response):
    time.sleep(0.020)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", LENGTH)])
    return [BODY]
