import gc
import os
import sys
import time


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    body = environ["wsgi.input"].read()
    status = "200 OK"
    if path == "/sleep":
        time.sleep(float(query))
    elif path == "/until":
        while not os.path.exists(query):
            time.sleep(0.02)
    elif path == "/gc":
        gc.collect()
    elif path == "/disable":
        gc.disable()
        gc.set_threshold(1234)
    elif path == "/status":
        status = query + " X"
    elif path == "/metrics":
        import mod_wsgi

        mod_wsgi.start_recording_metrics()
        body = repr((mod_wsgi.request_metrics(), mod_wsgi.process_metrics())).encode()
    elif path == "/fork":
        child = os.fork()
        if child == 0:
            gc.collect()
            time.sleep(float(query))
            os._exit(0)
        body = str(child).encode()
    elif path == "/file":
        file = open(__file__, "rb")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](file)
    elif path == "/pid":
        body = str(os.getpid()).encode()
    output = body or b"hello"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(output)))])
    return [output]
