"""Reads a large body in blocks of 64 KB, and answers with its length."""


def application(environ, start_response):
    read = environ["wsgi.input"].read
    length = 0
    while block := read(64 << 10):
        length += len(block)
    answer = b"%d\n" % length
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
