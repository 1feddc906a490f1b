"""Works for about a millisecond before it answers."""


def application(environ, start_response):
    total = 0
    for number in range(10_000):
        total += number * number % 7
    answer = b"%d\n" % total
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
