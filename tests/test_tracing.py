"""Traces: from a request over REST, below the caller's own trace, to the job on the meter; to a collector; and off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from headend import tracing
from headend.model.access import Role
from tests.web.support import PROFILE, world

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextmanager
def traced(exporter: Any = None, endpoint: str = "http://127.0.0.1:1") -> Iterator[None]:
    end = tracing.configure(endpoint, "1.2.3", exporter)
    try:
        yield
    finally:
        end()


async def test_a_request_is_followed_to_the_meter(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    async with world(tmp_path) as head_end, head_end.client(Role.ADMIN) as client:
        head_end.add("a", profile_id=PROFILE.id)
        with traced(exporter):
            headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            answer = await client.post("/api/v1/meters/a/read", json={}, headers=headers)
            assert answer.status_code == 200, answer.text
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request, job = spans["POST /api/v1/meters/{meter_id}/read"], spans["meter job"]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert job.parent is not None
    assert job.parent.span_id == request.context.span_id
    assert dict(job.attributes or {}) == {"meter": "a", "priority": "REQUEST", "protocol": "modbus"}


def fail() -> None:
    with tracing.span("work"):
        tracing.note(meter="a")
        raise RuntimeError("with a password in its text")


def test_a_collector_is_sent_them() -> None:
    got: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                got.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with traced(endpoint=f"http://127.0.0.1:{server.server_port}"), pytest.raises(RuntimeError):
                fail()
        finally:
            server.shutdown()
            thread.join()
    (resource,) = got[0].resource_spans
    (span,) = resource.scope_spans[0].spans
    assert span.name == "work"
    assert "password" not in str(span)
    assert any(each.key == "meter" for each in span.attributes)


def test_without_a_collector_nothing_is_made() -> None:
    assert tracing.span("work", a="b") is tracing.span("other")
    tracing.note(a=1)
