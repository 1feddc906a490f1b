"""A collector of OTLP over HTTP: decodes what it gets with the official messages, and writes it down.

usage: python otlp_collector.py DIRECTORY [CERTIFICATE KEY]

Writes its port to DIRECTORY/port, and a line of JSON for each request to DIRECTORY/received. DIRECTORY/behaviour says how it
answers: `ok` (also without the file), a status, `429 1` (a status and `Retry-After`), `slow`, `partial`.
"""

import gzip
import http.server
import json
import os
import ssl
import sys
import threading
import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest, ExportMetricsServiceResponse)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

directory = sys.argv[1]
lock = threading.Lock()


def value(any_value):
    kind = any_value.WhichOneof("value")
    return None if kind is None else getattr(any_value, kind)


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def spans(message):
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(),
                    "state": span.trace_state, "name": span.name, "kind": span.kind, "flags": span.flags,
                    "start": span.start_time_unix_nano, "end": span.end_time_unix_nano, "status": span.status.code,
                    "attributes": attributes(span.attributes), "scope": scope.scope.name,
                    "resource": attributes(resource.resource.attributes),
                }


def points(metric):
    data = getattr(metric, metric.WhichOneof("data"))
    for point in data.data_points:
        common = {"attributes": attributes(point.attributes), "start": point.start_time_unix_nano, "time": point.time_unix_nano}
        if metric.WhichOneof("data") == "histogram":
            yield dict(common, count=point.count, sum=point.sum, buckets=list(point.bucket_counts),
                       bounds=list(point.explicit_bounds))
        else:
            yield dict(common, value=getattr(point, point.WhichOneof("value")))


def metrics(message):
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                yield {
                    "name": metric.name, "unit": metric.unit, "description": metric.description,
                    "data": metric.WhichOneof("data"), "temporality": getattr(data, "aggregation_temporality", 0),
                    "monotonic": getattr(data, "is_monotonic", None), "points": list(points(metric)),
                    "resource": attributes(resource.resource.attributes),
                }


def behaviour():
    try:
        with open(os.path.join(directory, "behaviour")) as file:
            return file.read().split()
    except FileNotFoundError:
        return ["ok"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        is_traces = self.path.endswith("/traces")
        message = (ExportTraceServiceRequest if is_traces else ExportMetricsServiceRequest).FromString(body)
        response = (ExportTraceServiceResponse if is_traces else ExportMetricsServiceResponse)()
        how, *more = behaviour()
        record = {"path": self.path, "headers": {name.lower(): text for name, text in self.headers.items()}, "behaviour": how,
                  "peer": self.client_address[1], "spans": list(spans(message)) if is_traces else [],
                  "metrics": [] if is_traces else list(metrics(message))}
        with lock, open(os.path.join(directory, "received"), "a") as file:
            file.write(json.dumps(record) + "\n")
        status = 200
        if how == "slow":
            time.sleep(3)
        elif how == "partial" and is_traces:
            response.partial_success.rejected_spans = 1
            response.partial_success.error_message = "one too many"
        elif how.isdigit():
            status = int(how)
        answer = response.SerializeToString() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        if more:
            self.send_header("Retry-After", more[0])
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Handler)
server.daemon_threads = True
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(os.path.join(directory, "port.new"), "w") as file:
    file.write(str(server.server_address[1]))
os.rename(os.path.join(directory, "port.new"), os.path.join(directory, "port"))
server.serve_forever()
