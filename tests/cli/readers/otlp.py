"""Reads every line as the messages of OTLP, unknown fields being errors, and holds it together."""
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

spans, records = [], []
for line in open(sys.argv[1], encoding="utf-8"):
    kind = trace_pb2.TracesData if "resourceSpans" in json.loads(line) else logs_pb2.LogsData
    data = json_format.Parse(line, kind())
    for resource in getattr(data, "resource_spans", []):
        services = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
        assert len(services) == 1, resource.resource
        for scope in resource.scope_spans:
            spans.extend(scope.spans)
    for resource in getattr(data, "resource_logs", []):
        for scope in resource.scope_logs:
            records.extend(scope.log_records)

traces = {span.trace_id for span in spans} | {record.trace_id for record in records}
assert len(traces) == 1, traces
ids = {span.span_id for span in spans}
assert len(ids) == len(spans)
roots = [span for span in spans if not span.parent_span_id]
assert len(roots) == 1
for span in spans:
    # Hex is read as base64 here: 16 and 8 bytes become 24 and 12 bytes.
    assert (len(span.trace_id), len(span.span_id)) == (24, 12)
    assert not span.parent_span_id or span.parent_span_id in ids, span
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
for record in records:
    assert record.time_unix_nano > 0 and record.span_id in ids, record

parents = {span.span_id: span.parent_span_id for span in spans}


def depth(span_id):
    return 1 + depth(parents[span_id]) if parents.get(span_id) else 0


STATUS = ["unset", "ok", "error"]
# Spans of no length keep their order.
for span in sorted(spans, key=lambda span: (span.start_time_unix_nano, depth(span.span_id))):
    print("span", span.name, STATUS[span.status.code])
printed = []
for record in records:
    keys = {a.key: a.value.string_value for a in record.attributes}
    if "log.iostream" in keys:
        printed.append((keys["runlog.job_id"], keys["log.iostream"], record.body.string_value))
    else:
        print(record.severity_text, record.event_name)
# The order of the two streams is not deterministic.
for line in sorted(printed, key=lambda line: line[:2]):
    print(*map(repr, line))
