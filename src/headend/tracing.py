"""Traces by OpenTelemetry, where somebody wants them: from a request down to what goes over the wire of a meter.

Off unless `configure` was called; then a span costs one comparison. Spans hold ids, kinds, counts and error codes: no values, no
secrets. The packages are the extra `headend[otel]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from headend.errors import ConfigError

_NOTHING: Final[AbstractContextManager[None]] = nullcontext()
_tracer: Any = None


def configure(endpoint: str, version: str, exporter: Any = None) -> Callable[[], None]:  # noqa: ANN401 - a class of an optional package
    """Trace from now on, to an OTLP collector (`http://HOST:4318`); returns what ends it. Raises ConfigError without the packages.

    `exporter` is another SpanExporter than the one for OTLP.
    """
    global _tracer  # noqa: PLW0603 - one process, one place for its traces
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - optional
    except ImportError:
        raise ConfigError(
            "traces need the packages of OpenTelemetry", hint="pip install 'headend[otel]', or leave log.traces empty"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "headend", "service.version": version}))
    target = exporter or OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(target))
    _tracer = provider.get_tracer("headend", version)

    def end() -> None:
        global _tracer  # noqa: PLW0603 - see above
        _tracer = None
        provider.shutdown()

    return end


def span(name: str, carrier: Mapping[str, str] | None = None, **attributes: str | float) -> AbstractContextManager[Any]:
    """A span as long as the block lasts, below the one that it is in, or below the one that the headers of a request name.

    An exception that leaves the block is recorded by its type.
    """
    if _tracer is None:
        return _NOTHING
    return _span(name, carrier, attributes)


def note(**attributes: str | float) -> None:
    """Say more about the span that this is in."""
    if _tracer is not None:
        from opentelemetry import trace  # noqa: PLC0415 - optional

        trace.get_current_span().set_attributes(attributes)


@contextmanager
def _span(name: str, carrier: Mapping[str, str] | None, attributes: Mapping[str, Any]) -> Iterator[Any]:
    from opentelemetry import propagate  # noqa: PLC0415 - optional
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - optional

    context = propagate.extract(carrier) if carrier is not None else None
    with _tracer.start_as_current_span(
        name, context=context, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
    ) as started:
        try:
            yield started
        except BaseException as error:
            # The words of an error are for those who asked, not for whoever keeps traces.
            started.set_attribute("error.type", getattr(error, "code", type(error).__name__))
            started.set_status(StatusCode.ERROR)
            raise
