"""A large file, by wsgi.file_wrapper."""

import os


def application(environ, start_response):
    file = open(environ["BENCH_FILE"], "rb")
    length = os.fstat(file.fileno()).st_size
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(length))])
    return environ["wsgi.file_wrapper"](file, 64 << 10)
