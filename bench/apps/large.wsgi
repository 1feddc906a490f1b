"""One block of 1 MB."""

BODY = b"x" * (1 << 20)
LENGTH = str(len(BODY))


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", LENGTH)])
    return [BODY]
