"""Registers an exit handler, as libraries do, with C; leaves a thread running if asked to."""

import ctypes
import threading
import time

libc = ctypes.CDLL(None)
libc.strdup.restype = ctypes.c_void_p
# Python's own strings are gone when it runs.
text = ctypes.c_void_p(libc.strdup(b"the exit handler runs"))
libc.__cxa_atexit(ctypes.cast(libc.perror, ctypes.c_void_p), text, None)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/daemon":
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"registered"]
