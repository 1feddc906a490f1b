"""100 MB in blocks of 64 KB, of a length that is not announced."""

BLOCK = b"x" * (64 << 10)
COUNT = (100 << 20) // len(BLOCK)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (BLOCK for _ in range(COUNT))
