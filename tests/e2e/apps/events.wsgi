"""Subscribes to events and prints what they bring."""

import mod_wsgi

PLAIN = [("Content-Type", "text/plain")]
seen = []


def first(name, **event):
    seen.append((name, event))
    if name == "request_started":
        event["request_data"]["mine"] = 1
        event["request_environ"]["e2e.added"] = "by event"
        if event["request_environ"]["QUERY_STRING"] == "replace":
            return {"application_object": replacement}
    if name == "response_started":
        event["response_headers"].append(("X-Event", "yes"))
    if name == "request_finished" and event["request_data"].get("raise"):
        raise event["request_data"]["raise"]
    return {"added": 5}


def second(name, **event):
    seen.append(("second " + name, sorted(event)))


mod_wsgi.subscribe_events(first)
mod_wsgi.subscribe_events(second)


def replacement(environ, start_response):
    start_response("200 OK", list(PLAIN))
    return [b"replaced"]


def report(environ, start_response):
    lines = []
    for name, event in seen:
        keys = event if isinstance(event, list) else sorted(event)
        lines.append(f"{name}\t{' '.join(keys)}")
        if not isinstance(event, list) and name == "request_finished":
            lines.append(f"status\t{event['status']} {event['output_length']} {event['output_writes']} "
                         f"{event['input_length']} {event['request_data']}")
        if not isinstance(event, list) and name == "request_started":
            lines.append(f"attempts\t{event['daemon_connects']} {event['daemon_restarts']}")
        if not isinstance(event, list) and name == "request_exception":
            lines.append(f"exception\t{event['exception_info'][0].__name__}")
    start_response("200 OK", list(PLAIN))
    return ["\n".join(lines).encode()]


def application(environ, start_response):
    if environ["PATH_INFO"] == "/report":
        return report(environ, start_response)
    seen.clear()
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("for the event")
    if environ["PATH_INFO"] == "/callback":
        mod_wsgi.request_data()["raise"] = KeyError("raised by a callback")
    if environ["PATH_INFO"] == "/callback_exits":
        mod_wsgi.request_data()["raise"] = SystemExit("raised by a callback")
    start_response("201 Created", list(PLAIN))
    environ["wsgi.input"].read()
    return [b"a", b"", environ.get("e2e.added", "").encode()]
