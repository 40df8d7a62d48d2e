"""Accepts OTLP over HTTP as a collector does: unknown fields and ids of a wrong length are refused.

Prints its port. `GET /spans` returns what it has accepted: a line for each span."""
import base64
import http.server
import json

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

REQUESTS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
}
IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
lines = []


def with_base64_ids(value):
    """OTLP has its ids in hexadecimal, where JSON of Protocol Buffers has base64."""
    if isinstance(value, list):
        return [with_base64_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, one in value.items():
        if key in IDS:
            one = bytes.fromhex(one)
            assert len(one) == IDS[key], key
            result[key] = base64.b64encode(one).decode()
        else:
            result[key] = with_base64_ids(one)
    return result


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.headers["Content-Type"] == "application/json"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            request = json_format.ParseDict(with_base64_ids(body), REQUESTS[self.path]())
        except (AssertionError, KeyError, ValueError, json_format.ParseError) as error:
            self.answer(400, str(error))
            return
        for resource in getattr(request, "resource_spans", []):
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                lines.append(f"span {span.trace_id.hex()} {span.name}")
        for resource in getattr(request, "resource_logs", []):
            lines.extend("log" for scope in resource.scope_logs for _ in scope.log_records)
        self.answer(200, "{}")

    def do_GET(self):
        self.answer(200, "\n".join(lines))

    def answer(self, code, text):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
print(server.server_port, flush=True)
server.serve_forever()
