"""Takes metrics by OTLP over HTTP, with the standard library's server and OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)


class Receiver:
    """Takes metrics by OTLP over HTTP."""

    def __init__(self):
        self.requests = []
        self.headers = []
        self.come = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.headers.append((self.path, dict(self.headers)))
                receiver.requests.append(ExportMetricsServiceRequest.FromString(body))
                answer = ExportMetricsServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                receiver.come.set()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def service(self):
        """Name of who has sent the first request."""
        origin = self.requests[0].resource_metrics[0].resource
        return {each.key: each.value.string_value for each in origin.attributes}["service.name"]

    def values(self, name):
        """Of the last request."""
        return {
            tuple(sorted((each.key, each.value.string_value) for each in point.attributes)): point.as_double
            for request in self.requests[-1:]
            for each in request.resource_metrics
            for scope in each.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in (metric.gauge.data_points or metric.sum.data_points)
        }
