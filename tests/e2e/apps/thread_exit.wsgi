"""Ends the thread of a request in ways that are not an application's."""

import _thread
import ctypes
import os


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/exception":
        _thread.exit()
    if path == "/without_lock":
        ctypes.CDLL(None).pthread_exit(None)
    if path == "/with_lock":
        ctypes.PyDLL(None).pthread_exit(None)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
