"""An API's answer: a small document and six headers."""

import json

DOCUMENT = {"items": [{"id": number, "name": f"item {number}", "price": number * 1.5} for number in range(8)]}
BODY = json.dumps(DOCUMENT).encode()
LENGTH = str(len(BODY))


def application(environ, start_response):
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/json"),
            ("Content-Length", LENGTH),
            ("Cache-Control", "no-store"),
            ("Vary", "Accept-Encoding, Cookie"),
            ("X-Request-Id", "0d5b7f4e-9f0c-4b77-8b0a-5a1e3f0c2d11"),
            ("Set-Cookie", "session=0123456789abcdef0123456789abcdef; Path=/; HttpOnly; SameSite=Lax"),
        ],
    )
    return [BODY]
