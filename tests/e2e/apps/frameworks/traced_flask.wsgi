"""Flask with the instrumentation of OpenTelemetry, which sends its spans to the same collector."""

from flask import Flask
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider(resource=Resource.create({"service.name": "flask"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter("@COLLECTOR@/v1/traces")))
trace.set_tracer_provider(provider)

application = Flask(__name__)
FlaskInstrumentor().instrument_app(application)


@application.get("/hello/<name>")
def hello(name):
    with trace.get_tracer("shop").start_as_current_span("greet"):
        return f"hello {name}"
